-- Drops the items of a list up to a place. What stands in the place of the last
-- of them lies beside the list, for a stream takes nothing before its end.
-- KEYS 1 list, 2 state
-- ARGV 1 field of the archive, 2 place, 3 the place after it, 4 '1' if there is data, 5 data
local dropped = redis.call('XTRIM', KEYS[1], 'MINID', ARGV[3])
local beside = redis.call('HGET', KEYS[2], ARGV[1])
if beside then
  local place = string.match(beside, '^[^:]*')
  local v, i = string.match(place, '^(%d+)-(%d+)$')
  local tv, ti = string.match(ARGV[2], '^(%d+)-(%d+)$')
  v, i, tv, ti = tonumber(v), tonumber(i), tonumber(tv), tonumber(ti)
  if v < tv or (v == tv and i <= ti) then
    redis.call('HDEL', KEYS[2], ARGV[1])
    dropped = dropped + 1
  end
end
if dropped > 0 and ARGV[4] == '1' then redis.call('HSET', KEYS[2], ARGV[1], ARGV[2] .. ':' .. ARGV[5]) end
return dropped
