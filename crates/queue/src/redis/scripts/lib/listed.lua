-- Indexes of tasks, for operators' listings (tasks.lua). All members have score 0, so they sort by id, which is by time.
--   tasks:live:<model>       zset: tasks that wait in a lane or run. A claim changes nothing here: `leases` has those that run
--   tasks:delayed:<model>    zset: tasks that are not due, or in backoff
--   tasks:<state>:<model>    zset: the newest LISTED_ENDED ended tasks of a terminal state, some of which may have expired
-- A task is in exactly one of them, from the step on that submits it. Tasks of a build before these indexes are in none
-- until they are requeued or end.

-- Changes that `save` makes, by key: `added`, 0 and id, alternating; `removed` ids; `most`, the index's maximum size if it
-- has one.
local indexed = {}

local function index_key(base, name, model) return base .. 'tasks:' .. name .. ':' .. model end

-- Returns the changes of an index of a queue's model. A queue remembers them under the index's name.
local function changes_of(base, name, queue)
  local changes = queue[name]
  if changes then return changes end
  local key = index_key(base, name, queue.model)
  changes = indexed[key]
  if not changes then
    changes = { added = {}, removed = {}, most = name ~= 'live' and name ~= 'delayed' and LISTED_ENDED or nil }
    indexed[key] = changes
  end
  queue[name] = changes
  return changes
end

-- Adds a task of a queue to an index.
local function index(base, name, queue, id)
  local added = changes_of(base, name, queue).added
  added[#added + 1] = 0
  added[#added + 1] = id
end

-- Removes a task of a queue from an index, also if the same call added it before.
local function unindex(base, name, queue, id)
  local removed = changes_of(base, name, queue).removed
  removed[#removed + 1] = id
end

-- By pcall: a listing that can't be kept must not keep tasks from moving on. No call removes a task from an index and adds
-- it again, so additions come first.
local function save_indexes()
  for key, changes in pairs(indexed) do
    local added, removed, most = changes.added, changes.removed, changes.most
    if #added > 0 then
      redis.pcall('ZADD', key, unpack(added))
      local count = most and redis.pcall('ZCARD', key)
      if type(count) == 'number' and count > most then redis.pcall('ZPOPMIN', key, count - most) end
    end
    if #removed > 0 then redis.pcall('ZREM', key, unpack(removed)) end
  end
end
saved[#saved + 1] = save_indexes

