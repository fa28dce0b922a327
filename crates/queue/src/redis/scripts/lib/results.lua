-- Results for later tasks. A name is `<key> <tenant>`.
--
--   result:<name>         text: the result, which Redis deletes when it expires
--   results:expiring      sorted set: names by the time of their expiry
--   results:of:<tenant>   sorted set: the tenant's names by the time of their expiry
--   results:sizes         hash: the bytes of each name, and `total`
--   results:held          sorted set: tenants by the bytes that they have

local function tenant_of(name) return string.match(name, '^%S+ (.*)$') end

-- Adds to the bytes of a tenant and of all.
local function count_result(base, tenant, bytes)
  redis.call('HINCRBY', base .. 'results:sizes', 'total', int(bytes))
  local held = (tonumber(redis.call('ZSCORE', base .. 'results:held', tenant)) or 0) + bytes
  if held > 0 then
    redis.call('ZADD', base .. 'results:held', int(held), tenant)
  else
    redis.call('ZREM', base .. 'results:held', tenant)
  end
end

local function drop_result(base, name)
  local bytes, tenant = tonumber(redis.call('HGET', base .. 'results:sizes', name)), tenant_of(name)
  redis.call('DEL', base .. 'result:' .. name)
  redis.call('ZREM', base .. 'results:expiring', name)
  redis.call('ZREM', base .. 'results:of:' .. tenant, name)
  if not bytes then return end
  redis.call('HDEL', base .. 'results:sizes', name)
  count_result(base, tenant, -bytes)
end

-- Drops up to `most` expired results.
local function drop_expired(base, at, most)
  local names = redis.call('ZRANGEBYSCORE', base .. 'results:expiring', '-inf', int(at), 'LIMIT', 0, most)
  for _, name in ipairs(names) do drop_result(base, name) end
end

local function results_total(base) return tonumber(redis.call('HGET', base .. 'results:sizes', 'total')) or 0 end
