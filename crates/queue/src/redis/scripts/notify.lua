-- notify: creates a delivery that belongs to no task and is due at once, unless there is one of that id.
--
-- KEYS  1 base   2 hooks   3 the delivery
-- ARGV  1 id   2 tenant   3 URL and body, as versioned JSON
-- Returns  {created}   {known}

if redis.call('EXISTS', KEYS[3]) == 1 then
  return { 'known' }
end
local at = int(now_ms())
redis.call('HSET', KEYS[3], 'hook', ARGV[3], 'tenant', ARGV[2], 'state', 'pending', 'number', 0,
  'outcome', '', 'submitted', at, 'started', '', 'finished', at)
redis.call('ZADD', KEYS[2], at, ARGV[1])
return { 'created' }
