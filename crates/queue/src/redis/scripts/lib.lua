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
--   tenant size                    whose it is; bytes of the record
--   spot                           where it waits: stream, backlog or delayed; empty when nowhere
--   entry                          its entry in the queue's stream; empty while it is in none
--   ticket                         how many had entered that stream with it
--   run_at expires idem            not to be started before, to be started by, the key of its repetitions
--   seq                            the number of its latest event
--   outcome                        once ended, as versioned JSON

local GROUP = 'workers'

-- A tenant has at most this many tasks in a stream, but for those that come back to the queue; the
-- rest wait in its backlog. (fair.rs says the same to the embedded queue.)
local WINDOW = 16

-- What the steps below need to know of a task.
local PLACED = { 'state', 'model', 'lane', 'tenant', 'size', 'spot', 'entry', 'ttl', 'idem' }

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

-- The same with all that the steps below need.
local function read_placed(base, id, ...)
  local names = { ... }
  for _, name in ipairs(PLACED) do names[#names + 1] = name end
  return read(base, id, unpack(names))
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

-- What a tenant has in a lane of a model: a counter of its tasks in the stream, and its backlog.
-- Tenants have no colon in their names, so no two shares have one key.
local function share_key(base, task, kind)
  return base .. kind .. ':' .. task.lane .. ':' .. task.tenant .. ':' .. task.model
end

local function enter_stream(base, id, task)
  local entry = redis.call('XADD', queue_key(base, task.lane, task.model), '*', 'id', id)
  local ticket = redis.call('HINCRBY', stats_key(base, task.model), 'entered:' .. task.lane, 1)
  redis.call('INCR', share_key(base, task, 'share'))
  redis.call('HSET', task_key(base, id), 'spot', 'stream', 'entry', entry, 'ticket', int(ticket))
end

-- Puts a task at the end of its lane: in the stream, or in its tenant's backlog when the tenant has
-- its window full. A task that comes `back` goes into the stream in any case.
local function join(base, id, task, back)
  local stats = stats_key(base, task.model)
  redis.call('HINCRBY', stats, 'queued:' .. task.lane, 1)
  local inside = tonumber(redis.call('GET', share_key(base, task, 'share')) or '0')
  if inside == 0 then redis.call('HINCRBY', stats, 'tenants:' .. task.lane, 1) end
  if back or inside < WINDOW then
    enter_stream(base, id, task)
  else
    local place = redis.call('HINCRBY', stats, 'joined:' .. task.lane, 1)
    redis.call('ZADD', share_key(base, task, 'backlog'), int(place), id)
    redis.call('HSET', task_key(base, id), 'spot', 'backlog', 'entry', '')
  end
end

-- Takes a task from where it waits, and lets the next of its tenant's backlog into the stream. Its
-- entry, if any, stays.
local function leave(base, id, task)
  redis.call('HSET', task_key(base, id), 'spot', '')
  if task.spot == 'delayed' then
    redis.call('ZREM', base .. 'delayed', id)
    return
  elseif task.spot ~= 'stream' and task.spot ~= 'backlog' then
    return
  end
  local stats, share = stats_key(base, task.model), share_key(base, task, 'share')
  redis.call('HINCRBY', stats, 'queued:' .. task.lane, -1)
  if task.spot == 'backlog' then
    redis.call('ZREM', share_key(base, task, 'backlog'), id)
    return
  end
  redis.call('HINCRBY', stats, 'left:' .. task.lane, 1)
  local inside = redis.call('DECR', share)
  local next = inside < WINDOW and redis.call('ZPOPMIN', share_key(base, task, 'backlog'))
  if next and next[1] then
    enter_stream(base, next[1], task)
  elseif inside <= 0 then
    redis.call('DEL', share)
    redis.call('HINCRBY', stats, 'tenants:' .. task.lane, -1)
  end
end

-- Lets delayed tasks whose time has come into their lanes.
local function promote(base, at, most)
  local due = redis.call('ZRANGEBYSCORE', base .. 'delayed', '-inf', int(at), 'LIMIT', 0, most)
  for _, id in ipairs(due) do
    redis.call('ZREM', base .. 'delayed', id)
    local task = read_placed(base, id)
    if task.state == 'queued' and task.spot == 'delayed' then
      join(base, id, task, false)
    end
  end
end

-- Counts a task in (1) or out (-1) of what is queued: of its model, its tenant, and all bytes.
local function count_queued(base, task, by)
  redis.call('HINCRBY', stats_key(base, task.model), 'queued', by)
  redis.call('HINCRBY', base .. 'totals', 'bytes', by * task.size)
  local tenant = base .. 'tenant:' .. task.tenant
  if redis.call('INCRBY', tenant, by) <= 0 then redis.call('DEL', tenant) end
end

-- How a queued task stands, for `Standing` in estimate.rs. `task` is from read_placed, with ticket
-- and run_at.
local function standing(base, id, task, at)
  local lane = task.lane
  local stats = redis.call('HMGET', stats_key(base, task.model), 'entered:' .. lane, 'left:' .. lane,
    'tenants:' .. lane, 'queued:high', 'queued:normal', 'queued:low', 'queued:batch', 'processing',
    'capacity', 'service_ms', 'service_dev')
  for i = 1, #stats do stats[i] = stats[i] or '0' end
  local inside = stats[1] - stats[2]
  local rank = '0'
  if task.spot == 'stream' then
    inside = math.min(inside - 1, task.ticket - stats[2] - 1)
  elseif task.spot == 'backlog' then
    rank = int(redis.call('ZRANK', share_key(base, task, 'backlog'), id) or 0)
  else
    rank = int(redis.call('ZCARD', share_key(base, task, 'backlog')))
  end
  local delay = math.max(0, (tonumber(task.run_at) or 0) - at)
  return { lane, task.spot == 'stream' and '1' or '0', int(math.max(0, inside)), rank, int(delay),
    stats[3], stats[4], stats[5], stats[6], stats[7], stats[8], stats[9], stats[10], stats[11] }
end

-- Ends a task: entry and lease go, outcome and event are written, the TTL starts.
-- `task` is from read_placed.
local function end_task(base, id, task, at, state, outcome, event)
  drop_entry(base, task)
  redis.call('ZREM', base .. 'leases', id)
  redis.call('HSET', task_key(base, id), 'state', state, 'outcome', outcome, 'finished', int(at),
    'entry', '')
  if task.state == 'queued' then
    leave(base, id, task)
    count_queued(base, task, -1)
    redis.call('ZREM', base .. 'expiring', id)
  else
    redis.call('HINCRBY', stats_key(base, task.model), 'processing', -1)
  end
  if task.idem and string.sub(redis.call('GET', task.idem) or '', 1, #id) == id then
    redis.call('EXPIRE', task.idem, task.ttl)
  end
  emit(base, id, at, event)
  redis.call('EXPIRE', task_key(base, id), task.ttl)
  redis.call('EXPIRE', events_key(base, id), task.ttl)
  wake(base, id)
end

-- Puts a processing task back at the end of its queue. `task` is from read_placed.
local function requeue(base, id, task, at, event)
  drop_entry(base, task)
  redis.call('ZREM', base .. 'leases', id)
  redis.call('HSET', task_key(base, id), 'state', 'queued', 'fence', '')
  redis.call('HDEL', task_key(base, id), 'started')
  join(base, id, task, true)
  count_queued(base, task, 1)
  redis.call('HINCRBY', stats_key(base, task.model), 'processing', -1)
  emit(base, id, at, event)
  wake(base, id)
end

-- Counts the capacity of a worker that is ready in (1) or out (-1) of its model's.
local function count_capacity(base, report, by)
  local known, parsed = pcall(cjson.decode, report or '')
  if known and type(parsed) == 'table' and parsed.status == 'ready'
    and type(parsed.model) == 'string' and type(parsed.capacity) == 'number' then
    redis.call('HINCRBY', stats_key(base, parsed.model), 'capacity', int(by * parsed.capacity))
  end
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
        if #pending > 0 then
          -- It is gone all the same: of its report, only what finds its consumers stays.
          count_capacity(base, report, -1)
          redis.call('HSET', base .. 'workers', id, cjson.encode({ model = parsed.model }))
          return false
        end
        streams[#streams + 1] = stream
      end
    end
    for _, stream in ipairs(streams) do
      redis.call('XGROUP', 'DELCONSUMER', stream, GROUP, id)
    end
  end
  count_capacity(base, report, -1)
  redis.call('HDEL', base .. 'workers', id)
  redis.call('ZREM', base .. 'seen', id)
  return true
end
