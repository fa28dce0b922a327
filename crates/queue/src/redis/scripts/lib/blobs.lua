-- Records of blobs. All keys of a tenant's blobs are in one partition; their bytes are in any (store_chunk.lua).
--   blob:<id>          hash: tenant, place, and the fields of BLOB
--   blobs:of:<tenant>  zset: the tenant's blobs, without hidden ones; all have score 0, so they sort by id, which is by time
--   blobs:of:<tenant>:<purpose>  zset: the same for the hidden ones of a purpose
--   blobs:due          zset: blobs, by the ms at which they expire
--   blobs:totals       hash: bytes of each tenant's blobs and uploads; fields are deleted at 0
--   blobs:refs         hash: the number of blobs at each place
--   blobs:same         hash: `<hash> <tenant>` -> the place that new blobs of that content may share, and the ms
--                      until which its bytes are kept
--   blobs:reserved     hash: of each upload, `<bytes> <tenant>`
--   blobs:uploads      zset: uploads by their place, by the ms at which they are abandoned
--   blobs:doomed       zset: `<place> <tenant>`, by the ms from which the bytes are to be deleted

local BLOB = { 'size', 'hash', 'media_type', 'filename', 'purpose', 'created', 'expires' }

local function blob_key(base, id) return base .. 'blob:' .. id end

-- Returns the key of the index that has a tenant's blobs of a purpose, which may be empty for all that are not hidden.
local function blob_index(base, tenant, purpose)
  local all = base .. 'blobs:of:' .. tenant
  return string.sub(purpose, 1, 1) == '.' and all .. ':' .. purpose or all
end

-- Returns the fields of BLOB and the place of a tenant's blob; nil if it has none of that id, or it has expired.
local function read_blob(base, tenant, id, at)
  local values = redis.call('HMGET', blob_key(base, id), unpack(BLOB))
  local owner = redis.call('HMGET', blob_key(base, id), 'tenant', 'place')
  if owner[1] ~= tenant or tonumber(values[#BLOB]) <= at then return nil end
  return values, owner[2]
end

local function add_bytes(base, tenant, bytes)
  local totals = base .. 'blobs:totals'
  if redis.call('HINCRBY', totals, tenant, int(bytes)) <= 0 then redis.call('HDEL', totals, tenant) end
end

local function doom(base, place, tenant, due)
  redis.call('ZADD', base .. 'blobs:doomed', int(due), place .. ' ' .. tenant)
end

-- Deletes an upload and frees its room; returns whether it was there, and its tenant.
local function end_upload(base, place)
  local reserved = redis.call('HGET', base .. 'blobs:reserved', place)
  redis.call('ZREM', base .. 'blobs:uploads', place)
  if not reserved then return false end
  local bytes, tenant = string.match(reserved, '^(%d+) (.*)$')
  redis.call('HDEL', base .. 'blobs:reserved', place)
  add_bytes(base, tenant, -bytes)
  return true, tenant
end

-- Deletes a record, and dooms its bytes if it was the last one that named them.
local function drop_blob(base, id, at)
  local values = redis.call('HMGET', blob_key(base, id), 'tenant', 'place', 'size', 'hash', 'purpose')
  local tenant, place = values[1], values[2]
  redis.call('ZREM', base .. 'blobs:due', id)
  if not tenant then return end
  redis.call('DEL', blob_key(base, id))
  redis.call('ZREM', blob_index(base, tenant, values[5]), id)
  add_bytes(base, tenant, -values[3])
  if redis.call('HINCRBY', base .. 'blobs:refs', place, -1) > 0 then return end
  redis.call('HDEL', base .. 'blobs:refs', place)
  local content = values[4] .. ' ' .. tenant
  local same = redis.call('HGET', base .. 'blobs:same', content)
  if same and string.match(same, '^%S+') == place then redis.call('HDEL', base .. 'blobs:same', content) end
  doom(base, place, tenant, at)
end

