-- What a submit answers about a task that was accepted.
local function there(base, id, created, task, at)
  local reply = 'accepted ' .. id .. ' ' .. created .. ' ' .. task.state .. ' ' .. task.submitted .. ' '
    .. task.depth
  if task.state ~= 'queued' then return reply end
  return reply .. ' ' .. standing(id, task, at, counters(base, task.queue.model))
end

-- The same about one that was there before.
local function there_already(base, id, at)
  arrive()
  return there(base, id, '0', read_placed(base, id, 'submitted', 'depth', 'run_at'), at)
end
