-- Puts the state of a backup, which stands under other keys, in the place of a partition's: all of
-- it or nothing.
-- KEYS  1 meta, then the keys to remove, then for each hash of the backup where it stands and the
--       key that it is to have
-- ARGV  1 how many keys to remove, 2 seconds without a write that a worker never lets pass,
--       3 offset and 4 'begun' that must be stored ('': none), 5 seconds to live, 6 how many fields
--       each hash of the backup must have (in MessagePack), then the meta's fields and values
-- No claim is left: a worker that had one, and a write under way, is refused (LOST) and reads again.
-- 'begun' first and 'done' last, as a write does it: half of this would show.
local meta, removed = KEYS[1], tonumber(ARGV[1])
local held = redis.call('HMGET', meta, 'offset', 'begun', 'written_s')
local now = tonumber(redis.call('TIME')[1])
if held[3] and now - tonumber(held[3]) < tonumber(ARGV[2]) then
  return redis.error_reply('WORKS ' .. (now - tonumber(held[3])))
end
if (held[1] or '') ~= ARGV[3] or (held[2] or '') ~= ARGV[4] then
  return redis.error_reply('CHANGED ' .. (held[1] or ''))
end
local lengths = cmsgpack.unpack(ARGV[6])
for nth = 1, #lengths do
  local key = KEYS[removed + 2 * nth]
  if redis.call('HLEN', key) ~= lengths[nth] then
    return redis.error_reply('LACKS ' .. key)
  end
end
local begun = redis.call('HINCRBY', meta, 'begun', 1)
for i = 2, 1 + removed do
  redis.call('UNLINK', KEYS[i])
end
for i = 2 + removed, #KEYS, 2 do
  redis.call('RENAME', KEYS[i], KEYS[i + 1])
  redis.call('EXPIRE', KEYS[i + 1], ARGV[5])
end
for _, field in ipairs(redis.call('HKEYS', meta)) do
  if field ~= 'begun' and field ~= 'done' then
    redis.call('HDEL', meta, field)
  end
end
for i = 7, #ARGV, 2 do
  redis.call('HSET', meta, ARGV[i], ARGV[i + 1])
end
redis.call('EXPIRE', meta, ARGV[5])
redis.call('HSET', meta, 'done', begun)
return 1
