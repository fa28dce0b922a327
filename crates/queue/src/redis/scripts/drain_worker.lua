-- drain_worker: stores the order that a worker drain.
--
-- KEYS  1 base   2 seen   3 draining
-- ARGV  1 worker
-- Returns  {ordered}   {unknown}

local until_ms = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not until_ms or tonumber(until_ms) <= now_ms() then
  return { 'unknown' }
end
redis.call('SADD', KEYS[3], ARGV[1])
return { 'ordered' }
