-- Reads of an entity's state and of one of its streams, all of one moment. Not a
-- transaction: a server that is full refuses those, and this is how to find out
-- what there is.
-- KEYS 1 state, 2 stream, 3 meta
-- ARGV 1 field of the state, '' is all of it, then a command and what follows its key
if redis.call('HEXISTS', KEYS[3], 'epoch') == 0 then return redis.error_reply('NOSTORE everything that was stored is gone') end
local state
if ARGV[1] == '' then
  state = redis.call('HGETALL', KEYS[1])
else
  state = redis.call('HGET', KEYS[1], ARGV[1])
end
return {state, redis.call(ARGV[2], KEYS[2], unpack(ARGV, 3))}
