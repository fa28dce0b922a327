-- cancel_queued: ends those of some tasks that are queued.
--
-- KEYS  1 base
-- ARGV  1 outcome `cancelled`   2… ids
-- Returns  {ids of the cancelled tasks…}

local base, at, cancelled = KEYS[1], now_ms(), {}

local function cancel(id)
  local task = read_ending(base, id)
  if task.state ~= 'queued' then return end
  end_unattended(base, id, task, at, 'cancelled', ARGV[1])
  cancelled[#cancelled + 1] = id
end

-- An error about one task leaves this one as it is.
for i = 2, #ARGV do isolate(cancel, ARGV[i]) end
save(base)
return cancelled
