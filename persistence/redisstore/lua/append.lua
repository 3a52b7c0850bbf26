-- Publishes messages that no entity commits.
-- KEYS 1 ends of the topics, 2 meta, then a stream for each message
-- ARGV topic and entry of each message
if redis.call('HEXISTS', KEYS[2], 'epoch') == 0 then return 'REFUSED NOSTORE everything that was stored is gone' end
for i = 3, #KEYS do
  local arg = 2 * i - 5
  local place = redis.pcall('HINCRBY', KEYS[1], ARGV[arg], 1)
  if type(place) == 'table' then return 'REFUSED ' .. place.err end
  redis.call('XADD', KEYS[i], string.format('%.0f', place) .. '-0', 'm', ARGV[arg + 1])
end
return 'OK'
