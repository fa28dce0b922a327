-- All that `end_task` needs to know of a task, and the named fields.
local function read_ending(base, id, ...)
  return read_placed(base, id, 'told', 'idem', 'hook', 'started', ...)
end

-- Notes for `save` whose task it was. Those of tasks that were made in the same four seconds share a hash
-- (lib/base.lua), which lives as long as the latest of them is to be known.
local function remember(base, id, task)
  local key, ttl = gone_key(base, id), task.ttl + math.max(task.ttl, TOMBSTONE_S)
  local gone = forgotten[key]
  if not gone then
    gone = { ttl = 0 }
    forgotten[key] = gone
  end
  gone.ttl = math.max(gone.ttl, ttl)
  gone[#gone + 1] = id
  gone[#gone + 1] = task.queue.tenant
end

-- Ends a task: its place and lease go, the outcome is written, the TTL starts, and what outlives it is
-- kept: whose it was, and its webhook. Counting the end in the model's stats is the caller's. `task`
-- is from read_ending.
local function end_task(base, id, task, at, state, outcome)
  if task.state == 'queued' then
    local counted = counters(base, task.queue.model)
    read_totals(base, task.queue)
    leave(base, id, task, counted)
    count_queued(task.queue, record_bytes(base, id), -1)
    redis.call('ZREM', base .. 'expiring', id)
  else
    freed[#freed + 1] = id
  end
  local key = task_key(base, id)
  redis.call('HSET', key, 'state', state, 'outcome', outcome, 'finished', int(at))
  redis.call('EXPIRE', key, task.ttl)
  -- There is no list as long as the first attempt has told nothing.
  if task.state == 'queued' or task.attempt ~= '1' or (task.told or '0') ~= '0' then
    redis.call('EXPIRE', events_key(base, id), task.ttl)
  end
  if task.idem and string.sub(redis.call('GET', task.idem) or '', 1, #id) == id then
    redis.call('EXPIRE', task.idem, task.ttl)
  end
  if task.hook then -- it is told beyond the task's TTL, from now on
    redis.call('HSET', base .. 'hook:' .. id, 'hook', task.hook, 'tenant', task.queue.tenant,
      'state', 'pending', 'number', 0, 'outcome', outcome,
      'submitted', redis.call('HGET', key, 'submitted'), 'started', task.started or '', 'finished', int(at))
    redis.call('ZADD', base .. 'hooks', int(at), id)
  end
  remember(base, id, task)
  wake(id)
end

