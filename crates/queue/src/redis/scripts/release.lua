-- release: returns a task to the queue for its next attempt, at once or after a backoff. If cancellation was
-- requested, the task ends as cancelled instead, and the caller must write its log line. The lease that
-- released the task may repeat the call.
--
-- KEYS  1 base
-- ARGV  1 id   2 fence   3 the attempt's failure, as JSON, or empty if it does not count
--       4 backoff in ms   5 `requeued` event   6 outcome `cancelled`
-- Returns  {released}   {lost}

local base, id = KEYS[1], ARGV[1]

local task = read_ending(base, id, 'fence', 'cancel', 'failed', 'failures')
if task.returned == ARGV[2] then
  return { 'released' }
end
if task.state ~= 'processing' or task.fence ~= ARGV[2] then
  return { 'lost' }
end

local at = now_ms()
local fields = { 'returned', ARGV[2] }
if task.cancel == '1' then
  task.returned, task.fence = ARGV[2], nil
  end_early(base, id, task, at, 'cancelled', ARGV[6], at + LINE_SPAN_MS)
  save(base)
  return { 'released' }
end
if ARGV[3] ~= '' then
  append(fields, { 'failed', int((task.failed or 0) + 1), 'lost', 0, 'failures',
    with_failure(task, at, ARGV[3]) })
end
requeue(base, id, task, at, ARGV[5], tonumber(ARGV[4]), fields)
save(base)
return { 'released' }
