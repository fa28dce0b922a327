-- Ends a task other than by `finish_and_claim`, which updates the counters differently.
local function end_early(base, id, task, at, state, outcome, log_at)
  local was, counted = task.state, counters(base, task.queue.model)
  end_task(base, id, task, at, state, outcome, log_at)
  if was == 'processing' then count(counted, 'processing', -1) end
  count(counted, state, 1)
end

-- Ends a task without a worker that could log it: any process may write the line at once.
local function end_unattended(base, id, task, at, state, outcome)
  end_early(base, id, task, at, state, outcome, at)
end
