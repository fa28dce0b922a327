-- dead_letters: returns dead letters, newest first.
--
-- KEYS  1 base   2 dead
-- ARGV  1 only those that died before this many ms, or +inf   2 only of this model, or empty
--       3 maximum number of letters
-- Returns  {(record, outcome, failures, submitted ms, died ms)…}

local base, most, reply, found = KEYS[1], tonumber(ARGV[3]), {}, 0
local before, since = ARGV[1], '(' .. int(letters_since(now_ms()))
if before ~= '+inf' then before = '(' .. before end

local offset, ids = 0, nil
repeat
  ids = redis.call('ZRANGE', KEYS[2], before, since, 'BYSCORE', 'REV', 'LIMIT', offset, 100)
  offset = offset + #ids
  for _, id in ipairs(ids) do
    if found == most then return reply end
    local letter = base .. 'dead:' .. id
    local model = redis.call('HGET', letter, 'model')
    if model and (ARGV[2] == '' or model == ARGV[2]) then
      append(reply, redis.call('HMGET', letter, 'record', 'outcome', 'failures', 'submitted', 'died'))
      found = found + 1
    end
  end
until #ids == 0
return reply
