-- count_line: counts the end of a line, once.
--
-- KEYS  1 base
-- ARGV  1 tenant   2 id   3 line   4 completed or failed
-- Returns  {1 if it was not counted before, else 0}

local base, tenant, id, line = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
if not is_running(base, tenant, id) then return { '0' } end
local key, word = base .. 'batch:lines:' .. id, int(math.floor(line / 32))
local ended, one = tonumber(redis.call('HGET', key, word) or 0), bit.lshift(1, line % 32)
if bit.band(ended, one) ~= 0 then return { '0' } end
redis.call('HSET', key, word, int(bit.bor(ended, one)))
redis.call('HINCRBY', batch_key(base, id), ARGV[4], 1)
return { '1' }
