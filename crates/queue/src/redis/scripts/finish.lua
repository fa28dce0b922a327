-- finish: records the outcome of a task, once. The lease that recorded it may repeat itself.
--
-- KEYS  1 base
-- ARGV  1 id   2 fence   3 terminal state   4 outcome   5 `ended` event   6 weight of the latest
--       processing time in the moving averages
-- Returns  {recorded, finished ms}   {lost}

local base, id = KEYS[1], ARGV[1]

local task = read_placed(base, id, 'fence', 'finished', 'started')
if task.fence ~= ARGV[2] then
  return { 'lost' }
end
if task.state ~= 'processing' then
  return { 'recorded', task.finished } -- only a finish leaves a fence on a task that has ended
end

local at = now_ms()
end_task(base, id, task, at, ARGV[3], ARGV[4], ARGV[5])

local stats = stats_key(base, task.model)
local before = redis.call('HMGET', stats, 'service_ms', 'service_dev')
local average, deviation = tonumber(before[1] or '0'), tonumber(before[2] or '0')
local latest = at - task.started
if average > 0 then
  deviation = deviation + ARGV[6] * (math.abs(latest - average) - deviation)
  average = average + ARGV[6] * (latest - average)
else
  average, deviation = latest, latest / 2
end
redis.call('HSET', stats, 'service_ms', string.format('%.3f', average),
  'service_dev', string.format('%.3f', deviation))
return { 'recorded', int(at) }
