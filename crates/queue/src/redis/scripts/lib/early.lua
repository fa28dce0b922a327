-- Ends a task other than by `work`, which counts in its own way.
local function end_early(base, id, task, at, state, outcome)
  end_task(base, id, task, at, state, outcome)
  local counted = counters(base, task.queue.model)
  if task.state == 'processing' then count(counted, 'processing', -1) end
  count(counted, state, 1)
end

-- The same where no worker is there to log it: it enters the journal.
local function end_unattended(base, id, task, at, state, outcome)
  end_early(base, id, task, at, state, outcome)
  redis.call('ZADD', base .. 'unlogged', int(at), id)
end

