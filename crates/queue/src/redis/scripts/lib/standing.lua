-- How a queued task stands, for `Standing` in estimate.rs, as one text with spaces between. `task` is from
-- read_placed, with run_at; one that just joined has a `spot`. `counted` is from `counters`.
local function standing(id, task, at, counted)
  local queue = task.queue
  local lane = counted[queue.lane]
  local inside = math.max(0, lane.entered - lane.left)
  local in_line, rank, wait = 0, 0, 0
  if task.spot == 'line' then
    in_line, inside = 1, inside - 1
  elseif task.spot == 'backlog' then
    rank = queue.behind - 1
  else
    local ahead = redis.call('ZRANK', queue.line, id)
    if ahead then
      in_line, inside = 1, ahead
    else
      rank = redis.call('ZRANK', queue.backlog, id) or redis.call('ZCARD', queue.backlog)
    end
  end
  if task.run_at then wait = math.max(0, task.run_at - at) end
  -- Of a model that is paused nobody can tell when: as if nobody worked for it.
  local capacity = counted.paused and 0 or counted.capacity
  return string.format('%s %d %d %d %d %d %d %d %d %d %d %d %s %s', queue.lane, in_line, inside, rank,
    wait, lane.tenants, counted.high.queued, counted.normal.queued, counted.low.queued,
    counted.batch.queued, counted.processing, capacity, counted.service_ms, counted.service_dev)
end
