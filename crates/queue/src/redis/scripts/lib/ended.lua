-- A task that has ended: a text under the key where its hash was, so that little of it stays. Its lines:
--   state attempt worker submitted started finished run_at expires depth told dropped fence returned listed,
--     with spaces between; `-` where one says nothing
--   outcome, as versioned JSON
--   notes, or nothing
--   what was in the list of its events, as many lines as `listed` says
--   about
-- What is not in lib/base.lua: `finished`, the instant of the end in ms, and `fence`, which is that of the
-- finisher, to know one that repeats itself; of other ends there is none.

-- A task from its text, with `events`; nil when it is no such text.
local function ended_of(text)
  if type(text) ~= 'string' then return nil end
  local words, outcome, notes, from = string.match(text, '^([^\n]+)\n([^\n]*)\n([^\n]*)\n()')
  if not words then return nil end
  local names = { 'state', 'attempt', 'worker', 'submitted', 'started', 'finished', 'run_at', 'expires',
    'depth', 'told', 'dropped', 'fence', 'returned', 'listed' }
  local task, nth = { outcome = outcome, notes = notes, events = {}, spot = 'none' }, 0
  for word in string.gmatch(words, '%S+') do
    nth = nth + 1
    if word ~= '-' and names[nth] then task[names[nth]] = word end
  end
  if nth ~= #names then return nil end
  for i = 1, tonumber(task.listed) do
    local line_end = string.find(text, '\n', from, true)
    if not line_end then return nil end
    task.events[i] = string.sub(text, from, line_end - 1)
    from = line_end + 1
  end
  task.about = string.sub(text, from)
  return task
end

-- A task that has ended; nil when there is none.
local function read_ended(base, id)
  return ended_of(redis.pcall('GET', task_key(base, id)))
end
