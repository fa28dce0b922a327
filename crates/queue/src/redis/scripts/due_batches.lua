-- due_batches: hands out batches that have not ended, and forgets ended ones that have expired.
--
-- KEYS  1 base
-- ARGV  1 ms for which they belong to the caller   2 maximum number
-- Returns  {(record, rev)…}

local base, at, reply = KEYS[1], now_ms(), {}
local function due(key)
  return redis.call('ZRANGEBYSCORE', base .. key, '-inf', int(at), 'LIMIT', 0, ARGV[2])
end

for _, member in ipairs(due('batches:ended')) do
  local id, tenant = string.match(member, '^(%S+) (.*)$')
  redis.call('ZREM', base .. 'batches:of:' .. tenant, id)
  redis.call('ZREM', base .. 'batches:ended', member)
  redis.call('DEL', batch_key(base, id))
end
for _, id in ipairs(due('batches:due')) do
  local batch = read_batch(base, redis.call('HGET', batch_key(base, id), 'tenant'), id)
  if batch then
    redis.call('ZADD', base .. 'batches:due', int(at + ARGV[1]), id)
    append(reply, batch)
  else
    redis.call('ZREM', base .. 'batches:due', id)
  end
end
return reply
