-- Claims what is due: moves it to the end of the lease and returns it.
-- KEYS 1 wake-ups
-- ARGV 1 now in ms, 2 how many, 3 end of the lease in ms
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, name in ipairs(due) do redis.call('ZADD', KEYS[1], ARGV[3], name) end
return due
