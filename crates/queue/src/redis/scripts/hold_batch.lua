-- hold_batch: extends or ends a processor's span of a batch.
--
-- KEYS  1 base
-- ARGV  1 tenant   2 id   3 ms
-- Returns  {held}

if is_running(KEYS[1], ARGV[1], ARGV[2]) then
  redis.call('ZADD', KEYS[1] .. 'batches:due', int(now_ms() + ARGV[3]), ARGV[2])
end
return { 'held' }
