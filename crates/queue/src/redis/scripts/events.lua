-- events: returns a task's events after a number, oldest first.
--
-- KEYS  1 base   2 task   3 events
-- ARGV  1 the number   2 maximum number of events   3 id
-- Returns  {number of the first, (ms and body, separated by a space)…}   {}   no events, or no such task

local base, most = KEYS[1], tonumber(ARGV[2])

local task
if redis.call('TYPE', KEYS[2]).ok == 'string' then task = read_ended(base, ARGV[3]) end
if not task then
  local values = redis.call('HMGET', KEYS[2], 'state', 'dropped', 'submitted', 'started', 'told', 'attempt',
    'worker')
  task = { state = values[1], dropped = values[2], submitted = values[3], started = values[4],
    told = values[5], attempt = values[6], worker = values[7] }
end
if not task.state then
  return {}
end
local dropped = tonumber(task.dropped or '0')
local listed = task.events and #task.events or redis.call('LLEN', KEYS[3])
local behind = dropped + 2 + listed -- the number of the first after the list
local last = { started_event(task) }
if task.outcome then
  -- An `ended` event is its outcome plus the event's name.
  last[#last + 1] = task.finished .. ' {"event":"ended",' .. string.sub(task.outcome, 2)
end

local first = ARGV[1] + 1
if dropped > 0 then first = math.max(first, dropped + 2) end
local number, reply = first, { int(first) }
if number == 1 and most > 0 then
  reply[2] = string.format('%s {"v":%d,"event":"queued"}', task.submitted, VERSION)
  number = 2
end
local room = first + most - number
if room > 0 and number < behind then
  local from = number - dropped - 2
  local events
  if task.events then
    events = { unpack(task.events, from + 1, math.min(listed, from + room)) }
  else
    events = redis.call('LRANGE', KEYS[3], int(from), int(from + room - 1))
  end
  append(reply, events)
  number, room = number + #events, room - #events
end
while room > 0 and number >= behind and last[number - behind + 1] do
  reply[#reply + 1] = last[number - behind + 1]
  number, room = number + 1, room - 1
end
return reply
