-- publish: appends generated text to a task's events; what is told already is not told twice.
--
-- KEYS  1 base   2 events
-- ARGV  1 id   2 fence   3 how many chunks of this attempt came before   4… token events
-- Returns  {held, 1 when a cancel was asked for, else 0}   {lost}

local base, id = KEYS[1], ARGV[1]

local task = read(base, id, 'state', 'fence', 'cancel', 'told')
if task.state ~= 'processing' or task.fence ~= ARGV[2] then
  return { 'lost' }
end
local from, told = tonumber(ARGV[3]), tonumber(task.told or '0')
local first = 4 + math.max(0, told - from)
if first <= #ARGV then
  local at, length = int(now_ms()) .. ' ', 0
  for i = first, #ARGV, 1000 do -- Lua's stack has room for some thousands
    local events = {}
    for j = i, math.min(i + 999, #ARGV) do events[#events + 1] = at .. ARGV[j] end
    length = redis.call('RPUSH', KEYS[2], unpack(events))
  end
  put(base, id, 'told', int(from + #ARGV - 3))
  trim_events(base, id, length)
  wake(base, id)
end
return { 'held', task.cancel or '0' }
