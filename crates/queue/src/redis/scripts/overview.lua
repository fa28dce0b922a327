-- overview: all queues at a glance.
--
-- KEYS  1 base   2 models   3 totals   4 dead   5 hooks
-- Returns  {now ms, bytes queued, dead letters, webhooks pending,
--           (model, paused, queued in each lane, delayed, processing, capacity, service ms,
--            completed, failed, cancelled)…}

local base, at = KEYS[1], now_ms()

local reply = { int(at), redis.call('HGET', KEYS[3], 'bytes') or '0',
  int(redis.call('ZCOUNT', KEYS[4], '(' .. int(letters_since(at)), '+inf')),
  int(redis.call('ZCARD', KEYS[5])) }
for _, model in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  reply[#reply + 1] = model
  local counted = redis.call('HMGET', stats_key(base, model), 'paused', 'queued:high',
    'queued:normal', 'queued:low', 'queued:batch', 'delayed', 'processing', 'capacity',
    'service_ms', 'completed', 'failed', 'cancelled')
  for i = 1, #counted do reply[#reply + 1] = counted[i] or '0' end
end
return reply
