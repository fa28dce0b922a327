-- cancel: ends a queued task at once; requests cancellation of a running one.
--
-- KEYS  1 base
-- ARGV  1 id   2 outcome `cancelled`
-- Returns  {missing}   {cancelled}   {requested}   {ended, state}

local base, id = KEYS[1], ARGV[1]

local task = read_ending(base, id)
if not task.state then
  return { 'missing' }
elseif task.state == 'queued' then
  end_unattended(base, id, task, now_ms(), 'cancelled', ARGV[2])
  save(base)
  return { 'cancelled' }
elseif task.state == 'processing' then
  put(base, id, 'cancel', '1')
  wake(id)
  save(base)
  redis.pcall('PUBLISH', base .. 'cancel', id) -- a hint, as in lib/save.lua
  return { 'requested' }
end
return { 'ended', task.state }
