-- What the scripts share; scripts.rs puts it, and the constants in capitals, before each of them.
--
-- KEYS[1] is always the partition's base, `qq:{0}:`. Keys that a script can only know after reading
-- (the hash of the task that a stream entry names, the stream that a task came from) are derived
-- from it here, so they carry the same hash tag and lie in the same slot. keys.rs builds the same
-- names for the Rust side.
--
-- A task is a hash; a field that says nothing is missing or empty:
--   record                         the immutable Task, as versioned JSON
--   model lane max ttl             what scripts need of it: TTL in seconds, max = max_attempts
--   state attempt worker           where it is; worker = holder of the latest delivery
--   fence                          `worker:attempt` of the current lease; empty while queued. It stays
--                                  after a finish, to know the finisher that repeats itself.
--   returned                       the fence that released it last, to know a repeated release
--   failed cancel                  attempts that count as failed; 1 when a cancel was asked for
--   failures                       how they failed, one versioned JSON a line, the latest MAX_FAILURES
--   lost                           leases in a row that ran out
--   spent                          1 when its attempts are used up and a reaper holds it
--   told                           chunks of text that the current attempt has published
--   submitted depth started finished   instants in ms; depth is what the submit answered
--   tenant size                    whose it is; bytes of the record
--   spot                           where it waits: stream, backlog or delayed; empty when nowhere
--   entry                          its entry in the queue's stream; empty while it is in none
--   ticket                         how many had entered that stream with it
--   run_at expires idem            not to be started before, to be started by, the key of its repetitions
--   hook                           its webhook, as versioned JSON
--   dropped                        how many of its first events are gone
--   outcome                        once ended, as versioned JSON

local GROUP = 'workers'

-- A tenant has at most this many tasks in a stream, but for those that come back to the queue; the
-- rest wait in its backlog. (line.rs says the same to the embedded queue.)
local WINDOW = 16

-- What makes a snapshot, in the order in which reply.rs reads it.
local SNAPSHOT = { 'record', 'state', 'attempt', 'worker', 'cancel', 'submitted', 'started',
  'finished', 'outcome', 'run_at', 'expires' }

-- Milliseconds on Redis' clock.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A number as decimal digits, whatever its size.
local function int(number)
  number = number + 0
  if math.abs(number) < 2 ^ 53 then return string.format('%d', number) end -- four times as fast
  return string.format('%.0f', number)
end

local function task_key(base, id) return base .. 'task:' .. id end
local function events_key(base, id) return base .. 'events:' .. id end
local function stats_key(base, model) return base .. 'stats:' .. model end
local function queue_key(base, lane, model) return base .. 'queue:' .. lane .. ':' .. model end

-- Appends an event; answers how many the list has.
local function emit(base, id, at, body)
  return redis.call('RPUSH', events_key(base, id), int(at) .. ' ' .. body)
end

-- Drops the oldest of so many events beyond MAX_EVENTS, some hundred at a time.
local function trim_events(base, id, length)
  if length < MAX_EVENTS + 256 then return end
  redis.call('LTRIM', events_key(base, id), -MAX_EVENTS, -1)
  redis.call('HINCRBY', task_key(base, id), 'dropped', length - MAX_EVENTS)
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

-- The same with all that the steps below need to know of a task. Written out: every claim and finish
-- goes through it.
local function read_placed(base, id, ...)
  local values = redis.call('HMGET', task_key(base, id), 'state', 'model', 'lane', 'tenant', 'size',
    'spot', 'entry', 'ttl', 'idem', 'hook', 'attempt', ...)
  local task = { state = values[1] or nil, model = values[2] or nil, lane = values[3] or nil,
    tenant = values[4] or nil, size = values[5] or nil, spot = values[6] or nil,
    entry = values[7] or nil, ttl = values[8] or nil, idem = values[9] or nil,
    hook = values[10] or nil, attempt = values[11] or nil }
  for i, name in ipairs({ ... }) do task[name] = values[11 + i] or nil end
  return task
end

-- Sets fields of a task's hash.
local function put(base, id, ...)
  redis.call('HSET', task_key(base, id), ...)
end

-- Appends the fields of `more` to a list.
local function append(list, more)
  for _, item in ipairs(more) do list[#list + 1] = item end
  return list
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

-- The counters of a model that bounds and estimates need, by name, as texts.
local function counters(base, model, lane)
  local names = { 'queued:high', 'queued:normal', 'queued:low', 'queued:batch', 'delayed',
    'processing', 'capacity', 'service_ms', 'service_dev', 'paused',
    'entered:' .. lane, 'left:' .. lane, 'tenants:' .. lane, 'joined:' .. lane }
  local values = redis.call('HMGET', stats_key(base, model), unpack(names))
  local counted = { changes = {} }
  for i, name in ipairs(names) do
    counted[name] = values[i] or '0'
  end
  counted.total = 0
  for i = 1, 5 do counted.total = counted.total + (values[i] or 0) end
  -- A model that was never submitted to: each submit touches one of these.
  counted.new = not (values[1] or values[2] or values[3] or values[4] or values[5])
  return counted
end

-- Counts in a model's stats; what `counted` has, in that alone, for `save_counters`.
local function count(base, task, name, by, counted)
  if not (counted and counted[name]) then
    return redis.call('HINCRBY', stats_key(base, task.model), name, by)
  end
  local value = counted[name] + by
  counted[name], counted.changes[name] = value, value
  return value
end

-- Writes what was counted, all at once.
local function save_counters(base, model, counted)
  local fields = {}
  for name, value in pairs(counted.changes) do
    fields[#fields + 1] = name
    fields[#fields + 1] = int(value)
  end
  if #fields > 0 then redis.call('HSET', stats_key(base, model), unpack(fields)) end
end

-- What a tenant has in a lane of a model: a counter of its tasks in the stream, and its backlog.
-- Tenants have no colon in their names, so no two shares have one key.
local function share_key(base, task, kind)
  return base .. kind .. ':' .. task.lane .. ':' .. task.tenant .. ':' .. task.model
end

-- The steps that put a task somewhere answer the fields that say where, for its hash.

-- At the end of its lane's stream.
local function enter_stream(base, id, task, counted)
  local entry = redis.call('XADD', queue_key(base, task.lane, task.model), '*', 'id', id)
  local ticket = count(base, task, 'entered:' .. task.lane, 1, counted)
  return { 'spot', 'stream', 'entry', entry, 'ticket', int(ticket) }
end

-- At the end of its lane: in the stream, or in its tenant's backlog when the tenant has its window
-- full. A task that comes `back` goes into the stream in any case.
local function join(base, id, task, back, counted)
  local share = share_key(base, task, 'share')
  count(base, task, 'queued:' .. task.lane, 1, counted)
  local inside = tonumber(redis.call('GET', share) or '0')
  if back or inside < WINDOW then
    if inside == 0 then count(base, task, 'tenants:' .. task.lane, 1, counted) end
    redis.call('INCR', share)
    return enter_stream(base, id, task, counted)
  end
  local place = count(base, task, 'joined:' .. task.lane, 1, counted)
  redis.call('ZADD', share_key(base, task, 'backlog'), int(place), id)
  return { 'spot', 'backlog', 'entry', '' }
end

-- Aside, until its time has come.
local function delay(base, id, task, run_at, counted)
  redis.call('ZADD', base .. 'delayed', int(run_at), id)
  count(base, task, 'delayed', 1, counted)
  return { 'spot', 'delayed', 'entry', '', 'run_at', int(run_at) }
end

-- Takes a task from where it waits, and lets the next of its tenant's backlog into the stream. Its
-- entry, if any, stays, and its `spot` is the caller's to empty.
local function leave(base, id, task, counted)
  if task.spot == 'delayed' then
    redis.call('ZREM', base .. 'delayed', id)
    count(base, task, 'delayed', -1)
    return
  elseif task.spot ~= 'stream' and task.spot ~= 'backlog' then
    return
  end
  count(base, task, 'queued:' .. task.lane, -1, counted)
  if task.spot == 'backlog' then
    redis.call('ZREM', share_key(base, task, 'backlog'), id)
    return
  end
  count(base, task, 'left:' .. task.lane, 1, counted)
  local share = share_key(base, task, 'share')
  local inside = tonumber(redis.call('GET', share) or '0')
  local next = inside <= WINDOW and redis.call('ZPOPMIN', share_key(base, task, 'backlog'))
  if next and next[1] then -- it takes the place of the one that leaves
    put(base, next[1], unpack(enter_stream(base, next[1], task, counted)))
  elseif inside > 1 then
    redis.call('DECR', share)
  else
    redis.call('DEL', share)
    count(base, task, 'tenants:' .. task.lane, -1, counted)
  end
end

-- Lets delayed tasks whose time has come into their lanes. One that rested after an attempt comes
-- back, so no window holds it up.
local function promote(base, at, most)
  local due = redis.call('ZRANGEBYSCORE', base .. 'delayed', '-inf', int(at), 'LIMIT', 0, most)
  for _, id in ipairs(due) do
    local task = read_placed(base, id)
    if task.state == 'queued' and task.spot == 'delayed' then
      leave(base, id, task)
      put(base, id, unpack(join(base, id, task, task.attempt ~= '0')))
    else
      redis.call('ZREM', base .. 'delayed', id)
    end
  end
end

-- Counts a task in (1) or out (-1) of what is queued: of all bytes, and of its tenant's tasks.
local function count_queued(base, task, by)
  local totals, tenant = base .. 'totals', 'tenant:' .. task.tenant
  redis.call('HINCRBY', totals, 'bytes', by * task.size)
  if redis.call('HINCRBY', totals, tenant, by) <= 0 then redis.call('HDEL', totals, tenant) end
end

-- How a queued task stands, for `Standing` in estimate.rs. `task` is from read_placed, with ticket
-- and run_at; `counted` from `counters`.
local function standing(base, id, task, at, counted)
  local lane = task.lane
  local left = counted['left:' .. lane]
  local inside = counted['entered:' .. lane] - left
  local rank = 0
  if task.spot == 'stream' then
    inside = math.min(inside - 1, task.ticket - left - 1)
  elseif task.spot == 'backlog' then
    rank = redis.call('ZRANK', share_key(base, task, 'backlog'), id) or 0
  else
    rank = redis.call('ZCARD', share_key(base, task, 'backlog'))
  end
  local wait = math.max(0, (tonumber(task.run_at) or 0) - at)
  -- Of a model that is paused nobody can tell when: as if nobody worked for it.
  local capacity = counted.paused == '1' and '0' or counted.capacity
  return { lane, task.spot == 'stream' and '1' or '0', int(math.max(0, inside)), int(rank),
    int(wait), int(counted['tenants:' .. lane]), int(counted['queued:high']),
    int(counted['queued:normal']), int(counted['queued:low']), int(counted['queued:batch']),
    counted.processing, capacity, counted.service_ms, counted.service_dev }
end

-- Keeps what a task's webhook is to tell beyond the task's own TTL, due at once.
local function queue_hook(base, id, task, at, outcome)
  local instants = read(base, id, 'submitted', 'started')
  redis.call('HSET', base .. 'hook:' .. id, 'hook', task.hook, 'tenant', task.tenant,
    'state', 'pending', 'number', 0, 'outcome', outcome, 'submitted', instants.submitted,
    'started', instants.started or '', 'finished', int(at))
  redis.call('ZADD', base .. 'hooks', int(at), id)
end

-- Ends a task: entry and lease go, outcome and event are written, the TTL starts, and what outlives
-- it is kept: whose it was, and its webhook. Counting the end in the model's stats is the caller's.
-- `task` is from read_placed.
local function end_task(base, id, task, at, state, outcome, event)
  drop_entry(base, task)
  if task.state == 'queued' then
    leave(base, id, task)
    count_queued(base, task, -1)
    redis.call('ZREM', base .. 'expiring', id)
  else
    redis.call('ZREM', base .. 'leases', id)
  end
  put(base, id, 'state', state, 'outcome', outcome, 'finished', int(at), 'spot', '', 'entry', '')
  if task.idem and string.sub(redis.call('GET', task.idem) or '', 1, #id) == id then
    redis.call('EXPIRE', task.idem, task.ttl)
  end
  if task.hook then queue_hook(base, id, task, at, outcome) end
  emit(base, id, at, event)
  redis.call('EXPIRE', task_key(base, id), task.ttl)
  redis.call('EXPIRE', events_key(base, id), task.ttl)
  redis.call('SET', base .. 'gone:' .. id, task.tenant,
    'EX', int(task.ttl + math.max(task.ttl, TOMBSTONE_S)))
  wake(base, id)
end

-- Ends a task other than by `finish`, which counts in its own way.
local function end_early(base, id, task, at, state, outcome, event)
  end_task(base, id, task, at, state, outcome, event)
  if task.state == 'processing' then count(base, task, 'processing', -1) end
  count(base, task, state, 1)
end

-- The same where no worker is there to log it: it enters the journal.
local function end_unattended(base, id, task, at, state, outcome, event)
  end_early(base, id, task, at, state, outcome, event)
  redis.call('ZADD', base .. 'unlogged', int(at), id)
end

-- A task's failures with that of its current attempt. `task` has failures, attempt and worker;
-- `error` is a TaskError as JSON.
local function with_failure(task, at, error)
  local lines = task.failures or ''
  local _, kept = string.gsub(lines, '\n', '')
  if kept >= MAX_FAILURES then
    lines = string.sub(lines, string.find(lines, '\n', 1, true) + 1)
  end
  return lines .. string.format('{"v":%d,"attempt":%s,"worker":"%s","at":%s,"error":%s}\n',
    VERSION, task.attempt, task.worker, int(at), error)
end

-- Puts a processing task back in its queue, at the end, or aside to `rest` for that many ms; sets the
-- other `fields` as well. `task` is from read_placed.
local function requeue(base, id, task, at, event, rest, fields)
  drop_entry(base, task)
  redis.call('ZREM', base .. 'leases', id)
  append(fields, { 'state', 'queued', 'fence', '', 'started', '', 'spent', '' })
  append(fields, rest > 0 and delay(base, id, task, at + rest) or join(base, id, task, true))
  put(base, id, unpack(fields))
  count_queued(base, task, 1)
  count(base, task, 'processing', -1)
  trim_events(base, id, emit(base, id, at, event))
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
  redis.call('SREM', base .. 'draining', id)
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

-- The instant before which dead letters have expired.
local function letters_since(at)
  return at - DEAD_LETTER_TTL_S * 1000
end

-- Deletes a dead letter and its place in the list; answers whether it was there.
local function drop_letter(base, id)
  redis.call('ZREM', base .. 'dead', id)
  return redis.call('DEL', base .. 'dead:' .. id) == 1
end

