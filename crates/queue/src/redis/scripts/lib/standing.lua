-- Returns the standing of a queued task, for `Standing` in estimate.rs, as one text separated by spaces. `task` is
-- from read_placed, with run_at; a task that just joined a backlog has its `rank`. `counted` is from `counters`.
local function standing(id, task, at, counted)
  local queue = task.queue
  local lane = counted[queue.lane]
  local inside = lane.entered - lane.left
  local in_stream, rank, wait = 0, task.rank, 0
  if task.spot == 'stream' then
    in_stream, rank = 1, 0
    inside = math.min(inside - 1, task.ticket - lane.left - 1)
  elseif task.spot == 'backlog' then
    rank = rank or redis.call('ZRANK', queue.backlog, id) or 0
  else
    rank = redis.call('ZCARD', queue.backlog)
  end
  if task.run_at then wait = math.max(0, task.run_at - at) end
  -- For a paused model the time is unknown: report no capacity.
  local capacity = counted.paused and 0 or counted.capacity
  return string.format('%s %d %d %d %d %d %d %d %d %d %d %d %s %s', queue.lane, in_stream,
    math.max(0, inside), rank, wait, lane.tenants, counted.high.queued, counted.normal.queued,
    counted.low.queued, counted.batch.queued, counted.processing, capacity, counted.service_ms,
    counted.service_dev)
end
