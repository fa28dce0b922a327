-- commit_blob: records the blob whose bytes an upload has written.
--
-- KEYS  1 base
-- ARGV  1 place   2 tenant   3 id   4 size   5 hash   6 media type   7 filename   8 purpose   9 TTL in ms
-- Returns  {stored, fields of BLOB…}   {missing}

local base, place, tenant, id, ttl = KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[9])
local at = now_ms()
local known = read_blob(base, tenant, id, at)
if known then return append({ 'stored' }, known) end
if not end_upload(base, place) then return { 'missing' } end

-- Share the place of the same bytes, if they are kept for long enough.
local content = ARGV[5] .. ' ' .. tenant
local same = redis.call('HGET', base .. 'blobs:same', content)
local shared, kept = string.match(same or '', '^(%S+) (%d+)$')
if shared and tonumber(kept) >= at + ttl then
  doom(base, place, tenant, at)
  place = shared
else
  redis.call('HSET', base .. 'blobs:same', content, place .. ' ' .. int(at + 2 * ttl))
end

local expires = int(at + ttl)
redis.call('HSET', blob_key(base, id), 'tenant', tenant, 'place', place, 'size', ARGV[4], 'hash', ARGV[5],
  'media_type', ARGV[6], 'filename', ARGV[7], 'purpose', ARGV[8], 'created', int(at), 'expires', expires)
redis.call('ZADD', blob_index(base, tenant, ARGV[8]), 0, id)
redis.call('ZADD', base .. 'blobs:due', expires, id)
redis.call('HINCRBY', base .. 'blobs:refs', place, 1)
if ARGV[4] ~= '0' then add_bytes(base, tenant, ARGV[4]) end
return append({ 'stored' }, read_blob(base, tenant, id, at))
