-- publish: appends generated text to a task's events, skipping chunks that are already there.
--
-- KEYS  1 base   2 events   3 task
-- ARGV  1 id   2 fence   3 number of chunks of this attempt before these   4… token events
-- Returns  {held, 1 if cancellation was requested, else 0}   {lost}

local base, id = KEYS[1], ARGV[1]

local values = redis.pcall('HMGET', KEYS[3], 'state', 'fence', 'cancel', 'told', 'started', 'attempt',
  'worker')
if values.err or values[1] ~= 'processing' or values[2] ~= ARGV[2] then
  return { 'lost' }
end
local from, told = tonumber(ARGV[3]), tonumber(values[4]) or 0
local first = 4 + math.max(0, told - from)
if first <= #ARGV then
  local at = int(now_ms()) .. ' '
  local events = { started_event({ started = values[5], told = values[4], attempt = values[6],
    worker = values[7] }) }
  for i = first, #ARGV do events[#events + 1] = at .. ARGV[i] end
  emit(base, id, events)
  redis.call('HSET', KEYS[3], 'told', int(from + #ARGV - 3))
  redis.pcall('PUBLISH', base .. 'changed', id) -- a hint, as in lib/save.lua
end
return { 'held', values[3] or '0' }
