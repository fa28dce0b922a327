-- What a parsed report says of each model that its worker serves.
local function served_by(report)
  if type(report.models) == 'table' and #report.models > 0 then return report.models end
  return { { model = report.model, capacity = report.capacity } }
end

-- Counts the capacity of a worker that is ready in (1) or out (-1) of its models'.
local function count_capacity(base, report, by)
  local known, parsed = pcall(cjson.decode, report or '')
  if not known or type(parsed) ~= 'table' or parsed.status ~= 'ready' then return end
  for _, served in ipairs(served_by(parsed)) do
    if type(served.model) == 'string' and type(served.capacity) == 'number' then
      redis.call('HINCRBY', stats_key(base, served.model), 'capacity', int(by * served.capacity))
    end
  end
end

-- Deletes a worker that is gone, with its consumers. A consumer that still has entries pending is
-- left alone, since deleting it would delete them: the worker is dropped after they were requeued.
local function drop_worker(base, id)
  redis.call('SREM', base .. 'draining', id)
  local report = redis.call('HGET', base .. 'workers', id)
  local known, parsed = pcall(cjson.decode, report or '')
  if known and type(parsed) == 'table' then
    local streams, names = {}, {}
    for _, served in ipairs(served_by(parsed)) do
      if type(served.model) == 'string' then
        names[#names + 1] = { model = served.model }
        for _, lane in ipairs(LANES) do
          streams[#streams + 1] = stream_key(base, lane, served.model)
        end
      end
    end
    for _, stream in ipairs(streams) do
      local pending = redis.pcall('XPENDING', stream, GROUP, '-', '+', 1, id)
      if not pending.err and #pending > 0 then
        -- It is gone all the same: of its report, only what finds its consumers stays.
        count_capacity(base, report, -1)
        redis.call('HSET', base .. 'workers', id, cjson.encode({ models = names }))
        return false
      end
    end
    for _, stream in ipairs(streams) do
      -- Of a model without tasks there is no group, which is as good.
      redis.pcall('XGROUP', 'DELCONSUMER', stream, GROUP, id)
    end
  end
  count_capacity(base, report, -1)
  redis.call('HDEL', base .. 'workers', id)
  redis.call('ZREM', base .. 'seen', id)
  return true
end

