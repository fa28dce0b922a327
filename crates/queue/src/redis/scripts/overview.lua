-- overview: returns the counters of all queues.
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
  local counted = counters(base, model)
  append(reply, { counted.paused and '1' or '0', int(counted.high.queued),
    int(counted.normal.queued), int(counted.low.queued), int(counted.batch.queued),
    int(counted.delayed), int(counted.processing), int(counted.capacity), counted.service_ms,
    int(counted.completed), int(counted.failed), int(counted.cancelled) })
end
return reply
