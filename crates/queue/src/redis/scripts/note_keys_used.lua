-- note_keys_used: notes when managed keys were used. Skips unknown ones, and times before a noted one.
--
-- KEYS  1 base
-- ARGV  (id, ms)…
-- Returns  {noted}

for i = 1, #ARGV, 2 do
  local key = key_of(KEYS[1], ARGV[i])
  local stored = redis.call('HMGET', key, 'revision', 'used')
  if stored[1] and tonumber(stored[2] or 0) < tonumber(ARGV[i + 1]) then
    redis.call('HSET', key, 'used', ARGV[i + 1])
  end
end
return { 'noted' }
