-- submit: stores a task and queues it, or refuses it; nothing in between.
--
-- KEYS  1 base   2 task   3 events   4 queue of its lane and model   5 stats of its model
-- ARGV  1 id   2 record   3 model   4 lane   5 result TTL in s   6 max attempts
--       7 limit of queued tasks   8 `queued` event
-- Returns  {accepted, submitted ms, depth}   also for a repeated submit, with the first answer
--          {full, queued, processing, service ms}

local base, id = KEYS[1], ARGV[1]

local before = read(base, id, 'submitted', 'depth')
if before.submitted then
  return { 'accepted', before.submitted, before.depth }
end
local stats = redis.call('HMGET', KEYS[5], 'queued', 'processing', 'service_ms')
local queued = tonumber(stats[1] or '0')
if queued >= tonumber(ARGV[7]) then
  return { 'full', int(queued), stats[2] or '0', stats[3] or '0' }
end

local at = now_ms()
local entry = redis.call('XADD', KEYS[4], '*', 'id', id)
local depth = int(redis.call('HINCRBY', KEYS[5], 'queued', 1))
redis.call('HSET', KEYS[2],
  'record', ARGV[2], 'model', ARGV[3], 'lane', ARGV[4], 'ttl', ARGV[5], 'max', ARGV[6],
  'state', 'queued', 'attempt', 0, 'failed', 0, 'fence', '',
  'submitted', int(at), 'depth', depth, 'entry', entry)
emit(base, id, at, ARGV[8])
wake(base, id)
return { 'accepted', int(at), depth }
