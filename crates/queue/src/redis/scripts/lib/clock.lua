-- Handles a clock that jumps back. Redis has no monotonic clock, so all times are by TIME. Times that the old
-- clock wrote lie in the future of the new one, and a dead worker's lease would last until then. (A clock that
-- jumps forward looks like an outage: see reap.lua.)

-- Lowers the scores of a sorted set that are above `latest` to that value.
local function cut(key, latest)
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. int(latest), '+inf', 'LIMIT', 0, 10000)) do
    redis.call('ZADD', key, int(latest), name)
  end
end

-- Corrects stored times after the clock, now `at`, was found at least `behind` ms behind the last reap. No lease
-- is longer than `span`. Idempotent.
local function clock_went_back(base, at, behind, span)
  cut(base .. 'leases', at + span)
  cut(base .. 'seen', at + SHORT_MS)
  cut(base .. 'unlogged', at + SHORT_MS)
  -- Pauses between a webhook's tries are up to an hour: shift them with the clock.
  local hooks = redis.call('ZRANGEBYSCORE', base .. 'hooks', '(' .. int(at), '+inf', 'WITHSCORES', 'LIMIT', 0, 10000)
  for i = 1, #hooks, 2 do
    redis.call('ZADD', base .. 'hooks', int(math.max(at, hooks[i + 1] - behind)), hooks[i])
  end
  -- Tasks that back off after an attempt. A task that its client delayed waits for the time fixed at its submit.
  local latest = at + SHORT_MS
  local delayed = redis.call('ZRANGEBYSCORE', base .. 'delayed', '(' .. int(latest),
    int(latest + behind + 2 * SHORT_MS), 'LIMIT', 0, 10000)
  for _, id in ipairs(delayed) do
    local attempt = redis.call('HGET', task_key(base, id), 'attempt')
    if attempt and attempt ~= '0' then
      redis.call('ZADD', base .. 'delayed', int(latest), id)
      put(base, id, 'run_at', int(latest))
    end
  end
end

