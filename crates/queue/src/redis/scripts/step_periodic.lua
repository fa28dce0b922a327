-- step_periodic: stores the state of a periodic task, unless it has changed since the caller read it.
--
-- KEYS  1 base
-- ARGV  1 field   2 revision that the caller read, 0 if there was no state   3 record
-- Returns  {stepped}   {changed}

local key = KEYS[1] .. 'periodic'
local state = redis.call('HGET', key, ARGV[1])
if revision_of(state) ~= ARGV[2] then return { 'changed' } end
local task = state and string.match(state, '^%d+ (%S+) ') or '-'
redis.call('HSET', key, ARGV[1], periodic(ARGV[2], task, ARGV[3]))
return { 'stepped' }
