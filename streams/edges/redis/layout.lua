-- Says what kind of state is held, and settles it where nothing is held yet: all of it at once,
-- so that of two fleets that start together one is first in everything.
-- KEYS  1 layout;  ARGV  field, value, …
for i = 1, #ARGV, 2 do
  redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1])
end
return redis.call('HGETALL', KEYS[1])
