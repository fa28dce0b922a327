-- note_submitted: notes how many lines of a batch are submitted.
--
-- KEYS  1 base
-- ARGV  1 tenant   2 id   3 number of lines
-- Returns  {noted}

local key = batch_key(KEYS[1], ARGV[2])
if is_running(KEYS[1], ARGV[1], ARGV[2]) and tonumber(redis.call('HGET', key, 'submitted') or 0) < tonumber(ARGV[3]) then
  redis.call('HSET', key, 'submitted', ARGV[3])
end
return { 'noted' }
