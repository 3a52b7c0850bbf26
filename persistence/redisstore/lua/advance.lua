-- Moves a consumer group, never back.
-- KEYS 1 groups, 2 ends of the topics
-- ARGV 1 group and topic, 2 number of the message, 3 topic
local last = tonumber(redis.call('HGET', KEYS[2], ARGV[3]) or 0)
if tonumber(ARGV[2]) > last then return string.format('%.0f', last) end
-- A group that was never heard of is one from its first word on, be that 0.
local at = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or -1)
if tonumber(ARGV[2]) > at then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
return 'OK'
