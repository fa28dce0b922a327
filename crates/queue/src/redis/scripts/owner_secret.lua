-- owner_secret: returns an owner's secret, and stores it if there is none.
--
-- KEYS  1 base
-- ARGV  1 owner   2 fresh secret in hexadecimal
-- Returns  {secret}

redis.call('HSETNX', KEYS[1] .. 'keys:secrets', ARGV[1], ARGV[2])
return { redis.call('HGET', KEYS[1] .. 'keys:secrets', ARGV[1]) }
