-- Stores one commit, or refuses it before anything is written.
--
-- KEYS 1 state, 2 journal, 3 wake-ups, 4 ids of the kind, 5 ends of the topics,
--      6 meta, then a stream for each list item and each message
-- ARGV 1 expected version, 2 commit id, 3 name of the entity, 4 its id,
--      5 wake-up in ms or '', 6 '1' if there are events, 7 events,
--      8 '1' if there is a snapshot, 9 snapshot, 10 number of list items,
--      then index and data of each list item, topic and entry of each message
if redis.call('HEXISTS', KEYS[6], 'epoch') == 0 then return 'REFUSED NOSTORE everything that was stored is gone' end
local was = redis.call('HMGET', KEYS[1], 'v', 'c', 'h', 'v0', 'v1')
if was[3] then return 'HALTED ' .. was[3] end
if was[2] == ARGV[2] then return 'OK' end
local version = was[1] or '0'
if version ~= ARGV[1] then return 'AT ' .. version end

local now, fields = version, {'v', version, 'c', ARGV[2]}
if ARGV[6] == '1' then
  now = string.format('%.0f', tonumber(version) + 1)
  fields[2] = now
end

-- The last two snapshots lie in two slots; a new one takes that of the older,
-- or of the one at the same version.
local older
if ARGV[8] == '1' then
  local first, second, slot = was[4], was[5], '0'
  if first == now or not first then
    first = now
  elseif second == now or not second or tonumber(second) < tonumber(first) then
    second, slot = now, '1'
  else
    first = now
  end
  fields[5], fields[6], fields[7], fields[8] = 'v' .. slot, now, 's' .. slot, ARGV[9]
  if first and second then older = math.min(tonumber(first), tonumber(second)) end
end

-- Scripts are not rolled back. What can refuse a write for want of memory, disk
-- or permission refuses the first one, and what contradicts the state, too.
local written
if ARGV[6] == '1' then
  written = redis.pcall('XADD', KEYS[2], now .. '-0', 'e', ARGV[7])
else
  written = redis.pcall('HSET', KEYS[1], unpack(fields))
end
if type(written) == 'table' and written.err then return 'REFUSED ' .. written.err end

if ARGV[6] == '1' then
  redis.call('HSET', KEYS[1], unpack(fields))
  if version == '0' then redis.call('ZADD', KEYS[4], 0, ARGV[4]) end
end
if older then redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f', older + 1)) end
if ARGV[5] ~= '' then
  redis.call('ZADD', KEYS[3], ARGV[5], ARGV[3])
else
  redis.call('ZREM', KEYS[3], ARGV[3])
end

local key, arg = 7, 11
for _ = 1, tonumber(ARGV[10]) do
  redis.call('XADD', KEYS[key], now .. '-' .. ARGV[arg], 'd', ARGV[arg + 1])
  key, arg = key + 1, arg + 2
end
while arg < #ARGV do
  local place = redis.call('HINCRBY', KEYS[5], ARGV[arg], 1)
  redis.call('XADD', KEYS[key], string.format('%.0f', place) .. '-0', 'm', ARGV[arg + 1])
  key, arg = key + 1, arg + 2
end
return 'OK'
