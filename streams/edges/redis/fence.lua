-- Whether a worker may change a partition; stands before the scripts that do.
-- meta: the partition's; owner and generation: the worker's. Gives the stored offset ('': none),
-- whether the state is torn, and an error when it may not.
-- An older claim (of an older generation, or an earlier one of the same worker) can only be back
-- because Redis went back to a moment before ours: LOST. A later one fences us off.
local function fence_of(meta, owner, generation)
  local held = redis.call('HMGET', meta, 'owner', 'offset', 'generation', 'begun', 'done')
  local theirs, offset = held[1] or '', held[2] or ''
  if theirs == '' then
    return offset, false, redis.error_reply('LOST ' .. offset)
  end
  if theirs ~= owner then
    local worker, number = string.match(theirs, '^(.*):(%d+)$')
    local own_worker, own_number = string.match(owner, '^(.*):(%d+)$')
    local newer = tonumber(generation) - tonumber(held[3])
    if newer > 0
      or (newer == 0 and worker == own_worker and tonumber(number) < tonumber(own_number)) then
      return offset, false, redis.error_reply('LOST ' .. offset)
    end
    return offset, false, redis.error_reply('FENCED another worker has the partition')
  end
  return offset, held[4] ~= held[5], nil
end
