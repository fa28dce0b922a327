-- forget_usage: deletes the usage of the days before one.
--
-- KEYS  1 base
-- ARGV  1 day, as days since 1970
-- Returns  {forgotten}

local base = KEYS[1]

for _, day in ipairs(redis.call('SMEMBERS', base .. 'usage:days')) do
  if tonumber(day) < tonumber(ARGV[1]) then
    for _, owner in ipairs(redis.call('SMEMBERS', base .. 'usage:' .. day)) do
      redis.call('DEL', base .. 'usage:' .. day .. ':' .. owner)
    end
    redis.call('DEL', base .. 'usage:' .. day)
    redis.call('SREM', base .. 'usage:days', day)
  end
end
return { 'forgotten' }
