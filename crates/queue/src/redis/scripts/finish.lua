-- finish: records the outcome of a task, once. The lease that recorded it may repeat itself. A
-- failure that an operator should see becomes a dead letter as well.
--
-- KEYS  1 base
-- ARGV  1 id   2 fence   3 terminal state   4 outcome
--       5 the error of a dead letter, as JSON, or empty
-- Returns  {recorded, finished ms}   {lost}

local base, id = KEYS[1], ARGV[1]

-- Keeps the task as a dead letter; beyond MAX_DEAD_LETTERS the oldest go.
local function bury(task, at)
  local more = read_placed(base, id, 'record', 'worker', 'failures', 'spent')
  -- Of a task whose attempts are used up, the last one's failure is known.
  local failures = more.spent == '1' and more.failures or with_failure(more, at, ARGV[5])
  local letters, letter = base .. 'dead', base .. 'dead:' .. id
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', letters, '-inf', int(letters_since(at)))) do
    drop_letter(base, old)
  end
  local surplus = redis.call('ZCARD', letters) + 1 - MAX_DEAD_LETTERS
  if surplus > 0 then
    for _, old in ipairs(redis.call('ZRANGE', letters, 0, surplus - 1)) do
      drop_letter(base, old)
    end
  end
  -- No two die at the same instant, so that a page can begin where another ended.
  local latest = redis.call('ZRANGE', letters, -1, -1, 'WITHSCORES')
  local died = int(math.max(at, (tonumber(latest[2]) or 0) + 1))
  redis.call('ZADD', letters, died, id)
  redis.call('HSET', letter, 'model', task.model, 'record', more.record, 'outcome', ARGV[4],
    'failures', failures, 'submitted', task.submitted, 'died', died)
  redis.call('EXPIRE', letter, DEAD_LETTER_TTL_S)
end

local task = read_ending(base, id, 'fence', 'finished')
if task.fence ~= ARGV[2] then
  return { 'lost' }
end
if task.state ~= 'processing' then
  return { 'recorded', task.finished } -- only a finish leaves a fence on a task that has ended
end

local at = now_ms()
end_task(base, id, task, at, ARGV[3], ARGV[4])
if ARGV[5] ~= '' then bury(task, at) end

local stats, state = stats_key(base, task.model), ARGV[3]
local before = redis.call('HMGET', stats, 'service_ms', 'service_dev', 'processing', state)
local average, deviation = tonumber(before[1] or '0'), tonumber(before[2] or '0')
local latest = at - task.started
if average > 0 then
  deviation = deviation + LATEST_WEIGHT * (math.abs(latest - average) - deviation)
  average = average + LATEST_WEIGHT * (latest - average)
else
  average, deviation = latest, latest / 2
end
redis.call('HSET', stats, 'service_ms', string.format('%.3f', average),
  'service_dev', string.format('%.3f', deviation),
  'processing', int((before[3] or 0) - 1), state, int((before[4] or 0) + 1))
return { 'recorded', int(at) }
