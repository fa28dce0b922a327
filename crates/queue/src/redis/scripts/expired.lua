-- expired: returns the tenant of a task that ended and whose outcome has expired.
--
-- KEYS  1 base
-- ARGV  1 id
-- Returns  {tenant}   {}   the task still exists, never existed, or its tombstone has expired

local base, id = KEYS[1], ARGV[1]

local tenant = redis.call('HGET', gone_key(base, id), id)
if not tenant or redis.call('EXISTS', task_key(base, id)) == 1 then
  return {}
end
return { tenant }
