-- submit: stores a task and queues it, or refuses it; nothing in between.
--
-- KEYS  1 base   2 task   3 totals   4 its idempotency key, or the task again for none
-- ARGV  1 id   2 record   3 model   4 lane   5 tenant   6 result TTL in s   7 max attempts
--       8 limit of its model   9 of its tenant   10 of bytes   11 `queued` event
--       12 not before, in ms   13 nor sooner than this many ms from now   14 ms to its deadline, or -1
--       15 hash of the body, empty without an idempotency key
--       16 how old in ms an earlier submit may be to count as the same; -1 for any age, 0 for none
--       17 its webhook, or empty
-- Returns  {accepted, id, 1 when it was made now else 0, state, submitted ms, depth, standing…}
--          {reused, id}   the key stands for another body
--          {full, bound, held, queued, processing, service ms}

local base, id, at = KEYS[1], ARGV[1], now_ms()

-- The answer about a task.
local function there(known, created, task, counted)
  local reply = { 'accepted', known, created, task.state, task.submitted, task.depth }
  if task.state ~= 'queued' then return reply end
  counted = counted or counters(base, task.model, task.lane)
  return append(reply, standing(base, known, task, at, counted))
end

-- The same about one that was there before.
local function there_already(known)
  return there(known, '0', read_placed(base, known, 'submitted', 'depth', 'ticket', 'run_at'))
end

if redis.call('EXISTS', KEYS[2]) == 1 then
  return there_already(id)
end
if ARGV[15] ~= '' and ARGV[16] ~= '0' then
  local before = redis.call('GET', KEYS[4])
  local known = before and string.sub(before, 1, #id)
  local submitted = known and redis.call('HGET', task_key(base, known), 'submitted')
  if submitted and (ARGV[16] == '-1' or at - submitted <= tonumber(ARGV[16])) then
    if string.sub(before, #id + 2) ~= ARGV[15] then return { 'reused', known } end
    return there_already(known)
  end
end

local counted = counters(base, ARGV[3], ARGV[4])
local tenant = 'tenant:' .. ARGV[5]
local totals = redis.call('HMGET', KEYS[3], tenant, 'bytes')
local bounds = {
  { 'model', counted.total, 1 },
  { 'tenant', tonumber(totals[1] or '0'), 1 },
  { 'bytes', tonumber(totals[2] or '0'), #ARGV[2] },
}
for i, bound in ipairs(bounds) do
  if bound[2] + bound[3] > tonumber(ARGV[7 + i]) then
    return { 'full', bound[1], int(bound[2]), int(counted.total), counted.processing,
      counted.service_ms }
  end
end

local task = { state = 'queued', model = ARGV[3], lane = ARGV[4], tenant = ARGV[5], size = #ARGV[2],
  submitted = int(at), depth = int(math.max(0, counted.total) + 1) }
local fields = { 'record', ARGV[2], 'model', task.model, 'lane', task.lane, 'tenant', task.tenant,
  'size', task.size, 'ttl', ARGV[6], 'max', ARGV[7], 'state', 'queued', 'attempt', 0, 'failed', 0,
  'fence', '', 'submitted', task.submitted, 'depth', task.depth }
if ARGV[15] ~= '' then
  redis.call('SET', KEYS[4], id .. ':' .. ARGV[15])
  append(fields, { 'idem', KEYS[4] })
end
if ARGV[17] ~= '' then append(fields, { 'hook', ARGV[17] }) end
if ARGV[14] ~= '-1' then
  append(fields, { 'expires', int(at + ARGV[14]) })
  redis.call('ZADD', base .. 'expiring', int(at + ARGV[14]), id)
end
if counted.new then redis.call('SADD', base .. 'models', task.model) end
redis.call('HSET', KEYS[3], tenant, int((totals[1] or 0) + 1),
  'bytes', int((totals[2] or 0) + task.size))
local run_at = math.max(tonumber(ARGV[12]), at + ARGV[13])
local place = run_at > at and delay(base, id, task, run_at, counted)
  or join(base, id, task, false, counted)
for i = 1, #place, 2 do task[place[i]] = place[i + 1] end
redis.call('HSET', KEYS[2], unpack(append(fields, place)))
emit(base, id, at, ARGV[11])
save_counters(base, task.model, counted)
-- Nobody can be waiting for a task that was not there: no wake.
return there(id, '1', task, counted)
