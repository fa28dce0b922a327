-- save_batch: stores the record of a batch, unless another one was stored since the caller read it.
--
-- KEYS  1 base
-- ARGV  1 tenant   2 id   3 rev that the caller read, or 0 for a new batch   4 record
--       5 ms for which it is kept if it has ended, else 0
-- Returns  {saved}   {changed}

local base, tenant, id, kept, at = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[5]), now_ms()
local key = batch_key(base, id)
if (redis.call('HGET', key, 'rev') or '0') ~= ARGV[3] then return { 'changed' } end

redis.call('HSET', key, 'tenant', tenant, 'record', ARGV[4], 'rev', int(ARGV[3] + 1))
if ARGV[3] == '0' then
  redis.call('ZADD', base .. 'batches:of:' .. tenant, 0, id)
  redis.call('ZADD', base .. 'batches:due', int(at), id)
end
if kept > 0 then
  redis.call('ZREM', base .. 'batches:due', id)
  redis.call('ZADD', base .. 'batches:ended', int(at + kept), id .. ' ' .. tenant)
  redis.call('EXPIRE', key, math.ceil(kept / 1000))
end
return { 'saved' }
