-- Requeues a processing task, at the end of its queue or delayed by `rest` ms; also sets the other `fields`.
-- `task` is from read_placed, with told, started and worker.
local function requeue(base, id, task, at, event, rest, fields)
  freed[#freed + 1] = id
  redis.call('HSETNX', task_key(base, id), 'first', task.started)
  emit(base, id, append({ started_event(task) }, { int(at) .. ' ' .. event }))
  local counted = counters(base, task.queue.model)
  read_totals(base, task.queue)
  count_queued(task.queue, record_bytes(base, id), 1)
  count(counted, 'processing', -1)
  append(fields, { 'state', 'queued', 'fence', '', 'started', '', 'spent', '', 'told', '0', 'place' })
  if rest > 0 then
    unindex(base, 'live', task.queue, id)
    append(fields, { delay(base, id, task, at + rest, counted), 'run_at', int(at + rest) })
  else
    append(fields, { join(base, id, task, true, counted) })
  end
  put(base, id, unpack(fields))
  wake(id)
end

