-- usage: returns the usage of days.
--
-- KEYS  1 base
-- ARGV  1 owner, or empty for all   2… days, as days since 1970
-- Returns  of each row: day, owner, `<key>:<model>`, counts separated by spaces

local base, rows = KEYS[1], {}

for i = 2, #ARGV do
  local day = base .. 'usage:' .. ARGV[i]
  local owners = ARGV[1] ~= '' and { ARGV[1] } or redis.call('SMEMBERS', day)
  for _, owner in ipairs(owners) do
    local usage = redis.call('HGETALL', day .. ':' .. owner)
    for nth = 1, #usage, 2 do
      local counts = { struct.unpack('<ddddddddd', usage[nth + 1]) }
      for which = 1, 9 do counts[which] = int(counts[which]) end
      append(rows, { ARGV[i], owner, usage[nth], table.concat(counts, ' ', 1, 9) })
    end
  end
end
return rows
