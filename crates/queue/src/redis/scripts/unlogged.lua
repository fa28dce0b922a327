-- unlogged: hands out tasks that ended without a worker to log them; they are the caller's for a span.
--
-- KEYS  1 base   2 unlogged
-- ARGV  1 span in ms   2 most tasks
-- Returns  {the fields of SNAPSHOT in lib/snapshot.lua, of each task…}

local base, at, reply = KEYS[1], now_ms(), {}

for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', int(at), 'LIMIT', 0, ARGV[2])) do
  local values = redis.call('HMGET', task_key(base, id), unpack(SNAPSHOT))
  if values[2] then
    redis.call('ZADD', KEYS[2], int(at + ARGV[1]), id)
    for i = 1, #SNAPSHOT do reply[#reply + 1] = values[i] or '' end
  else
    redis.call('ZREM', KEYS[2], id) -- its outcome has expired
  end
end
return reply
