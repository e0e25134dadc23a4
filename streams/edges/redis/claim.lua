-- Takes the right to write one partition.
-- KEYS  1 meta;  ARGV  1 generation, 2 owner, 3 seconds without a write after which an older
-- generation may claim (the group was made anew, its generations begin at 1), 4 seconds to live
local held = redis.call('HMGET', KEYS[1], 'generation', 'written_s')
local now = tonumber(redis.call('TIME')[1])
if held[1] and tonumber(held[1]) > tonumber(ARGV[1])
  and now - tonumber(held[2] or '0') < tonumber(ARGV[3]) then
  return redis.error_reply('FENCED generation ' .. held[1] .. ' has the partition')
end
redis.call('HSET', KEYS[1], 'generation', ARGV[1], 'owner', ARGV[2], 'written_s', now)
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
