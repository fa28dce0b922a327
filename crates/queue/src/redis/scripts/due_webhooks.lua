-- due_webhooks: assigns due deliveries to the caller for a span.
--
-- KEYS  1 base   2 hooks
-- ARGV  1 span in ms   2 maximum number of deliveries
-- Returns  {(id, tenant, hook, number, outcome, submitted ms, started ms or empty, finished ms)…}

local base, at, reply = KEYS[1], now_ms(), {}

for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', int(at), 'LIMIT', 0, ARGV[2])) do
  local hook = base .. 'hook:' .. id
  local kept = redis.call('HMGET', hook, 'tenant', 'hook', 'outcome', 'submitted', 'started',
    'finished')
  if kept[1] then
    redis.call('ZADD', KEYS[2], int(at + ARGV[1]), id)
    local number = int(redis.call('HINCRBY', hook, 'number', 1))
    append(reply, { id, kept[1], kept[2], number, kept[3], kept[4], kept[5], kept[6] })
  else
    redis.call('ZREM', KEYS[2], id)
  end
end
return reply
