-- submit: stores a task and queues it, or refuses it; nothing in between.
--
-- KEYS  1 base   2 task   3 totals   4 its idempotency key, or the task again for none
-- ARGV  1 id   2 record   3 model   4 lane   5 tenant   6 result TTL in s   7 max attempts
--       8 limit of its model   9 of its tenant   10 of bytes
--       11 not before, in ms   12 nor sooner than this many ms from now   13 ms to its deadline, or -1
--       14 hash of the body, empty without an idempotency key
--       15 how old in ms an earlier submit may be to count as the same; -1 for any age, 0 for none
--       16 its webhook, or empty
-- Returns  {accepted, id, 1 when it was made now else 0, state, submitted ms, depth, standing…}
--          {reused, id}   the key stands for another body
--          {full, bound, held, queued, processing, service ms}

local base, id, at = KEYS[1], ARGV[1], now_ms()

-- The answer about a task.
local function there(known, created, task, counted)
  local reply = { 'accepted', known, created, task.state, task.submitted, task.depth }
  if task.state ~= 'queued' then return reply end
  counted = counted or counters(base, task.model)
  return append(reply, standing(base, known, task, at, counted))
end

-- The same about one that was there before.
local function there_already(known)
  return there(known, '0', read_placed(base, known, 'submitted', 'run_at'))
end

if redis.call('EXISTS', KEYS[2]) == 1 then
  return there_already(id)
end
if ARGV[14] ~= '' and ARGV[15] ~= '0' then
  local before = redis.call('GET', KEYS[4])
  local known = before and string.sub(before, 1, #id)
  local submitted = known and redis.call('HGET', task_key(base, known), 'submitted')
  if submitted and (ARGV[15] == '-1' or at - submitted <= tonumber(ARGV[15])) then
    if string.sub(before, #id + 2) ~= ARGV[14] then return { 'reused', known } end
    return there_already(known)
  end
end

local task = { state = 'queued', model = ARGV[3], lane = ARGV[4], tenant = ARGV[5], size = #ARGV[2],
  submitted = int(at) }
local counted, totals = counters(base, task.model), totals_of(base, task)
local depth = counted.delayed + queued(counted, 'high') + queued(counted, 'normal')
  + queued(counted, 'low') + queued(counted, 'batch')

-- Refuses the task if it is beyond a bound.
local function full(bound, held, more, limit)
  if held + more <= tonumber(limit) then return nil end
  return { 'full', bound, int(held), int(depth), counted.processing, counted.service_ms }
end

local refused = full('model', depth, 1, ARGV[8]) or full('tenant', totals.tenant, 1, ARGV[9])
  or full('bytes', totals.bytes, task.size, ARGV[10])
if refused then return refused end

-- A model that was never submitted to: each submit touches one of these.
if counted.delayed == '0' and counted.high .. counted.normal .. counted.low .. counted.batch == '' then
  redis.call('SADD', base .. 'models', task.model)
end
task.depth = int(math.max(0, depth) + 1)
count_queued(totals, task, 1)
local run_at, place = math.max(tonumber(ARGV[11]), at + ARGV[12]), nil
if run_at > at then
  place = delay(base, id, task, run_at, counted)
  task.run_at = int(run_at)
else
  place = join(base, id, task, false, counted, totals)
end
local fields = { 'record', ARGV[2], 'about', table.concat({ ARGV[6], ARGV[7], task.size, task.depth,
  task.lane, task.tenant, task.model }, ':'), 'state', 'queued', 'submitted', task.submitted,
  'place', place }
if task.run_at then append(fields, { 'run_at', task.run_at }) end
if ARGV[14] ~= '' then
  redis.call('SET', KEYS[4], id .. ':' .. ARGV[14])
  append(fields, { 'idem', KEYS[4] })
end
if ARGV[16] ~= '' then append(fields, { 'hook', ARGV[16] }) end
if ARGV[13] ~= '-1' then
  append(fields, { 'expires', int(at + ARGV[13]) })
  redis.call('ZADD', base .. 'expiring', int(at + ARGV[13]), id)
end
redis.call('HSET', KEYS[2], unpack(fields))
save_counters(base, counted)
save_totals(base, totals)
-- Nobody can be waiting for a task that was not there: no wake.
return there(id, '1', task, counted)
