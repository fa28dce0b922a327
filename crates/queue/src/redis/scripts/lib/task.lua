-- Reading and writing a task.

local GROUP = 'workers'

local function events_key(base, id) return base .. 'events:' .. id end
local function queue_key(base, lane, model) return base .. 'queue:' .. lane .. ':' .. model end

-- Tells watchers that something happened to the task.
local function wake(base, id)
  redis.call('PUBLISH', base .. 'changed', id)
end

-- Reads its `about` into a task.
local function read_about(task, about)
  task.ttl, task.max, task.size, task.depth, task.lane, task.tenant, task.model =
    string.match(about, '^(%d+):(%d+):(%d+):(%d+):([^:]*):([^:]*):(.*)$')
end

-- All that the steps below need to know of a task, and the named fields, by name.
local function read_placed(base, id, ...)
  local values = redis.call('HMGET', task_key(base, id), 'state', 'about', 'place', 'attempt', ...)
  local task = { state = values[1] or nil, attempt = values[4] or '0', spot = values[3] or 'none' }
  if values[2] then read_about(task, values[2]) end
  if string.sub(task.spot, 1, 7) == 'stream ' then
    task.spot, task.entry, task.ticket = string.match(task.spot, '^(%S+) (%S+) (%S+)$')
  end
  for i, name in ipairs({ ... }) do task[name] = values[4 + i] or nil end
  return task
end

-- Sets fields of a task's hash.
local function put(base, id, ...)
  redis.call('HSET', task_key(base, id), ...)
end

-- Takes the task's entry out of its queue, acknowledged or not, and frees its memory.
local function drop_entry(base, task)
  if task.entry then
    local stream = queue_key(base, task.lane, task.model)
    -- The group is missing when nothing was ever claimed from this stream.
    redis.pcall('XACK', stream, GROUP, task.entry)
    redis.call('XDEL', stream, task.entry)
  end
end

