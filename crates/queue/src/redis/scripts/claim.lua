-- claim: takes the first task of the first queue that has one, and puts it under a lease.
-- It never blocks; entries of tasks that are gone or not queued any more are cleared on the way, and
-- so are those past their deadline, which the next reap ends.
--
-- KEYS  1 base   2 leases   3… queues, in the order to look into them
-- ARGV  1 worker   2 lease in ms   3 record version
-- Returns  {task, id, record, attempt, submitted ms, started ms, failed attempts}
--          {none, ms to the next delayed task or -1, last-generated id of each queue…}   wait for
--          that long or anything newer, then claim again
--          {again}   much was cleared: claim again, without waiting

local base, worker = KEYS[1], ARGV[1]

-- The next undelivered entry of a queue: its entry id and task id, or nil.
local function next_entry(queue)
  local reply = redis.pcall('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', 1, 'STREAMS', queue, '>')
  if reply and reply.err and string.find(reply.err, 'NOGROUP', 1, true) then
    -- Nothing was ever claimed from here, or the data was flushed.
    if redis.call('EXISTS', queue) == 0 then return nil end
    redis.call('XGROUP', 'CREATE', queue, GROUP, '0')
    reply = redis.pcall('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', 1, 'STREAMS', queue, '>')
  end
  if not reply then return nil end
  if reply.err then error(reply.err) end
  local entry = reply[1][2][1]
  return entry[1], entry[2][2]
end

local function take(id, task, at)
  local attempt = int(tonumber(task.attempt) + 1)
  redis.call('ZADD', KEYS[2], int(at + ARGV[2]), id)
  redis.call('HSET', task_key(base, id), 'state', 'processing', 'attempt', attempt, 'worker', worker,
    'fence', worker .. ':' .. attempt, 'started', int(at))
  leave(base, id, task)
  count_queued(base, task, -1)
  redis.call('HINCRBY', stats_key(base, task.model), 'processing', 1)
  if task.expires then
    redis.call('ZREM', base .. 'expiring', id)
    redis.call('HDEL', task_key(base, id), 'expires') -- it is about the first start
  end
  emit(base, id, at, string.format('{"v":%s,"event":"started","attempt":%s,"worker":"%s"}',
    ARGV[3], attempt, worker))
  wake(base, id)
  return { 'task', id, task.record, attempt, task.submitted, int(at), task.failed }
end

local at = now_ms()
promote(base, at, 16)

local cleared = 0
for i = 3, #KEYS do
  local entry, id = next_entry(KEYS[i])
  while entry do
    local task = read_placed(base, id or '', 'record', 'attempt', 'failed', 'submitted', 'expires')
    if task.state == 'queued' and task.entry == entry then
      if not task.expires or at < tonumber(task.expires) then
        return take(id, task, at)
      end
      leave(base, id, task)
      redis.call('HSET', task_key(base, id), 'entry', '')
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
