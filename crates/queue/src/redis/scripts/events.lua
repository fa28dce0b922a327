-- events: a task's events after a number, oldest first.
--
-- KEYS  1 base   2 task   3 events
-- ARGV  1 the number   2 most events
-- Returns  {number of the first, (ms and body, with a space between)…}   {}   none, or no such task

local base, most = KEYS[1], tonumber(ARGV[2])

local values = redis.call('HMGET', KEYS[2], 'state', 'dropped', 'submitted', 'started', 'told',
  'attempt', 'worker', 'finished', 'outcome')
if not values[1] then
  return {}
end
local dropped = tonumber(values[2] or '0')
local behind = dropped + 2 + redis.call('LLEN', KEYS[3]) -- the number of the first after the list
local last = { started_event({ started = values[4], told = values[5], attempt = values[6],
  worker = values[7] }) }
if values[9] then
  -- An `ended` event is its outcome, and says so.
  last[#last + 1] = values[8] .. ' {"event":"ended",' .. string.sub(values[9], 2)
end

local first = ARGV[1] + 1
if dropped > 0 then first = math.max(first, dropped + 2) end
local number, reply = first, { int(first) }
if number == 1 and most > 0 then
  reply[2] = string.format('%s {"v":%d,"event":"queued"}', values[3], VERSION)
  number = 2
end
local room = first + most - number
if room > 0 and number < behind then
  local from = number - dropped - 2
  local events = redis.call('LRANGE', KEYS[3], int(from), int(from + room - 1))
  append(reply, events)
  number, room = number + #events, room - #events
end
while room > 0 and number >= behind and last[number - behind + 1] do
  reply[#reply + 1] = last[number - behind + 1]
  number, room = number + 1, room - 1
end
return reply
