-- estimate: where a queued task stands.
--
-- KEYS  1 base
-- ARGV  1 id
-- Returns  {queued, standing…}   {none}

local base, id = KEYS[1], ARGV[1]

local task = read_placed(base, id, 'ticket', 'run_at')
if task.state ~= 'queued' then
  return { 'none' }
end
return { 'queued', unpack(standing(base, id, task, now_ms())) }
