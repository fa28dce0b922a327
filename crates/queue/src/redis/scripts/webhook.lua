-- webhook: returns the state and the tries of a task's webhook.
--
-- KEYS  1 base   2 hooks   3 the delivery   4 the task
-- ARGV  1 id
-- Returns  {state, tenant, hook, ms of the next try or empty, tries…}   {none}

local kept = redis.call('HMGET', KEYS[3], 'state', 'tenant', 'hook')
if kept[1] then
  local reply = { kept[1], kept[2], kept[3], redis.call('ZSCORE', KEYS[2], ARGV[1]) or '' }
  local fields = redis.call('HGETALL', KEYS[3])
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 4) == 'try:' then reply[#reply + 1] = fields[i + 1] end
  end
  return reply
end
local task = redis.pcall('HMGET', KEYS[4], 'state', 'about', 'hook')
if not task.err and task[3] and (task[1] == 'queued' or task[1] == 'processing') then
  return { 'waiting', read_placed(KEYS[1], ARGV[1]).queue.tenant, task[3], '' }
end
return { 'none' }
