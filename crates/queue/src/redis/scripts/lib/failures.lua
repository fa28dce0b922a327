-- Returns a task's failures plus that of its current attempt. `task` has failures, attempt and worker;
-- `error` is a TaskError as JSON.
local function with_failure(task, at, error)
  local lines = task.failures or ''
  local _, kept = string.gsub(lines, '\n', '')
  if kept >= MAX_FAILURES then
    lines = string.sub(lines, string.find(lines, '\n', 1, true) + 1)
  end
  return lines .. string.format('{"v":%d,"attempt":%s,"worker":"%s","at":%s,"error":%s}\n',
    VERSION, task.attempt, task.worker, int(at), error)
end

