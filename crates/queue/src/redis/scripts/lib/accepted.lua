-- Returns the reply of a submit about an accepted task.
local function accepted(base, id, created, task, at)
  local reply = 'accepted ' .. id .. ' ' .. created .. ' ' .. task.state .. ' ' .. task.submitted .. ' '
    .. task.depth
  if task.state ~= 'queued' then return reply end
  return reply .. ' ' .. standing(id, task, at, counters(base, task.queue.model))
end

-- Returns the same about a task that existed before.
local function accepted_before(base, id, at)
  arrive()
  return accepted(base, id, '0', read_placed(base, id, 'submitted', 'depth', 'run_at'), at)
end
