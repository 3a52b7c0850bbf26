-- Marks an entity; the first reason stays.
-- KEYS 1 state, 2 what is halted
-- ARGV 1 name of the entity, 2 why
redis.call('HSETNX', KEYS[1], 'h', ARGV[2])
redis.call('ZADD', KEYS[2], 0, ARGV[1])
return 'OK'
