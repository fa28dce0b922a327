-- agree: how many partitions the queue has; the first who asks decides.
--
-- KEYS  1 base   2 partitions   3 totals
-- ARGV  1 how many the caller thinks there are
-- Returns  {how many there are}

local known = redis.call('GET', KEYS[2])
if not known then
  -- A queue from before there was more than one partition has one.
  known = redis.call('EXISTS', KEYS[3]) == 1 and '1' or ARGV[1]
  redis.call('SET', KEYS[2], known)
end
return { known }
