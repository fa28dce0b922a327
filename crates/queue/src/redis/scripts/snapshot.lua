-- snapshot: what is known of a task, and where it stands while it is queued.
--
-- KEYS  1 base
-- ARGV  1 id
-- Returns  {task, the fields of SNAPSHOT in lib/snapshot.lua…, standing while queued}   {none}

local base, id = KEYS[1], ARGV[1]

local values = redis.call('HMGET', task_key(base, id), unpack(SNAPSHOT))
if not values[2] then
  return { 'none' }
end
local reply = { 'task' }
for i = 1, #SNAPSHOT do reply[#reply + 1] = values[i] or '' end
if values[2] == 'queued' then
  local task = read_placed(base, id, 'run_at')
  reply[#reply + 1] = standing(id, task, now_ms(), counters(base, task.queue.model))
end
return reply
