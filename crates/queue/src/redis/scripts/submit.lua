-- submit: stores a task and queues it, or refuses it; nothing in between.
--
-- KEYS  1 base   2 task   3 events   4 stats of its model   5 how often its tenant is queued
--       6 totals   7 its idempotency key, or the task again for none
-- ARGV  1 id   2 record   3 model   4 lane   5 tenant   6 result TTL in s   7 max attempts
--       8 limit of its model   9 of its tenant   10 of bytes   11 `queued` event
--       12 not before, in ms   13 nor sooner than this many ms from now   14 ms to its deadline, or -1
--       15 hash of the body, empty without an idempotency key
--       16 how old in ms an earlier submit may be to count as the same; -1 for any age, 0 for none
-- Returns  {accepted, id, 1 when it was made now else 0, state, submitted ms, depth, standing…}
--          {reused, id}   the key stands for another body
--          {full, bound, held, queued, processing, service ms}

local base, id, at = KEYS[1], ARGV[1], now_ms()

-- The answer about a task that is there.
local function there(known, created)
  local task = read_placed(base, known, 'submitted', 'depth', 'ticket', 'run_at')
  local reply = { 'accepted', known, created, task.state, task.submitted, task.depth }
  if task.state == 'queued' then
    for _, field in ipairs(standing(base, known, task, at)) do reply[#reply + 1] = field end
  end
  return reply
end

if redis.call('EXISTS', KEYS[2]) == 1 then
  return there(id, '0')
end
if ARGV[15] ~= '' and ARGV[16] ~= '0' then
  local before = redis.call('GET', KEYS[7])
  local known = before and string.sub(before, 1, #id)
  local submitted = known and redis.call('HGET', task_key(base, known), 'submitted')
  if submitted and (ARGV[16] == '-1' or at - submitted <= tonumber(ARGV[16])) then
    if string.sub(before, #id + 2) ~= ARGV[15] then return { 'reused', known } end
    return there(known, '0')
  end
end

local stats = redis.call('HMGET', KEYS[4], 'queued', 'processing', 'service_ms')
local bounds = {
  { 'model', tonumber(stats[1] or '0'), 1 },
  { 'tenant', tonumber(redis.call('GET', KEYS[5]) or '0'), 1 },
  { 'bytes', tonumber(redis.call('HGET', KEYS[6], 'bytes') or '0'), #ARGV[2] },
}
for i, bound in ipairs(bounds) do
  if bound[2] + bound[3] > tonumber(ARGV[7 + i]) then
    return { 'full', bound[1], int(bound[2]), stats[1] or '0', stats[2] or '0', stats[3] or '0' }
  end
end

local task = { model = ARGV[3], lane = ARGV[4], tenant = ARGV[5], size = #ARGV[2] }
count_queued(base, task, 1)
redis.call('HSET', KEYS[2],
  'record', ARGV[2], 'model', task.model, 'lane', task.lane, 'tenant', task.tenant,
  'size', task.size, 'ttl', ARGV[6], 'max', ARGV[7], 'state', 'queued', 'attempt', 0, 'failed', 0,
  'fence', '', 'submitted', int(at), 'depth', redis.call('HGET', KEYS[4], 'queued'), 'entry', '')
if ARGV[15] ~= '' then
  redis.call('SET', KEYS[7], id .. ':' .. ARGV[15])
  redis.call('HSET', KEYS[2], 'idem', KEYS[7])
end
if ARGV[14] ~= '-1' then
  redis.call('HSET', KEYS[2], 'expires', int(at + ARGV[14]))
  redis.call('ZADD', base .. 'expiring', int(at + ARGV[14]), id)
end
local run_at = math.max(tonumber(ARGV[12]), at + ARGV[13])
if run_at > at then
  redis.call('HSET', KEYS[2], 'run_at', int(run_at), 'spot', 'delayed')
  redis.call('ZADD', base .. 'delayed', int(run_at), id)
else
  join(base, id, task, false)
end
emit(base, id, at, ARGV[11])
wake(base, id)
return there(id, '1')
