-- replayed: replaces a dead letter, whose task was submitted again, by the new task's id, for the rest of
-- the letter's TTL.
--
-- KEYS  1 base   2 dead   3 the letter
-- ARGV  1 id   2 the new task's id
-- Returns  {replayed}   {missing}

local ttl = redis.call('TTL', KEYS[3])
if ttl <= 0 then
  return { 'missing' }
end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[3])
redis.call('HSET', KEYS[3], 'replayed', ARGV[2])
redis.call('EXPIRE', KEYS[3], ttl)
return { 'replayed' }
