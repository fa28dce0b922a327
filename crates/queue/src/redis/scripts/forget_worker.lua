-- forget_worker: a worker says goodbye. It is not listed from here on; what it left running is
-- reclaimed by the reapers.
--
-- KEYS  1 base   2 seen
-- ARGV  1 worker
-- Returns  {forgotten}

if redis.call('ZSCORE', KEYS[2], ARGV[1]) then
  drop_worker(KEYS[1], ARGV[1])
end
return { 'forgotten' }
