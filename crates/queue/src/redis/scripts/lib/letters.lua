-- Returns the time before which dead letters have expired.
local function letters_since(at)
  return at - DEAD_LETTER_TTL_S * 1000
end

-- Deletes a dead letter and its list entry; returns whether it existed.
local function drop_letter(base, id)
  redis.call('ZREM', base .. 'dead', id)
  return redis.call('DEL', base .. 'dead:' .. id) == 1
end

