-- Counters: a model's in its stats; tenants' and global ones in the totals. Each is read once per run of a
-- script, changed in memory, and written once, by `save`.
--
-- `lane:<lane>` in the stats is five numbers and an entry's id, separated by spaces: tasks queued in the
-- lane, tenants with tasks in its stream, tasks that entered the stream, that left it, that joined a
-- backlog, and the latest entry.

local LANES = { 'high', 'normal', 'low', 'batch' }

-- Counters of models by name; global bytes; tenants by name.
local counted_models, totals = {}, { tenants = {} }

-- Parses one lane's counters.
local function lane_of(text)
  if not text then
    return { queued = 0, tenants = 0, entered = 0, left = 0, joined = 0, last = '0-0' }
  end
  local queued, tenants, entered, left, joined, last =
    string.match(text, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
  return { queued = tonumber(queued), tenants = tonumber(tenants), entered = tonumber(entered),
    left = tonumber(left), joined = tonumber(joined), last = last }
end

-- Reads a model's counters: a table per lane, numbers, and texts for the averages.
local function counters(base, model)
  local counted = counted_models[model]
  if counted then return counted end
  local values = redis.call('HMGET', stats_key(base, model), 'lane:high', 'lane:normal', 'lane:low',
    'lane:batch', 'delayed', 'processing', 'capacity', 'service_ms', 'service_dev', 'paused',
    'completed', 'failed', 'cancelled')
  counted = { high = lane_of(values[1]), normal = lane_of(values[2]), low = lane_of(values[3]),
    batch = lane_of(values[4]), delayed = tonumber(values[5] or 0),
    processing = tonumber(values[6] or 0), capacity = tonumber(values[7] or 0),
    service_ms = values[8] or '0', service_dev = values[9] or '0', paused = values[10] == '1',
    completed = tonumber(values[11] or 0), failed = tonumber(values[12] or 0),
    cancelled = tonumber(values[13] or 0), changes = {},
    -- The model never had a submit.
    new = not (values[1] or values[2] or values[3] or values[4] or values[5]) }
  counted_models[model] = counted
  return counted
end

local function count(counted, name, by)
  local value = counted[name] + by
  counted[name], counted.changes[name] = value, value
end

-- Returns the number of the model's tasks that wait in lanes.
local function in_lanes(counted)
  return counted.high.queued + counted.normal.queued + counted.low.queued + counted.batch.queued
end

-- Reads the totals of a queue: `share`, its tasks in the stream; with `held`, its tenant's queued tasks; and
-- `bytes` of all queued records.
local function read_totals(base, queue)
  if queue.share then return end
  local values = redis.call('HMGET', base .. 'totals', 'bytes', 'tenant:' .. queue.tenant,
    'share:' .. queue.name)
  totals.bytes = totals.bytes or tonumber(values[1] or 0)
  local held = totals.tenants[queue.tenant]
  if not held then
    held = { count = tonumber(values[2] or 0), was = tonumber(values[2] or 0) }
    totals.tenants[queue.tenant] = held
  end
  queue.held, queue.share, queue.share_was = held, tonumber(values[3] or 0), tonumber(values[3] or 0)
end

-- Adds a task with a record of that many bytes to the queued totals (1), or subtracts it (-1): global bytes, and
-- its tenant's tasks.
local function count_queued(queue, bytes, by)
  totals.bytes, queue.held.count = totals.bytes + by * bytes, queue.held.count + by
  totals.changed = true
end

-- Returns the bytes of a task's record.
local function record_bytes(base, id)
  return redis.call('HSTRLEN', task_key(base, id), 'record')
end

