-- What the scripts share; scripts.rs puts it before each of them.
--
-- KEYS[1] is always the partition's base, `qq:{0}:`. Keys that a script can only know after reading
-- (the hash of the task that a stream entry names, the stream that a task came from) are derived
-- from it here, so they carry the same hash tag and lie in the same slot. keys.rs builds the same
-- names for the Rust side.
--
-- A task is a hash:
--   record                         the immutable Task, as versioned JSON
--   model lane max ttl             what scripts need of it: TTL in seconds, max = max_attempts
--   state attempt worker           where it is; worker = holder of the latest delivery
--   fence                          `worker:attempt` of the current lease; empty while queued. It stays
--                                  after a finish, to know the finisher that repeats itself.
--   returned                       the fence that released it last, to know a repeated release
--   failed cancel                  attempts that count as failed; 1 when a cancel was asked for
--   submitted depth started finished   instants in ms; depth is what the submit answered
--   entry                          its entry in the queue's stream; empty while it is in none
--   seq                            the number of its latest event
--   outcome                        once ended, as versioned JSON

local GROUP = 'workers'

-- Milliseconds on Redis' clock.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A number as decimal digits, whatever its size.
local function int(number)
  return string.format('%.0f', number)
end

local function task_key(base, id) return base .. 'task:' .. id end
local function events_key(base, id) return base .. 'events:' .. id end
local function stats_key(base, model) return base .. 'stats:' .. model end
local function queue_key(base, lane, model) return base .. 'queue:' .. lane .. ':' .. model end

-- Appends an event under the next number.
local function emit(base, id, at, body)
  local seq = redis.call('HINCRBY', task_key(base, id), 'seq', 1)
  redis.call('XADD', events_key(base, id), int(seq) .. '-0', 'at', int(at), 'body', body)
end

-- Tells watchers that something happened to the task.
local function wake(base, id)
  redis.call('PUBLISH', base .. 'changed', id)
end

-- The named fields of a task's hash, by name; nil for what it lacks.
local function read(base, id, ...)
  local names = { ... }
  local values = redis.call('HMGET', task_key(base, id), unpack(names))
  local task = {}
  for i, name in ipairs(names) do
    task[name] = values[i] or nil
  end
  return task
end

-- Takes the task's entry out of its queue, acknowledged or not, and frees its memory.
local function drop_entry(base, task)
  if task.entry and task.entry ~= '' then
    local stream = queue_key(base, task.lane, task.model)
    -- The group is missing when nothing was ever claimed from this stream.
    redis.pcall('XACK', stream, GROUP, task.entry)
    redis.call('XDEL', stream, task.entry)
  end
end

-- Ends a task: entry and lease go, outcome and event are written, the TTL starts.
-- `task` holds entry, lane, model, state, ttl.
local function end_task(base, id, task, at, state, outcome, event)
  drop_entry(base, task)
  redis.call('ZREM', base .. 'leases', id)
  redis.call('HSET', task_key(base, id), 'state', state, 'outcome', outcome, 'finished', int(at),
    'entry', '')
  redis.call('HINCRBY', stats_key(base, task.model), task.state, -1)
  emit(base, id, at, event)
  redis.call('EXPIRE', task_key(base, id), task.ttl)
  redis.call('EXPIRE', events_key(base, id), task.ttl)
  wake(base, id)
end

-- Puts a processing task back at the end of its queue. `task` holds entry, lane, model.
local function requeue(base, id, task, at, event)
  drop_entry(base, task)
  redis.call('ZREM', base .. 'leases', id)
  local entry = redis.call('XADD', queue_key(base, task.lane, task.model), '*', 'id', id)
  redis.call('HSET', task_key(base, id), 'state', 'queued', 'entry', entry, 'fence', '')
  redis.call('HDEL', task_key(base, id), 'started')
  local stats = stats_key(base, task.model)
  redis.call('HINCRBY', stats, 'processing', -1)
  redis.call('HINCRBY', stats, 'queued', 1)
  emit(base, id, at, event)
  wake(base, id)
end

-- Deletes a worker that is gone, with its consumers. A consumer that still has entries pending is
-- left alone, since deleting it would delete them: the worker is dropped after they were requeued.
local function drop_worker(base, id)
  local report = redis.call('HGET', base .. 'workers', id)
  local known, parsed = pcall(cjson.decode, report or '')
  if known and type(parsed) == 'table' and type(parsed.model) == 'string' then
    local streams = {}
    for _, lane in ipairs({ 'high', 'normal', 'low', 'batch' }) do
      local stream = queue_key(base, lane, parsed.model)
      local pending = redis.pcall('XPENDING', stream, GROUP, '-', '+', 1, id)
      if not pending.err then
        if #pending > 0 then return false end
        streams[#streams + 1] = stream
      end
    end
    for _, stream in ipairs(streams) do
      redis.call('XGROUP', 'DELCONSUMER', stream, GROUP, id)
    end
  end
  redis.call('HDEL', base .. 'workers', id)
  redis.call('ZREM', base .. 'seen', id)
  return true
end
