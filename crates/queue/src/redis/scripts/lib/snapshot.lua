-- What makes a snapshot, in the order in which reply.rs reads it. Of a task that has ended there is no record.
local SNAPSHOT = { 'record', 'about', 'notes', 'state', 'attempt', 'worker', 'cancel', 'submitted', 'started',
  'finished', 'outcome', 'run_at', 'expires' }

-- Appends them to a list, of a task by its fields' names.
local function append_snapshot(list, task)
  for _, name in ipairs(SNAPSHOT) do list[#list + 1] = task[name] or '' end
  return list
end
