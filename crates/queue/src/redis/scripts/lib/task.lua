-- Reading and writing a task, and what a script collects of it until `save` (lib/save.lua) writes it, for
-- all of the script's tasks at once.

-- Tasks that watchers are to hear of, leases that end, and leases that begin: instant, id, one after the
-- other.
local woken, freed, leased = {}, {}, {}

-- Tasks whose log lines are owed: the instant from which anybody may write it, id, one after the other; and
-- the texts of those that are gone too soon: id, text.
local owed, owed_texts = {}, {}

-- Tenants of tasks that end, by the key where that is kept: id, tenant, one after the other, and `ttl` in s.
local forgotten = {}

local function events_key(base, id) return base .. 'events:' .. id end
local function stream_key(base, lane, model) return base .. 'queue:' .. lane .. ':' .. model end

-- Tells watchers that something happened to the task.
local function wake(id)
  woken[#woken + 1] = id
end

-- Queues by name: the tasks of one tenant in one lane of a model.
local queues = {}

-- The queue of that name, `lane:tenant:model`. Lanes and tenants have no colon in their names.
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

-- What an `about` says: mostly all tasks of a call have the same.
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

-- All that the steps below need to know of a task, and the named fields, by name. Of one that has ended there
-- is what lib/ended.lua names; of a foreign value there is nothing.
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
