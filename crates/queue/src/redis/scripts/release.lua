-- release: gives a task back to the queue for its next attempt; one whose owner asked to cancel it
-- ends as cancelled instead. The lease that released it may repeat itself.
--
-- KEYS  1 base
-- ARGV  1 id   2 fence   3 1 when the attempt counts as failed, else 0   4 `requeued` event
--       5 outcome `cancelled`   6 its `ended` event
-- Returns  {released}   {lost}

local base, id = KEYS[1], ARGV[1]

local task = read_placed(base, id, 'fence', 'returned', 'cancel')
if task.returned == ARGV[2] then
  return { 'released' }
end
if task.state ~= 'processing' or task.fence ~= ARGV[2] then
  return { 'lost' }
end

local at = now_ms()
if task.cancel == '1' then
  end_task(base, id, task, at, 'cancelled', ARGV[5], ARGV[6])
else
  requeue(base, id, task, at, ARGV[4])
end
redis.call('HSET', task_key(base, id), 'returned', ARGV[2], 'fence', '')
redis.call('HINCRBY', task_key(base, id), 'failed', ARGV[3])
return { 'released' }
