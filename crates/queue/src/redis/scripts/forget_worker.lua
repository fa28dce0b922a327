-- forget_worker: deletes the report of a worker that stops. It is not listed any more; reapers reclaim its
-- running tasks.
--
-- KEYS  1 base   2 seen
-- ARGV  1 worker
-- Returns  {forgotten}

if redis.call('ZSCORE', KEYS[2], ARGV[1]) then
  drop_worker(KEYS[1], ARGV[1])
end
return { 'forgotten' }
