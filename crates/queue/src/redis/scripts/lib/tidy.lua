-- Removes tasks that no longer exist from the indexes (lib/listed.lua): ended ones that have expired, and those that a
-- build before the indexes ended. Looks at the oldest of each index, and at more while all of them are gone.
local function tidy(base)
  local some, rounds = 64, 16
  for _, model in ipairs(redis.call('SMEMBERS', base .. 'models')) do
    for _, name in ipairs({ 'live', 'delayed', 'completed', 'failed', 'cancelled' }) do
      local key = index_key(base, name, model)
      for _ = 1, rounds do
        local ids, keys, gone = redis.pcall('ZRANGE', key, 0, some - 1), {}, {}
        if ids.err or #ids == 0 then break end
        for i, id in ipairs(ids) do keys[i] = task_key(base, id) end
        if redis.call('EXISTS', unpack(keys)) == #ids then break end
        for i, id in ipairs(ids) do
          if redis.call('EXISTS', keys[i]) == 0 then gone[#gone + 1] = id end
        end
        redis.call('ZREM', key, unpack(gone))
        if #gone < some then break end
      end
    end
  end
end

