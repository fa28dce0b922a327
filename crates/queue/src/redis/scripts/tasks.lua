-- tasks: reads tasks from indexes, newest first.
--
-- KEYS  1 base   2 models   3 leases
-- ARGV  1 only those with ids below this one, or empty   2 maximum number of tasks to read   3 only of this model, or empty
--       4… names of indexes (lib/listed.lua), or `leases`
-- Returns  {now ms, id of the last task read if more follow, else empty,
--           (id, about, notes, state, attempt, worker, cancel, submitted, started, finished, run_at, outcome if it is
--            `failed`)…}

-- The bytes of outcomes after which a call reads no further, so that it takes no longer than others.
local MAX_BYTES = 2 * 1024 * 1024

local base, below, most = KEYS[1], ARGV[1], tonumber(ARGV[2])
local models = ARGV[3] == '' and redis.call('SMEMBERS', KEYS[2]) or { ARGV[3] }

-- Each source is a list of ids, newest first, of which a chunk at a time is read.
local sources = {}
for i = 4, #ARGV do
  if ARGV[i] == 'leases' then
    local ids = {}
    for _, id in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
      if below == '' or id < below then ids[#ids + 1] = id end
    end
    table.sort(ids, function(one, other) return one > other end)
    sources[#sources + 1] = { ids = ids, at = 1, is_whole = true }
  else
    local is_ended = ARGV[i] ~= 'live' and ARGV[i] ~= 'delayed'
    for _, model in ipairs(models) do
      sources[#sources + 1] = { key = index_key(base, ARGV[i], model), ids = {}, at = 1, last = below,
        is_ended = is_ended }
    end
  end
end
local chunk = #sources == 1 and math.min(most + 1, 256) or 16

-- Returns the next id of a source; nil if there is none.
local function head(source)
  local id = source.ids[source.at]
  if id or source.is_whole then return id end
  local from = source.last == '' and '+' or '(' .. source.last
  source.ids = redis.call('ZRANGE', source.key, from, '-', 'BYLEX', 'REV', 'LIMIT', 0, chunk)
  source.at, source.last, source.is_whole = 1, source.ids[#source.ids], #source.ids < chunk
  return source.ids[1]
end

-- Returns the source with the newest id, and the id.
local function newest()
  local best, found
  for _, source in ipairs(sources) do
    local id = head(source)
    if id and (not found or id > found) then best, found = source, id end
  end
  return best, found
end

-- Reads a task, which is likely to have ended or not. Nil if there is none, as it has expired.
local function read(id, is_ended)
  local task = is_ended and read_ended(base, id)
  if task then return task end
  local names = { 'about', 'notes', 'state', 'attempt', 'worker', 'cancel', 'submitted', 'started', 'run_at',
    'place' }
  local values = redis.pcall('HMGET', task_key(base, id), unpack(names))
  if values.err then return read_ended(base, id) end
  task = {}
  for i, name in ipairs(names) do task[name] = values[i] or nil end
  if task.state == 'queued' and task.place == 'delayed' then task.state = 'delayed' end
  return task.state and task
end

local reply, count, bytes, previous = { int(now_ms()), '' }, 0, 0, nil
while count < most and bytes < MAX_BYTES do
  local source, id = newest()
  if not source then return reply end
  source.at = source.at + 1
  if id ~= previous then -- a task that runs may be in two sources
    previous, count = id, count + 1
    local task = read(id, source.is_ended)
    if task then
      local outcome = task.outcome or ''
      bytes = bytes + #outcome
      for _, value in ipairs({ id, task.about or '', task.notes or '', task.state, task.attempt or '',
        task.worker or '', task.cancel or '', task.submitted or '', task.started or '', task.finished or '',
        task.run_at or '', task.state == 'failed' and outcome or '' }) do
        reply[#reply + 1] = value
      end
    end
  end
end
local _, more = newest()
if more then reply[2] = previous end
return reply
