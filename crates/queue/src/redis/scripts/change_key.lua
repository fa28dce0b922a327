-- change_key: replaces the record of a managed key, and its text if there is a hash.
--
-- KEYS  1 base
-- ARGV  1 id   2 revision that the caller read   3 record   4 hash of the new text, or empty
-- Returns  {key, fields of KEY…}   {changed} if the revision is another, or there is no such key
--          {taken} if another key has the hash

local base, id = KEYS[1], ARGV[1]
local stored = redis.call('HMGET', key_of(base, id), 'revision', 'record', 'hash')
local hash = ARGV[4] == '' and stored[3] or ARGV[4]
local revision = int(ARGV[2] + 1)
-- The reply to the same call may have been lost.
if stored[1] == revision and stored[2] == ARGV[3] and stored[3] == hash then
  return append({ 'key' }, read_key(base, id))
end
if stored[1] ~= ARGV[2] then return { 'changed' } end
if hash ~= stored[3] and redis.call('HGET', base .. 'keys:hashes', hash) then return { 'taken' } end

if hash ~= stored[3] then
  redis.call('HDEL', base .. 'keys:hashes', stored[3])
  redis.call('HSET', base .. 'keys:hashes', hash, id)
end
redis.call('HSET', key_of(base, id), 'revision', revision, 'record', ARGV[3], 'hash', hash)
count_change(base)
return append({ 'key' }, read_key(base, id))
