-- purge: deletes dead letters.
--
-- KEYS  1 base   2 dead
-- ARGV  1 one, model or all   2 the id, the model, or empty
-- Returns  {number deleted}

local base, gone = KEYS[1], 0

local ids = ARGV[1] == 'one' and { ARGV[2] } or redis.call('ZRANGE', KEYS[2], 0, -1)
for _, id in ipairs(ids) do
  local model = redis.call('HGET', base .. 'dead:' .. id, 'model')
  -- The id that a replay leaves in a letter's place is not a letter.
  if model and (ARGV[1] ~= 'model' or model == ARGV[2]) and drop_letter(base, id) then
    gone = gone + 1
  end
end
return { int(gone) }
