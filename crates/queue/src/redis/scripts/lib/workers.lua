-- Counts the capacity of a worker that is ready in (1) or out (-1) of its model's.
local function count_capacity(base, report, by)
  local known, parsed = pcall(cjson.decode, report or '')
  if known and type(parsed) == 'table' and parsed.status == 'ready'
    and type(parsed.model) == 'string' and type(parsed.capacity) == 'number' then
    redis.call('HINCRBY', stats_key(base, parsed.model), 'capacity', int(by * parsed.capacity))
  end
end

-- Deletes a worker that is gone, with its consumers. A consumer that still has entries pending is
-- left alone, since deleting it would delete them: the worker is dropped after they were requeued.
local function drop_worker(base, id)
  redis.call('SREM', base .. 'draining', id)
  local report = redis.call('HGET', base .. 'workers', id)
  local known, parsed = pcall(cjson.decode, report or '')
  if known and type(parsed) == 'table' and type(parsed.model) == 'string' then
    local streams = {}
    for _, lane in ipairs(LANES) do
      local stream = stream_key(base, lane, parsed.model)
      local pending = redis.pcall('XPENDING', stream, GROUP, '-', '+', 1, id)
      if not pending.err then
        if #pending > 0 then
          -- It is gone all the same: of its report, only what finds its consumers stays.
          count_capacity(base, report, -1)
          redis.call('HSET', base .. 'workers', id, cjson.encode({ model = parsed.model }))
          return false
        end
        streams[#streams + 1] = stream
      end
    end
    for _, stream in ipairs(streams) do
      redis.call('XGROUP', 'DELCONSUMER', stream, GROUP, id)
    end
  end
  count_capacity(base, report, -1)
  redis.call('HDEL', base .. 'workers', id)
  redis.call('ZREM', base .. 'seen', id)
  return true
end

