-- Publishes messages that no entity commits.
-- KEYS 1 ends of the topics, then a stream for each message
-- ARGV topic and entry of each message
for i = 2, #KEYS do
  local arg = 2 * i - 3
  local place = redis.pcall('HINCRBY', KEYS[1], ARGV[arg], 1)
  if type(place) == 'table' then return 'REFUSED ' .. place.err end
  redis.call('XADD', KEYS[i], string.format('%.0f', place) .. '-0', 'm', ARGV[arg + 1])
end
return 'OK'
