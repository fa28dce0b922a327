-- Reads the fields that `end_task` needs of a task, and the named fields.
local function read_ending(base, id, ...)
  return read_placed(base, id, 'told', 'idem', 'hook', 'started', 'worker', 'submitted', 'run_at', 'expires',
    'depth', 'dropped', 'returned', 'notes', 'charge', ...)
end

-- Collects the task's tenant for `save`. Tasks created within the same four seconds share a hash
-- (lib/base.lua), which expires with the last of them.
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

-- Returns a field for the text of an ended task (lib/ended.lua).
local function word(value)
  if not value or value == '' then return ' -' end
  return ' ' .. value
end

-- Returns the text of an ended task with the events of its list.
local function ended_text(task, events)
  -- An empty `told` differs from a missing one (lib/events.lua).
  local told = task.told == '' and ' nothing' or word(task.told)
  local listed = #events > 0 and table.concat(events, '\n') .. '\n' or ''
  return task.state .. word(task.attempt) .. word(task.worker) .. word(task.submitted) .. word(task.started)
    .. word(task.finished) .. word(task.run_at) .. word(task.expires) .. word(task.depth) .. told
    .. word(task.dropped) .. word(task.fence) .. word(task.returned) .. ' ' .. #events .. '\n' .. task.outcome
    .. '\n' .. (task.notes or '') .. '\n' .. listed .. task.about
end

-- Ends a task: deletes its place and lease, replaces the prompt by the outcome, starts the TTL, makes its log
-- line pending, settles its charge, and stores what outlives it: its tenant and its webhook. The caller counts the
-- end in the model's stats. `task` is from read_ending, with `fence` and the tokens (lib/settle.lua) of a finisher;
-- from `log_at` on any process may write the line.
local function end_task(base, id, task, at, state, outcome, log_at)
  local was, row, bill = task.state, bill_of(base, id, task, at)
  if task.state == 'queued' then
    local counted = counters(base, task.queue.model)
    read_totals(base, task.queue)
    leave(base, id, task, counted)
    count_queued(task.queue, record_bytes(base, id), -1)
    redis.call('ZREM', base .. 'expiring', id)
  else
    freed[#freed + 1] = id
  end
  if task.spot ~= 'delayed' then unindex(base, 'live', task.queue, id) end
  index(base, state, task.queue, id)
  -- There is no list before the first attempt, nor while that has published nothing.
  local events = {}
  local told = (task.told or '0') ~= '0'
  if told or tonumber(task.attempt) > 1 or task.attempt == '1' and task.state == 'queued' then
    events = redis.call('LRANGE', events_key(base, id), 0, -1)
    redis.call('DEL', events_key(base, id))
  end
  task.state, task.finished, task.outcome = state, int(at), outcome
  local text = ended_text(task, events)
  redis.call('SET', task_key(base, id), text, 'EX', task.ttl == '0' and '1' or task.ttl)
  owed[#owed + 1] = int(log_at)
  owed[#owed + 1] = id
  if tonumber(task.ttl) < LINE_KEPT_S then
    owed_texts[#owed_texts + 1] = id
    owed_texts[#owed_texts + 1] = text
  end
  if task.idem and string.sub(redis.call('GET', task.idem) or '', 1, #id) == id then
    redis.call('EXPIRE', task.idem, task.ttl)
  end
  if task.hook then -- it is told beyond the task's TTL, from now on
    redis.call('HSET', base .. 'hook:' .. id, 'hook', task.hook, 'tenant', task.queue.tenant,
      'state', 'pending', 'number', 0, 'outcome', outcome,
      'submitted', task.submitted, 'started', task.started or '', 'finished', int(at))
    redis.call('ZADD', base .. 'hooks', int(at), id)
  end
  remember(base, id, task)
  settle(task, at, was, row, bill)
  wake(id)
end

