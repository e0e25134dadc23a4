-- Drops what is held of one partition, but for its claim and its outbox: all of it or nothing.
-- KEYS  1 meta, then every other key to remove;  ARGV  1 owner, 2 the owner's generation
local _, _, refusal = fence_of(KEYS[1], ARGV[1], ARGV[2])
if refusal then
  return refusal
end
local begun = redis.call('HINCRBY', KEYS[1], 'begun', 1)
for first = 2, #KEYS, 1000 do
  redis.call('UNLINK', unpack(KEYS, first, math.min(first + 999, #KEYS)))
end
local kept = {generation = true, owner = true, written_s = true, begun = true, done = true}
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if not kept[field] then
    redis.call('HDEL', KEYS[1], field)
  end
end
redis.call('HSET', KEYS[1], 'done', begun)
return 1
