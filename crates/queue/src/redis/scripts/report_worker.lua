-- report_worker: stores a worker's report until its TTL, and returns operators' orders for it.
--
-- KEYS  1 base   2 workers   3 seen   4 draining   5 heard
-- ARGV  1 worker   2 report   3 TTL in ms
-- Returns  {stored, 1 if it must drain, else 0}

local at = now_ms()
local before = redis.call('ZSCORE', KEYS[3], ARGV[1])
if not before or tonumber(before) <= at then
  redis.call('SREM', KEYS[4], ARGV[1]) -- it was forgotten since it was asked to
end
count_capacity(KEYS[1], redis.call('HGET', KEYS[2], ARGV[1]), -1)
count_capacity(KEYS[1], ARGV[2], 1)
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[3], int(at + ARGV[3]), ARGV[1])
redis.call('HSET', KEYS[5], ARGV[1], int(at))
return { 'stored', int(redis.call('SISMEMBER', KEYS[4], ARGV[1])) }
