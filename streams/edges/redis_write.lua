-- Writes one partition's changed state and its offset: all of it or nothing.
-- KEYS  1 meta, 2 surges, 3 outbox, then the groups' hashes
-- ARGV  1 owner, 2 offset that must be stored ('': none), 3 next offset, 4 watermark,
--       5 seconds to live, 6 number of series, 7 the owner's generation, 8 and 9 offset and
--       watermark where reading begins again for event ids ('': nowhere), then
--       for each series: name, highest group, head bytes, names, lengths, heads, tails, groups;
--       then two lists in MessagePack (there may be many): surges to set (name, value, …), surges
--       to delete; then two lists, each its length and its members: outbox to set (name, value,
--       …), outbox to delete
-- Redis does not roll back: whatever can be refused is refused before the first write, and the
-- offset is written last. 'begun' is counted up first and set as 'done' last: they differ for
-- ever after once half of a write was carried out, since counting up is repeated with that half.
local meta, ttl = KEYS[1], ARGV[5]
local offset, torn, refusal = fence_of(meta, ARGV[1], ARGV[7])
if refusal then
  return refusal
end
if torn then
  return redis.error_reply('TORN half of a write stands here')
end
-- at the new offset already: the same write was done before and its reply was lost
if offset ~= ARGV[2] and offset ~= ARGV[3] then
  return redis.error_reply('LOST ' .. offset)
end
local begun = redis.call('HINCRBY', meta, 'begun', 1)

local unpack_bytes, sub = struct.unpack, string.sub
local at = 10
for _ = 1, tonumber(ARGV[6]) do
  local head_bytes, names, lengths = tonumber(ARGV[at + 2]), ARGV[at + 3], ARGV[at + 4]
  local heads, tails, groups = ARGV[at + 5], ARGV[at + 6], ARGV[at + 7]
  local name_at, length_at, head_at, tail_at = 1, 1, 1, 1
  for group_at = 1, #groups, 8 do
    local key_no, count, refresh = unpack_bytes('<I4I2I2', groups, group_at)
    local fields = {}
    for i = 1, 2 * count, 2 do
      local name_bytes, tail_bytes = unpack_bytes('<I2I4', lengths, length_at)
      fields[i] = sub(names, name_at, name_at + name_bytes - 1)
      fields[i + 1] = sub(heads, head_at, head_at + head_bytes - 1)
        .. sub(tails, tail_at, tail_at + tail_bytes - 1)
      length_at = length_at + 6
      name_at = name_at + name_bytes
      head_at = head_at + head_bytes
      tail_at = tail_at + tail_bytes
    end
    redis.call('HSET', KEYS[key_no], unpack(fields))
    if refresh == 1 then
      redis.call('EXPIRE', KEYS[key_no], ttl)
    end
  end
  local field = 'groups:' .. ARGV[at]
  if tonumber(ARGV[at + 1]) > tonumber(redis.call('HGET', meta, field) or '-1') then
    redis.call('HSET', meta, field, ARGV[at + 1])
  end
  at = at + 8
end

-- a thousand members a command: Lua's unpack has a limit
local function change(command, key, members, first, last)
  for from = first, last, 1000 do
    redis.call(command, key, unpack(members, from, math.min(from + 999, last)))
  end
end
for nth, command in ipairs({'HSET', 'HDEL'}) do
  local members = cmsgpack.unpack(ARGV[at + nth - 1])
  change(command, KEYS[2], members, 1, #members)
end
at = at + 2
for _, command in ipairs({'HSET', 'HDEL'}) do
  local length = tonumber(ARGV[at])
  change(command, KEYS[3], ARGV, at + 1, at + length)
  at = at + 1 + length
end
redis.call('EXPIRE', KEYS[2], ttl)
redis.call('EXPIRE', KEYS[3], ttl)
redis.call('EXPIRE', meta, ttl)
redis.call('HSET', meta, 'watermark_ms', ARGV[4], 'offset', ARGV[3], 'written_s',
  redis.call('TIME')[1], 'reread_offset', ARGV[8], 'reread_watermark_ms', ARGV[9], 'done', begun)
return 1
