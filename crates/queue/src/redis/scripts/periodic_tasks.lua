-- periodic_tasks: returns the states of all periodic tasks of the partition.
--
-- KEYS  1 base
-- Returns  {now ms, (field, state)…}; see lib/periodic.lua

local reply = { int(now_ms()) }
for _, part in ipairs(redis.call('HGETALL', KEYS[1] .. 'periodic')) do reply[#reply + 1] = part end
return reply
