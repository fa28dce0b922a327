-- Counts the capacity of a worker that is ready in (1) or out (-1) of its model's.
local function count_capacity(base, report, by)
  local known, parsed = pcall(cjson.decode, report or '')
  if known and type(parsed) == 'table' and parsed.status == 'ready'
    and type(parsed.model) == 'string' and type(parsed.capacity) == 'number' then
    redis.call('HINCRBY', stats_key(base, parsed.model), 'capacity', int(by * parsed.capacity))
  end
end

-- Deletes a worker that is gone. What it held comes back by its leases.
local function drop_worker(base, id)
  redis.call('SREM', base .. 'draining', id)
  count_capacity(base, redis.call('HGET', base .. 'workers', id), -1)
  redis.call('HDEL', base .. 'workers', id)
  redis.call('ZREM', base .. 'seen', id)
end
