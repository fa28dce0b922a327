-- Reads and writes tasks, and collects a script's changes until `save` (lib/save.lua) writes them for all tasks
-- of the script at once.

-- Tasks whose watchers must be notified, leases that end, and leases that begin: instant, id, alternating.
local woken, freed, leased = {}, {}, {}

-- Tasks whose log lines are pending: the time from which any process may write the line, id, alternating; and
-- the texts of those whose outcome expires too soon: id, text.
local owed, owed_texts = {}, {}

-- Tenants of ending tasks, by the key under which they are stored: id, tenant, alternating, and `ttl` in s.
local forgotten = {}

-- Further steps of `save`.
local saved = {}

local function events_key(base, id) return base .. 'events:' .. id end
local function stream_key(base, lane, model) return base .. 'queue:' .. lane .. ':' .. model end

-- Notifies watchers that the task may have changed.
local function wake(id)
  woken[#woken + 1] = id
end

-- Queues by name: the tasks of one tenant in one lane of a model.
local queues = {}

-- Returns the queue named `lane:tenant:model`. Names of lanes and tenants contain no colon.
local function queue_of(base, name)
  local queue = queues[name]
  if not queue then
    local lane, tenant, model = string.match(name, '^([^:]*):([^:]*):(.*)$')
    queue = { name = name, lane = lane, tenant = tenant, model = model,
      stream = stream_key(base, lane, model), backlog = base .. 'backlog:' .. name }
    queues[name] = queue
  end
  return queue
end

-- Parsed `about` fields: usually all tasks of a call have the same.
local abouts = {}
local function about_of(base, text)
  local about = abouts[text]
  if not about then
    local ttl, max, name = string.match(text, '^(%d+):(%d+):(.*)$')
    about = { ttl = ttl, max = max, queue = queue_of(base, name), text = text }
    abouts[text] = about
  end
  return about
end

-- Reads the fields that the steps below need of a task, and the named fields, by name. An ended task has the
-- fields of lib/ended.lua; a foreign value has none.
local function read_placed(base, id, ...)
  local names = { ... }
  local values = redis.pcall('HMGET', task_key(base, id), 'state', 'about', 'place', 'attempt', ...)
  if values.err then return read_ended(base, id) or { attempt = '0', spot = 'none' } end
  local task = { state = values[1] or nil, attempt = values[4] or '0', spot = values[3] or 'none' }
  if values[2] then
    local about = about_of(base, values[2])
    task.ttl, task.max, task.queue, task.about = about.ttl, about.max, about.queue, about.text
  end
  if string.sub(task.spot, 1, 7) == 'stream ' then
    task.spot, task.entry, task.ticket = string.match(task.spot, '^(%S+) (%S+) (%S+)$')
  end
  for i = 1, #names do task[names[i]] = values[4 + i] or nil end
  return task
end

-- Sets fields of a task's hash.
local function put(base, id, ...)
  redis.call('HSET', task_key(base, id), ...)
end
