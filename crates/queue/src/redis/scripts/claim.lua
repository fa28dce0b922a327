-- claim: takes the first task of the first queue that has one, and puts it under a lease.
-- It never blocks; entries of tasks that are gone or not queued any more are cleared on the way, and
-- so are those past their deadline, which the next reap ends. Queues of paused models are passed by.
--
-- KEYS  1 base   2 leases   3… queues, in the order to look into them; in each lane one per model
-- ARGV  1 worker   2 lease in ms   3… models, in the order of the queues
-- Returns  {task, id, record, attempt, submitted ms, started ms, failed attempts}
--          {none, ms to the next delayed task or -1, last-generated id of each queue…}   wait for
--          that long or anything newer, then claim again
--          {again}   much was cleared: claim again, without waiting

local base, worker = KEYS[1], ARGV[1]

-- The next undelivered entry of a queue: its entry id and task id, or nil.
local function next_entry(queue)
  local reply = redis.pcall('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', 1, 'STREAMS', queue, '>')
  if reply and reply.err and string.find(reply.err, 'NOGROUP', 1, true) then
    if redis.call('EXISTS', queue) == 0 then return nil end
    redis.call('XGROUP', 'CREATE', queue, GROUP, '0') -- nothing was ever claimed from here
    reply = redis.pcall('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', 1, 'STREAMS', queue, '>')
  end
  if not reply then return nil end
  if reply.err then error(reply.err) end
  local entry = reply[1][2][1]
  return entry[1], entry[2][2]
end

local function take(id, task, at, counted)
  local attempt, totals = int(task.attempt + 1), totals_of(base, task)
  redis.call('ZADD', KEYS[2], int(at + ARGV[2]), id)
  local fields = { 'state', 'processing', 'attempt', attempt, 'worker', worker,
    'fence', worker .. ':' .. attempt, 'started', int(at) }
  if task.expires and task.expires ~= '' then
    redis.call('ZREM', base .. 'expiring', id)
    append(fields, { 'expires', '' }) -- it is about the first start
  end
  put(base, id, unpack(fields))
  leave(base, id, task, counted, totals)
  count_queued(totals, task, -1)
  count(counted, 'processing', 1)
  save_counters(base, counted)
  save_totals(base, totals)
  wake(base, id)
  return { 'task', id, task.record, attempt, task.submitted, int(at), task.failed or '0' }
end

local at = now_ms()
local models, looked, delayed = #ARGV - 2, {}, false
for i = 1, models do
  looked[i] = counters(base, ARGV[2 + i])
  delayed = delayed or looked[i].delayed ~= '0'
end
if delayed then
  promote(base, at, 16)
  for i = 1, models do looked[i] = counters(base, ARGV[2 + i]) end
end

local cleared = 0
for i = 3, #KEYS do
  local counted = looked[(i - 3) % models + 1]
  -- Which lane it is, the key says: `qq:{0}:queue:<lane>:<model>`.
  local lane = string.match(KEYS[i], '^queue:(%l+):', #base + 1)
  local entry, id
  if counted.paused ~= '1' and tonumber(queued(counted, lane)) > 0 then
    entry, id = next_entry(KEYS[i])
  end
  while entry do
    local task = read_placed(base, id or '', 'record', 'failed', 'submitted', 'expires')
    if task.state == 'queued' and task.entry == entry then
      if at < (tonumber(task.expires) or math.huge) then
        return take(id, task, at, counted)
      end
      local totals = totals_of(base, task)
      leave(base, id, task, counted, totals)
      save_counters(base, counted)
      save_totals(base, totals)
      put(base, id, 'place', 'none')
    end
    redis.call('XACK', KEYS[i], GROUP, entry)
    redis.call('XDEL', KEYS[i], entry)
    cleared = cleared + 1
    if cleared == 100 then return { 'again' } end -- others want to be served too
    entry, id = next_entry(KEYS[i])
  end
end

local next_due = redis.call('ZRANGE', base .. 'delayed', 0, 0, 'WITHSCORES')
local none = { 'none', next_due[2] and int(math.max(0, next_due[2] - at)) or '-1' }
for i = 3, #KEYS do
  local info = redis.pcall('XINFO', 'STREAM', KEYS[i])
  local last = '0-0'
  if not info.err then
    for field = 1, #info, 2 do
      if info[field] == 'last-generated-id' then last = info[field + 1] end
    end
  end
  none[#none + 1] = last
end
return none
