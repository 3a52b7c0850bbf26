-- Lets one holder have a name for a time, or give it back.
-- KEYS 1 name
-- ARGV 1 holder, 2 time to live in ms, 0 gives it back
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
