-- reserve_blob: announces an upload, and reserves room for it.
--
-- KEYS  1 base
-- ARGV  1 place   2 tenant   3 bytes wanted at most   4 bytes wanted at least   5 bytes that the tenant may have
--       6 ms until it is abandoned
-- Returns  {granted, bytes}   {full, bytes held}

local base, place, tenant = KEYS[1], ARGV[1], ARGV[2]
local known = redis.call('HGET', base .. 'blobs:reserved', place)
if known then return { 'granted', string.match(known, '^%d+') } end

local held = tonumber(redis.call('HGET', base .. 'blobs:totals', tenant) or 0)
local free = ARGV[5] - held
if free < tonumber(ARGV[4]) then return { 'full', int(held) } end

local bytes = math.min(free, tonumber(ARGV[3]))
redis.call('HSET', base .. 'blobs:reserved', place, int(bytes) .. ' ' .. tenant)
redis.call('ZADD', base .. 'blobs:uploads', int(now_ms() + ARGV[6]), place)
if bytes > 0 then add_bytes(base, tenant, bytes) end
return { 'granted', int(bytes) }
