-- agree: fixes the queue's number of partitions and its layout; the first caller decides.
--
-- KEYS  1 base   2 partitions
-- ARGV  1 the caller's number of partitions   2 the layout of keys and records that it supports
-- Returns  {number of partitions, layout}; layout 0 is any from before it was stored

local known = redis.call('GET', KEYS[2])
if not known then
  -- Possibly after a FLUSHALL, with new tasks already stored: those are of processes that agreed before.
  known = ARGV[1] .. ' ' .. ARGV[2]
  redis.call('SET', KEYS[2], known)
end
local partitions, layout = string.match(known, '^(%S+) ?(%S*)$')
return { partitions, layout ~= '' and layout or '0' }
