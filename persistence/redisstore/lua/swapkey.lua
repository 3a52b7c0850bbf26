-- Puts a wrapped data key in place of another and returns the one there then.
-- KEYS 1 state, 2 names of those that have a key
-- ARGV 1 name of the entity, 2 the key that was, 3 the one to be; '' is none
local now = redis.call('HGET', KEYS[1], 'k') or ''
if now ~= ARGV[2] then return now end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], 'k')
  redis.call('ZREM', KEYS[2], ARGV[1])
else
  redis.call('HSET', KEYS[1], 'k', ARGV[3])
  redis.call('ZADD', KEYS[2], 0, ARGV[1])
end
return ARGV[3]
