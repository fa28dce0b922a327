-- forget_worker: a worker says goodbye. It is not listed from here on; what it left pending is
-- reclaimed by the reapers first, who then drop the rest of it.
--
-- KEYS  1 base   2 seen
-- ARGV  1 worker
-- Returns  {forgotten}

if redis.call('ZSCORE', KEYS[2], ARGV[1]) then
  redis.call('ZADD', KEYS[2], 0, ARGV[1])
  drop_worker(KEYS[1], ARGV[1])
end
return { 'forgotten' }
