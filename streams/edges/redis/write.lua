-- Writes one partition's changed state and its offset: all of it or nothing.
-- KEYS  1 meta, 2 surges, 3 outbox, then the groups' hashes
-- ARGV  1 owner, 2 offset that must be stored ('': none), 3 next offset, 4 watermark,
--       5 seconds to live, 6 number of series, 7 the owner's generation, 8 watermark of what was
--       read, 9 frontier, 10 frontier that must be stored ('': none), 11 and 12 offset and
--       watermark where reading begins again ('': nowhere), 13 offset before which no record is
--       held back, 14 offsets of records that were from the future, 15 the time that records
--       agreed on where reading begins again, then
--       for each series: name, highest group, names, values, where each name and value ends, for
--       each group twice its keys' number, plus one to renew its expiry (both in MessagePack);
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
-- at the new place already: the same write was done before and its reply was lost
local frontier = redis.call('HGET', meta, 'frontier_ms') or ''
if not (offset == ARGV[2] and frontier == ARGV[10])
  and not (offset == ARGV[3] and frontier == ARGV[9]) then
  return redis.error_reply('LOST ' .. offset)
end
local begun = redis.call('HINCRBY', meta, 'begun', 1)

-- One hash of a flush has one changed key as a rule: strings and calls are what it costs here.
local call, sub = redis.call, string.sub
local at, key_no = 16, 3
for _ = 1, tonumber(ARGV[6]) do
  local names, values = ARGV[at + 2], ARGV[at + 3]
  local ends, groups = cmsgpack.unpack(ARGV[at + 4]), cmsgpack.unpack(ARGV[at + 5])
  local end_at, name_end, value_end = 1, 0, 0
  for group_at = 1, #groups do
    key_no = key_no + 1
    local key, refresh = KEYS[key_no], groups[group_at] % 2
    local last = end_at + groups[group_at] - refresh - 2
    if end_at == last then
      call('HSET', key, sub(names, name_end + 1, ends[last]),
        sub(values, value_end + 1, ends[last + 1]))
    else
      local fields, length = {}, 0
      for i = end_at, last, 2 do
        fields[length + 1] = sub(names, name_end + 1, ends[i])
        fields[length + 2] = sub(values, value_end + 1, ends[i + 1])
        name_end, value_end, length = ends[i], ends[i + 1], length + 2
      end
      call('HSET', key, unpack(fields))
    end
    name_end, value_end, end_at = ends[last], ends[last + 1], last + 2
    if refresh == 1 then
      call('EXPIRE', key, ttl)
    end
  end
  local field = 'groups:' .. ARGV[at]
  if tonumber(ARGV[at + 1]) > tonumber(redis.call('HGET', meta, field) or '-1') then
    redis.call('HSET', meta, field, ARGV[at + 1])
  end
  at = at + 6
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
  redis.call('TIME')[1], 'read_watermark_ms', ARGV[8], 'frontier_ms', ARGV[9],
  'reread_offset', ARGV[11], 'reread_watermark_ms', ARGV[12], 'held_offset', ARGV[13],
  'reread_dead', ARGV[14], 'reread_agreed', ARGV[15], 'done', begun)
return 1
