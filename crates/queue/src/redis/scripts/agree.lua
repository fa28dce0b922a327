-- agree: how the queue is divided and laid out; the first who asks decides.
--
-- KEYS  1 base   2 partitions   3 totals
-- ARGV  1 how many partitions the caller thinks there are   2 the layout of keys and records that it knows
-- Returns  {how many there are, which layout}; layout 0 is any from before it was remembered

local known = redis.call('GET', KEYS[2])
if not known then
  if redis.call('EXISTS', KEYS[3]) == 1 then return { '1', '0' } end -- tasks are queued: an earlier build's
  known = ARGV[1] .. ' ' .. ARGV[2]
  redis.call('SET', KEYS[2], known)
end
local partitions, layout = string.match(known, '^(%S+) ?(%S*)$')
return { partitions, layout ~= '' and layout or '0' }
