-- renew: extends a lease, and returns whether cancellation of the task was requested.
--
-- KEYS  1 base   2 leases
-- ARGV  1 id   2 fence   3 span in ms
-- Returns  {held, 1 if cancellation was requested, else 0}   {lost}

local base, id = KEYS[1], ARGV[1]

local values = redis.pcall('HMGET', task_key(base, id), 'state', 'fence', 'cancel')
if values.err or values[1] ~= 'processing' or values[2] ~= ARGV[2] then
  return { 'lost' }
end
redis.call('ZADD', KEYS[2], int(now_ms() + ARGV[3]), id)
return { 'held', values[3] or '0' }
