-- publish: appends generated text to a task's events.
--
-- KEYS  1 base   2 events
-- ARGV  1 id   2 fence   3 most events kept   4… token events
-- Returns  {held, 1 when a cancel was asked for, else 0}   {lost}

local base, id = KEYS[1], ARGV[1]

local task = read(base, id, 'state', 'fence', 'cancel')
if task.state ~= 'processing' or task.fence ~= ARGV[2] then
  return { 'lost' }
end
local at = now_ms()
for i = 4, #ARGV do
  emit(base, id, at, ARGV[i])
end
redis.call('XTRIM', KEYS[2], 'MAXLEN', '~', ARGV[3])
wake(base, id)
return { 'held', task.cancel or '0' }
