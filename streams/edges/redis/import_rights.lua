-- Which commands that import.lua needs beside a worker's own the user may not use; changes nothing.
-- KEYS  1 a key of the partition that there is not
local lacking = {}
for _, command in ipairs({{'HLEN', KEYS[1]}, {'RENAME', KEYS[1], KEYS[1]}}) do
  local answer = redis.pcall(unpack(command))
  -- with the right HLEN answers 0, and RENAME that there is no such key
  if type(answer) == 'table' and answer.err and not string.find(answer.err, 'no such key') then
    table.insert(lacking, command[1])
  end
end
return lacking
