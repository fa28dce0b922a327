-- add_key: stores a new managed key.
--
-- KEYS  1 base
-- ARGV  1 id   2 hash of its text   3 owner   4 record
-- Returns  {key, fields of KEY…}, of the stored key if there is one of this id   {taken} if another key has the hash

local base, id, hash, owner = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local known = read_key(base, id)
if known then return append({ 'key' }, known) end
if redis.call('HGET', base .. 'keys:hashes', hash) then return { 'taken' } end

redis.call('HSET', key_of(base, id), 'hash', hash, 'record', ARGV[4], 'owner', owner, 'revision', 1,
  'created', int(now_ms()))
redis.call('HSET', base .. 'keys:hashes', hash, id)
redis.call('ZADD', base .. 'keys:all', 0, id)
redis.call('ZADD', base .. 'keys:of:' .. owner, 0, id)
count_change(base)
return append({ 'key' }, read_key(base, id))
