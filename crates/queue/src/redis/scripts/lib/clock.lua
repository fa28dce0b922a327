-- What the reapers do about a clock that goes back. Redis has no clock that never does, so all instants are
-- by TIME; what the old clock wrote lies in the future of the new one, and a lease of a dead worker would last
-- until then. (A clock that goes forward looks like a silence: see reap.lua.)

-- Nothing short is later than this: a rest, a report, a line that somebody is about to log.
local SHORT_MS = 60000

-- Brings those of a sorted set that are later than `latest` to that instant.
local function cut(key, latest)
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. int(latest), '+inf', 'LIMIT', 0, 10000)) do
    redis.call('ZADD', key, int(latest), name)
  end
end

-- The clock is behind the last reap by `behind` ms at least, now that it is `at`. No lease is longer than `span`.
-- What it does may be done twice.
local function clock_went_back(base, at, behind, span)
  cut(base .. 'leases', at + span)
  cut(base .. 'seen', at + SHORT_MS)
  cut(base .. 'unlogged', at + SHORT_MS)
  -- Pauses between a webhook's tries are up to an hour: they go back with the clock.
  local hooks = redis.call('ZRANGEBYSCORE', base .. 'hooks', '(' .. int(at), '+inf', 'WITHSCORES', 'LIMIT', 0, 10000)
  for i = 1, #hooks, 2 do
    redis.call('ZADD', base .. 'hooks', int(math.max(at, hooks[i + 1] - behind)), hooks[i])
  end
  -- Tasks that rest after an attempt; one whose client wanted a delay waits for the instant that was fixed then.
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

