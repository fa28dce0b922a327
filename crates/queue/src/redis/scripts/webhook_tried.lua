-- webhook_tried: records the result of a try. The result of the current try determines the next step;
-- repeating a recorded try changes nothing.
--
-- KEYS  1 base   2 hooks   3 the delivery
-- ARGV  1 id   2 number of the try   3 its result   4 delivered, given_up or pending (again)
--       5 pause in ms before the next
-- Returns  {noted}   {known}   {missing}

local kept = redis.call('HMGET', KEYS[3], 'state', 'number')
local number, current = tonumber(ARGV[2]), tonumber(kept[2] or '0')
if not kept[1] or number > current then
  return { 'missing' }
end
if number <= current - MAX_TRIES or redis.call('HSETNX', KEYS[3], 'try:' .. ARGV[2], ARGV[3]) == 0 then
  return { 'known' }
end
redis.call('HDEL', KEYS[3], 'try:' .. int(number - MAX_TRIES))
if number < current or kept[1] ~= 'pending' then
  return { 'noted' }
end
if ARGV[4] == 'pending' then
  redis.call('ZADD', KEYS[2], int(now_ms() + ARGV[5]), ARGV[1])
  return { 'noted' }
end
redis.call('HSET', KEYS[3], 'state', ARGV[4])
redis.call('HDEL', KEYS[3], 'outcome')
redis.call('EXPIRE', KEYS[3], WEBHOOK_REPORT_TTL_S)
redis.call('ZREM', KEYS[2], ARGV[1])
return { 'noted' }
