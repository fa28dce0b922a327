-- Runs a step for one of several tasks. An error (a foreign value under one of the task's keys) becomes this
-- task's reply and does not affect the others.
local function isolate(step, ...)
  local done, answer, more = pcall(step, ...)
  if done then return answer, more end
  return 'error ' .. (type(answer) == 'table' and answer.err or tostring(answer))
end

