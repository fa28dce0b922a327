-- Ends a task other than by `work`, which counts in its own way.
local function end_early(base, id, task, at, state, outcome, log_at)
  local was, counted = task.state, counters(base, task.queue.model)
  end_task(base, id, task, at, state, outcome, log_at)
  if was == 'processing' then count(counted, 'processing', -1) end
  count(counted, state, 1)
end

-- The same where no worker is there to log it: anybody may at once.
local function end_unattended(base, id, task, at, state, outcome)
  end_early(base, id, task, at, state, outcome, at)
end
