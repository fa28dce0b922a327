-- How a queued task stands, for `Standing` in estimate.rs. `task` is from read_placed, with run_at;
-- `counted` from `counters`.
local function standing(base, id, task, at, counted)
  local lane = line(counted, task.lane)
  local left = lane.left
  local inside = lane.entered - left
  local in_stream, rank, wait = '0', '0', '0'
  if task.spot == 'stream' then
    in_stream = '1'
    inside = math.min(inside - 1, task.ticket - left - 1)
  elseif task.spot == 'backlog' then
    rank = int(redis.call('ZRANK', backlog_key(base, task), id) or 0)
  else
    rank = int(redis.call('ZCARD', backlog_key(base, task)))
  end
  if task.run_at then wait = int(math.max(0, task.run_at - at)) end
  -- Of a model that is paused nobody can tell when: as if nobody worked for it.
  local capacity = counted.paused == '1' and '0' or counted.capacity
  return { task.lane, in_stream, int(math.max(0, inside)), rank, wait, int(lane.tenants),
    int(queued(counted, 'high')), int(queued(counted, 'normal')), int(queued(counted, 'low')),
    int(queued(counted, 'batch')), counted.processing, capacity, counted.service_ms,
    counted.service_dev }
end

