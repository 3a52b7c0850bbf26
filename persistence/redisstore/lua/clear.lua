-- Removes the mark of an entity and renames the history; 0 if there was none.
-- KEYS 1 state, 2 what is halted, 3 meta
-- ARGV 1 name of the entity, 2 the new epoch
if redis.call('HDEL', KEYS[1], 'h') == 0 then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[3], 'epoch', ARGV[2])
return 1
