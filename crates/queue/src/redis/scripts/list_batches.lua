-- list_batches: lists a tenant's batches, the newest first.
--
-- KEYS  1 base
-- ARGV  1 tenant   2 only behind this id, or empty   3 maximum number of batches
-- Returns  {1 if more follow, else 0, (record, rev)…}

local base, tenant, most = KEYS[1], ARGV[1], tonumber(ARGV[3])
local from, reply, found, offset = ARGV[2] == '' and '+' or '(' .. ARGV[2], { '0' }, 0, 0
while true do
  local ids = redis.call('ZRANGE', base .. 'batches:of:' .. tenant, from, '-', 'BYLEX', 'REV', 'LIMIT', offset, 100)
  if #ids == 0 then return reply end
  offset = offset + #ids
  for _, id in ipairs(ids) do
    local batch = read_batch(base, tenant, id)
    if batch then
      if found == most then
        reply[1] = '1'
        return reply
      end
      found = found + 1
      append(reply, batch)
    end
  end
end
