-- What is counted: of a model in its stats, of tenants and in all in the totals.
--
-- `lane:<lane>` in the stats is five numbers with spaces between: tasks queued in the lane, tenants with
-- tasks in its stream, tasks that entered the stream, that left it, that joined a backlog.

local LANES = { 'high', 'normal', 'low', 'batch' }

-- Of a model, as texts by name. `save_counters` writes what was changed by `count` and in `line`.
local function counters(base, model)
  local values = redis.call('HMGET', stats_key(base, model), 'lane:high', 'lane:normal', 'lane:low',
    'lane:batch', 'delayed', 'processing', 'capacity', 'service_ms', 'service_dev', 'paused')
  return { model = model, changes = {}, lines = {},
    high = values[1] or '', normal = values[2] or '', low = values[3] or '', batch = values[4] or '',
    delayed = values[5] or '0', processing = values[6] or '0', capacity = values[7] or '0',
    service_ms = values[8] or '0', service_dev = values[9] or '0', paused = values[10] or '0' }
end

-- Tasks queued in a lane.
local function queued(counted, lane)
  local line = counted.lines[lane]
  if line then return line.queued end
  return string.match(counted[lane], '^%S+') or '0'
end

-- What is counted in a lane; to be changed in place, by numbers.
local function line(counted, lane)
  local line = counted.lines[lane]
  if not line then
    local queued, tenants, entered, left, joined =
      string.match(counted[lane], '^(%S+) (%S+) (%S+) (%S+) (%S+)$')
    line = { queued = queued or 0, tenants = tenants or 0, entered = entered or 0, left = left or 0,
      joined = joined or 0 }
    counted.lines[lane] = line
  end
  return line
end

local function count(counted, name, by)
  local value = counted[name] + by
  counted[name], counted.changes[name] = value, value
end

-- Writes what was counted, all at once.
local function save_counters(base, counted)
  local fields = {}
  for name, value in pairs(counted.changes) do
    fields[#fields + 1] = name
    fields[#fields + 1] = int(value)
  end
  for lane, line in pairs(counted.lines) do
    fields[#fields + 1] = 'lane:' .. lane
    fields[#fields + 1] = string.format('%d %d %d %d %d', line.queued, line.tenants, line.entered,
      line.left, line.joined)
  end
  if #fields > 0 then redis.call('HSET', stats_key(base, counted.model), unpack(fields)) end
end

-- The totals that a task counts in: `bytes` of all queued records, queued tasks of its `tenant`, and
-- those of them in the task's stream, its `share`. Tenants have no colon in their names, so no two
-- shares have one name.
local function totals_of(base, task)
  local tenant = 'tenant:' .. task.tenant
  local share = 'share:' .. task.lane .. ':' .. task.tenant .. ':' .. task.model
  local values = redis.call('HMGET', base .. 'totals', 'bytes', tenant, share)
  return { bytes = values[1] or 0, tenant = tonumber(values[2] or 0), share = tonumber(values[3] or 0),
    tenant_name = tenant, share_name = share, held = values[3] and true, known = values[2] and true }
end

local function save_totals(base, totals)
  local key, bytes = base .. 'totals', int(totals.bytes)
  if totals.tenant > 0 and totals.share > 0 then
    redis.call('HSET', key, 'bytes', bytes, totals.tenant_name, int(totals.tenant),
      totals.share_name, int(totals.share))
    return
  end
  -- What is nothing is not kept, or tenants that come and go would fill the memory.
  local fields, gone = { 'bytes', bytes }, {}
  if totals.tenant > 0 then append(fields, { totals.tenant_name, int(totals.tenant) })
  elseif totals.known then gone[1] = totals.tenant_name end
  if totals.share > 0 then append(fields, { totals.share_name, int(totals.share) })
  elseif totals.held then gone[#gone + 1] = totals.share_name end
  redis.call('HSET', key, unpack(fields))
  if #gone > 0 then redis.call('HDEL', key, unpack(gone)) end
end

-- Counts a task in (1) or out (-1) of what is queued: of all bytes, and of its tenant's tasks.
local function count_queued(totals, task, by)
  totals.bytes, totals.tenant = totals.bytes + by * task.size, totals.tenant + by
end

