-- Drops the messages of a topic that every group has read; none while there is no group.
-- KEYS 1 groups, 2 topic
-- ARGV 1 topic and a zero byte, 2 number up to which they may go
local limit, known = tonumber(ARGV[2]), false
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if string.sub(all[i], 1, #ARGV[1]) == ARGV[1] then
    known, limit = true, math.min(limit, tonumber(all[i + 1]))
  end
end
if not known then return 0 end
return redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f', limit + 1))
