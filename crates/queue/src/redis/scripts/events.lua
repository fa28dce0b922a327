-- events: a task's events after a number, oldest first.
--
-- KEYS  1 base   2 task   3 events
-- ARGV  1 the number   2 most events
-- Returns  {number of the first, (ms and body, with a space between)…}   {}   none, or no such task

local dropped = redis.call('HMGET', KEYS[2], 'state', 'dropped')
if not dropped[1] then
  return {}
end
local gone = tonumber(dropped[2] or '0')
local from = math.max(0, ARGV[1] - gone)
local events = redis.call('LRANGE', KEYS[3], int(from), int(from + ARGV[2] - 1))
return append({ int(gone + from + 1) }, events)
