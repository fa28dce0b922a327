-- Removes tasks whose log lines are written from the journal.
local function note_logged(base, ids)
  if #ids == 0 then return end
  redis.call('ZREM', base .. 'unlogged', unpack(ids))
  redis.call('HDEL', base .. 'unlogged:texts', unpack(ids))
end
