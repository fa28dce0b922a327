-- list_keys: lists managed keys, the oldest first.
--
-- KEYS  1 base
-- ARGV  1 the index: `all`, or `of:<owner>`   2 only behind this id, or empty   3 maximum number of keys
-- Returns  {(fields of KEY…)…}

local base, reply = KEYS[1], {}
local from = ARGV[2] == '' and '-' or '(' .. ARGV[2]
for _, id in ipairs(redis.call('ZRANGE', base .. 'keys:' .. ARGV[1], from, '+', 'BYLEX', 'LIMIT', 0, ARGV[3])) do
  append(reply, read_key(base, id) or {})
end
return reply
