-- accepted: returns the reply of a repeated submit of a task.
--
-- KEYS  1 base
-- ARGV  1 id
-- Returns  {accepted, id, 0, state, submitted ms, depth, standing…, as one text}   {}   no such task

local base, id = KEYS[1], ARGV[1]

if redis.call('EXISTS', task_key(base, id)) == 0 then
  return {}
end
return { accepted_before(base, id, now_ms()) }
