-- The fields of a snapshot, in the order in which reply.rs reads them. An ended task has no record.
local SNAPSHOT = { 'record', 'about', 'notes', 'state', 'attempt', 'worker', 'cancel', 'submitted', 'started',
  'finished', 'outcome', 'run_at', 'expires' }

-- Appends the fields of a task to a list.
local function append_snapshot(list, task)
  for _, name in ipairs(SNAPSHOT) do list[#list + 1] = task[name] or '' end
  return list
end
