-- list_blobs: lists a tenant's blobs.
--
-- KEYS  1 base
-- ARGV  1 tenant   2 only for this purpose, or empty   3 only behind this id, or empty   4 oldest or newest
--       5 maximum number of blobs
-- Returns  {1 if more follow, else 0, (id, fields of BLOB…)…}

local base, tenant, most, at = KEYS[1], ARGV[1], tonumber(ARGV[5]), now_ms()
local key, reply, found, offset = blob_index(base, tenant, ARGV[2]), { '0' }, 0, 0
while true do
  local ids
  if ARGV[4] == 'oldest' then
    local from = ARGV[3] == '' and '-' or '(' .. ARGV[3]
    ids = redis.call('ZRANGE', key, from, '+', 'BYLEX', 'LIMIT', offset, 100)
  else
    local from = ARGV[3] == '' and '+' or '(' .. ARGV[3]
    ids = redis.call('ZRANGE', key, from, '-', 'BYLEX', 'REV', 'LIMIT', offset, 100)
  end
  if #ids == 0 then return reply end
  offset = offset + #ids
  for _, id in ipairs(ids) do
    local values = read_blob(base, tenant, id, at)
    if values and (ARGV[2] == '' or values[5] == ARGV[2]) then
      if found == most then
        reply[1] = '1'
        return reply
      end
      found = found + 1
      reply[#reply + 1] = id
      append(reply, values)
    end
  end
end
