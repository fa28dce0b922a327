-- Moves delayed tasks whose time has come into their lanes. A task that backed off after an attempt is
-- requeued, so no window delays it.
local function promote(base, at, most)
  local due = redis.call('ZRANGEBYSCORE', base .. 'delayed', '-inf', int(at), 'LIMIT', 0, most)
  for _, id in ipairs(due) do
    local task = read_placed(base, id)
    if task.state == 'queued' and task.spot == 'delayed' then
      local counted = counters(base, task.queue.model)
      read_totals(base, task.queue)
      leave(base, id, task, counted)
      put(base, id, 'place', join(base, id, task, task.attempt ~= '0', counted))
    else
      redis.call('ZREM', base .. 'delayed', id)
    end
  end
end
