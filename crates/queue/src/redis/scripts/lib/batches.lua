-- Records of batches. All keys of a tenant's batches are in one partition.
--   batch:<id>           hash: tenant, record (versioned JSON), rev (incremented with each record). TTL once ended
--   batches:of:<tenant>  zset: the tenant's batches; all have score 0, so they sort by id, which is by time
--   batches:due          zset: batches that have not ended, by the ms from which a processor may take them
--   batches:ended        zset: ended batches, each `<id> <tenant>`, by the ms at which they expire

local function batch_key(base, id) return base .. 'batch:' .. id end

-- Returns record and rev of a tenant's batch; nil if it has none of that id.
local function read_batch(base, tenant, id)
  local values = redis.call('HMGET', batch_key(base, id), 'tenant', 'record', 'rev')
  if values[1] ~= tenant then return nil end
  return { values[2], values[3] }
end

-- Returns whether a tenant's batch has not ended.
local function is_running(base, tenant, id)
  return redis.call('HGET', batch_key(base, id), 'tenant') == tenant
    and redis.call('ZSCORE', base .. 'batches:due', id)
end

