-- agree: how the queue is divided and laid out; the first who asks decides.
--
-- KEYS  1 base   2 partitions
-- ARGV  1 how many partitions the caller thinks there are   2 the layout of keys and records that it knows
-- Returns  {how many there are, which layout}; layout 0 is any from before it was remembered

local known = redis.call('GET', KEYS[2])
if not known then
  -- Perhaps after a FLUSHALL, with new tasks already there: those are of processes that agreed before.
  known = ARGV[1] .. ' ' .. ARGV[2]
  redis.call('SET', KEYS[2], known)
end
local partitions, layout = string.match(known, '^(%S+) ?(%S*)$')
return { partitions, layout ~= '' and layout or '0' }
