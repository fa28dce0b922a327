-- expired: whose task it was that ended and whose outcome has expired.
--
-- KEYS  1 base
-- ARGV  1 id
-- Returns  {tenant}   {}   it is still there, or was never, or is forgotten

local base, id = KEYS[1], ARGV[1]

local tenant = redis.call('HGET', gone_key(base, id), id)
if not tenant or redis.call('EXISTS', task_key(base, id)) == 1 then
  return {}
end
return { tenant }
