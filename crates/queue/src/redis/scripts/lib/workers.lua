-- Returns the entries of a parsed report, one per model that its worker serves.
local function served_by(report)
  if type(report.models) == 'table' and #report.models > 0 then return report.models end
  return { { model = report.model, capacity = report.capacity } }
end

-- Adds the capacity of a ready worker to that of its models (1), or subtracts it (-1).
local function count_capacity(base, report, by)
  local known, parsed = pcall(cjson.decode, report or '')
  if not known or type(parsed) ~= 'table' or parsed.status ~= 'ready' then return end
  for _, served in ipairs(served_by(parsed)) do
    if type(served.model) == 'string' and type(served.capacity) == 'number' then
      redis.call('HINCRBY', stats_key(base, served.model), 'capacity', int(by * served.capacity))
    end
  end
end

-- Deletes a worker's report. Its tasks are requeued when their leases expire.
local function drop_worker(base, id)
  redis.call('SREM', base .. 'draining', id)
  count_capacity(base, redis.call('HGET', base .. 'workers', id), -1)
  redis.call('HDEL', base .. 'workers', id)
  redis.call('HDEL', base .. 'heard', id)
  redis.call('ZREM', base .. 'seen', id)
end
