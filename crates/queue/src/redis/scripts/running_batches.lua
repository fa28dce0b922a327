-- running_batches: returns batches that have not ended, without taking them.
--
-- KEYS  1 base
-- ARGV  1 maximum number
-- Returns  {number of all, (record, rev)…}

local base = KEYS[1]
local reply = { int(redis.call('ZCARD', base .. 'batches:due')) }
for _, id in ipairs(redis.call('ZRANGEBYSCORE', base .. 'batches:due', '-inf', '+inf', 'LIMIT', 0, ARGV[1])) do
  append(reply, read_batch(base, redis.call('HGET', batch_key(base, id), 'tenant'), id) or {})
end
return reply
