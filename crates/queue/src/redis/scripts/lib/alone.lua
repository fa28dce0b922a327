-- Runs a step for one of several tasks: what goes wrong with it (a foreign value under one of its keys)
-- is its own answer, and does not spoil the others'.
local function alone(step, ...)
  local done, answer, more = pcall(step, ...)
  if done then return answer, more end
  return 'error ' .. (type(answer) == 'table' and answer.err or tostring(answer))
end

