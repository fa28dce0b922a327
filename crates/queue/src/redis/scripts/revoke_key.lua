-- revoke_key: deletes a managed key.
--
-- KEYS  1 base
-- ARGV  1 id
-- Returns  {key, fields of KEY…} as it was   {missing}

local base, id = KEYS[1], ARGV[1]
local values = read_key(base, id)
if not values then return { 'missing' } end
redis.call('HDEL', base .. 'keys:hashes', redis.call('HGET', key_of(base, id), 'hash'))
redis.call('DEL', key_of(base, id))
redis.call('ZREM', base .. 'keys:all', id)
redis.call('ZREM', base .. 'keys:of:' .. values[2], id)
count_change(base)
return append({ 'key' }, values)
