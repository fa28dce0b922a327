-- reap_blobs: deletes expired blobs, abandons uploads that took too long, and hands out bytes to delete.
--
-- KEYS  1 base
-- ARGV  1 maximum number of each   2 ms that the caller has to delete the bytes
-- Returns  {(`<place> <tenant>`)…}

local base, at = KEYS[1], now_ms()
local function due(key)
  return redis.call('ZRANGEBYSCORE', base .. key, '-inf', int(at), 'LIMIT', 0, ARGV[1])
end

for _, id in ipairs(due('blobs:due')) do drop_blob(base, id, at) end
for _, place in ipairs(due('blobs:uploads')) do
  local was, tenant = end_upload(base, place)
  if was then doom(base, place, tenant, at) end
end
local doomed = due('blobs:doomed')
for _, member in ipairs(doomed) do redis.call('ZADD', base .. 'blobs:doomed', int(at + ARGV[2]), member) end
return doomed
