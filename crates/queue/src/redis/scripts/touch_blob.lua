-- touch_blob: keeps a blob for longer. The caller has kept its bytes for twice as long before.
--
-- KEYS  1 base
-- ARGV  1 tenant   2 id   3 TTL in ms
-- Returns  {touched, fields of BLOB…}   {missing}

local base, tenant, id, ttl, at = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), now_ms()
local values, place = read_blob(base, tenant, id, at)
if not values then return { 'missing' } end
if tonumber(values[#BLOB]) < at + ttl then
  redis.call('HSET', blob_key(base, id), 'expires', int(at + ttl))
  redis.call('ZADD', base .. 'blobs:due', int(at + ttl), id)
end
local content = values[2] .. ' ' .. tenant
local same = redis.call('HGET', base .. 'blobs:same', content)
local shared, kept = string.match(same or '', '^(%S+) (%d+)$')
if shared == place and tonumber(kept) < at + 2 * ttl then
  redis.call('HSET', base .. 'blobs:same', content, place .. ' ' .. int(at + 2 * ttl))
end
return append({ 'touched' }, (read_blob(base, tenant, id, at)))
