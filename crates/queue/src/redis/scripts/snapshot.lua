-- snapshot: returns a task's snapshot, with its standing while it is queued.
--
-- KEYS  1 base
-- ARGV  1 id
-- Returns  {task, the fields of SNAPSHOT in lib/snapshot.lua…, standing while queued}   {none}

local base, id = KEYS[1], ARGV[1]
local key = task_key(base, id)

local kind = redis.call('TYPE', key).ok
if kind == 'none' then
  return { 'none' }
elseif kind == 'string' then
  local ended = read_ended(base, id)
  if ended then return append_snapshot({ 'task' }, ended) end
end
local values, task = redis.call('HMGET', key, unpack(SNAPSHOT)), {}
for i, name in ipairs(SNAPSHOT) do task[name] = values[i] or nil end
if not task.state then
  return { 'none' }
end
local reply = append_snapshot({ 'task' }, task)
if task.state == 'queued' then
  local placed = read_placed(base, id, 'run_at')
  reply[#reply + 1] = standing(id, placed, now_ms(), counters(base, placed.queue.model))
end
return reply
