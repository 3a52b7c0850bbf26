-- Makes what was restored a store, unless another restore has begun meanwhile.
-- KEYS 1 meta
-- ARGV 1 name of the restore, 2 epoch, 3 format
if redis.call('HGET', KEYS[1], 'restoring') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'restoring')
redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'format', ARGV[3])
return 1
