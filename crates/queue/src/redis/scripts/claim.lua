-- claim: takes the first task of the first queue that has one, and puts it under a lease.
-- It never blocks; entries of tasks that are gone or not queued any more are cleared on the way.
--
-- KEYS  1 base   2 leases   3… queues, in the order to look into them
-- ARGV  1 worker   2 lease in ms   3 record version
-- Returns  {task, id, record, attempt, submitted ms, started ms, failed attempts}
--          {none, last-generated id of each queue…}   wait for anything newer, then claim again
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

local function take(id, task)
  local at = now_ms()
  local attempt = int(tonumber(task.attempt) + 1)
  redis.call('ZADD', KEYS[2], int(at + ARGV[2]), id)
  redis.call('HSET', task_key(base, id), 'state', 'processing', 'attempt', attempt, 'worker', worker,
    'fence', worker .. ':' .. attempt, 'started', int(at))
  local stats = stats_key(base, task.model)
  redis.call('HINCRBY', stats, 'queued', -1)
  redis.call('HINCRBY', stats, 'processing', 1)
  emit(base, id, at, string.format('{"v":%s,"event":"started","attempt":%s,"worker":"%s"}',
    ARGV[3], attempt, worker))
  wake(base, id)
  return { 'task', id, task.record, attempt, task.submitted, int(at), task.failed }
end

local cleared = 0
for i = 3, #KEYS do
  local entry, id = next_entry(KEYS[i])
  while entry do
    local task = read(base, id or '', 'record', 'state', 'entry', 'attempt', 'failed', 'model',
      'submitted')
    if task.state == 'queued' and task.entry == entry then
      return take(id, task)
    end
    redis.call('XACK', KEYS[i], GROUP, entry)
    redis.call('XDEL', KEYS[i], entry)
    cleared = cleared + 1
    if cleared == 100 then return { 'again' } end -- others want to be served too
    entry, id = next_entry(KEYS[i])
  end
end

local none = { 'none' }
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
