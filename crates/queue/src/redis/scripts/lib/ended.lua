-- An ended task: a text under the key of its former hash, to save memory. Its lines:
--   state attempt worker submitted started finished run_at expires depth told dropped fence returned listed,
--     separated by spaces; `-` for an empty field
--   outcome, as versioned JSON
--   notes, or an empty line
--   the entries of the list of its events, `listed` lines
--   about
-- Fields that lib/base.lua does not describe: `finished`, the time of the end in ms, and `fence`, the
-- finisher's, to recognize a repeated finish; other ends have none.

-- Parses the text of an ended task, with `events`; returns nil if the text is invalid.
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

-- Reads an ended task; returns nil if there is none.
local function read_ended(base, id)
  return ended_of(redis.pcall('GET', task_key(base, id)))
end
