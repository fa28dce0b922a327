-- store_chunk: stores a chunk of bytes. They are deleted after the TTL unless the upload is finished.
--
-- KEYS  1 base   2 chunks
-- ARGV  1 number of the chunk, from 0   2 TTL in s   3 bytes
-- Returns  {stored}   {missing} if earlier chunks were deleted

if ARGV[1] ~= '0' and redis.call('EXISTS', KEYS[2]) == 0 then return { 'missing' } end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[2])
return { 'stored' }
