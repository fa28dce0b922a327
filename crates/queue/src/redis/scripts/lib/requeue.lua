-- Puts a processing task back in its queue, at the end, or aside to `rest` for that many ms; sets the
-- other `fields` as well. `task` is from read_placed, with told, started and worker.
local function requeue(base, id, task, at, event, rest, fields)
  drop_entry(base, task)
  redis.call('ZREM', base .. 'leases', id)
  emit(base, id, append({ started_event(task) }, { int(at) .. ' ' .. event }))
  local counted, totals = counters(base, task.model), totals_of(base, task)
  count_queued(totals, task, 1)
  count(counted, 'processing', -1)
  append(fields, { 'state', 'queued', 'fence', '', 'started', '', 'spent', '', 'told', '0', 'place' })
  if rest > 0 then
    append(fields, { delay(base, id, task, at + rest, counted), 'run_at', int(at + rest) })
  else
    append(fields, { join(base, id, task, true, counted, totals) })
  end
  put(base, id, unpack(fields))
  save_counters(base, counted)
  save_totals(base, totals)
  wake(base, id)
end

