-- cache_result: stores a result, and evicts others beyond the bound: of the tenant that has the most bytes, the one
-- that expires first.
--
-- KEYS  1 base
-- ARGV  1 tenant   2 key   3 TTL in ms   4 most bytes   5 bytes of an entry beyond its text   6 text
-- Returns  {stored}   {too_large}

local base, tenant, name = KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[1]
local at, most, bytes = now_ms(), tonumber(ARGV[4]), #ARGV[6] + ARGV[5]
if bytes > most then return { 'too_large' } end

drop_expired(base, at, 100)
if redis.call('HGET', base .. 'results:sizes', name) then drop_result(base, name) end
while results_total(base) + bytes > most do
  local largest = redis.call('ZRANGE', base .. 'results:held', 0, 0, 'REV')[1]
  local first = largest and redis.call('ZRANGE', base .. 'results:of:' .. largest, 0, 0)[1]
  if not first then
    -- Redis has lost some of the keys: counts anew.
    redis.call('DEL', base .. 'results:sizes', base .. 'results:held')
    break
  end
  drop_result(base, first)
end

redis.call('SET', base .. 'result:' .. name, ARGV[6], 'PX', ARGV[3])
redis.call('ZADD', base .. 'results:expiring', int(at + ARGV[3]), name)
redis.call('ZADD', base .. 'results:of:' .. tenant, int(at + ARGV[3]), name)
redis.call('HSET', base .. 'results:sizes', name, int(bytes))
count_result(base, tenant, bytes)
return { 'stored' }
