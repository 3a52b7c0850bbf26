-- Puts an item of a backup at the end of a list or, if it lies before the end,
-- beside the list: only what stands for archived items does.
-- KEYS 1 list, 2 state
-- ARGV 1 place, 2 data, 3 field of the archive
local added = redis.pcall('XADD', KEYS[1], ARGV[1], 'd', ARGV[2])
if type(added) == 'table' and added.err then
  if not string.find(added.err, 'equal or smaller', 1, true) then return redis.error_reply(added.err) end
  redis.call('HSET', KEYS[2], ARGV[3], ARGV[1] .. ':' .. ARGV[2])
end
return 'OK'
