-- find_key: returns a managed key.
--
-- KEYS  1 base
-- ARGV  1 id, or empty   2 hash of its text if the id is empty
-- Returns  {key, fields of KEY…}   {missing}

local base, id = KEYS[1], ARGV[1]
if id == '' then id = redis.call('HGET', base .. 'keys:hashes', ARGV[2]) end
local values = id and read_key(base, id)
return values and append({ 'key' }, values) or { 'missing' }
