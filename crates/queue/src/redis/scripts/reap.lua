-- reap: handles expired leases, delayed tasks that are due, deadlines that have passed, workers that stopped
-- reporting, and expired tasks in the indexes.
--
-- While Redis is down no worker can renew, so afterwards every lease may have expired although its worker
-- is alive. Reapers call this several times per lease. If none did for half a lease, Redis or the network
-- was down, and no lease is reclaimed for one lease. If the call before was as late, the reapers are merely
-- slow, and there is no second hold, or they would never reclaim. A clock that jumps forward looks like
-- such a gap, and live workers renew during the hold. lib/clock.lua handles a clock that jumps back.
--
-- KEYS  1 base   2 leases   3 reaper
-- ARGV  1 reaping worker   2 lease in ms   3 maximum number of tasks to handle
--       4 outcome `cancelled`   5 outcome `expired`
--       6 reason for `requeued` events, as JSON   7 the same as the attempt's error
--       8 random factor of backoffs, 0.5 to 1
-- Returns  {n, requeued id…, n, cancelled id…, n, expired id…,
--           n, exhausted (id, record, attempt, submitted ms, started ms, failed attempts)…}

local base, lease = KEYS[1], tonumber(ARGV[2])
local at = now_ms()

-- Returns the backoff in ms after the `lost`-th expired lease in a row, as `after_loss` in retry.rs.
local function backoff_after(task, lost)
  if lost == 1 then return 0 end
  local first = tonumber(task.backoff or DEFAULT_BACKOFF_MS)
  local whole = math.min(first * 2 ^ math.min(lost - 2, MAX_DOUBLINGS), math.max(first, LONGEST_BACKOFF_MS))
  return math.floor(whole * ARGV[8])
end

promote(base, at, ARGV[3])

local expired = {}
local late_ids = redis.call('ZRANGEBYSCORE', base .. 'expiring', '-inf', int(at), 'LIMIT', 0, ARGV[3])
for _, id in ipairs(late_ids) do
  local task = read_ending(base, id)
  if task.state == 'queued' then
    end_unattended(base, id, task, at, 'failed', ARGV[5])
    expired[#expired + 1] = id
  else
    redis.call('ZREM', base .. 'expiring', id)
  end
end

-- `late` is how many ms after the previous call a late call came, else 0; `span` is the longest lease of all
-- reapers, and so of all claimants.
local seen = redis.call('HMGET', KEYS[3], 'last', 'late', 'hold', 'span')
local since, before = seen[1] and at - seen[1], tonumber(seen[2] or '0')
local hold, span = tonumber(seen[3] or '0'), math.max(lease, tonumber(seen[4] or '0'))
local late = since and since > lease / 2
-- The first call of each second, by whichever reaper, looks for expired tasks in the indexes.
local tidies = not since or math.floor(at / 1000) ~= math.floor(seen[1] / 1000)
if not since or (late and (before == 0 or since > 4 * before)) then hold = at + lease end
if since and since < 0 then
  clock_went_back(base, at, -since, span)
  hold = math.min(hold, at + span)
end
redis.call('HSET', KEYS[3], 'last', int(at), 'late', late and int(since) or '0', 'hold', int(hold),
  'span', int(span))

local requeued, cancelled, exhausted, exhausted_count = {}, {}, {}, 0
local ids = {}
if at >= hold then
  ids = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', int(at), 'LIMIT', 0, ARGV[3])
end
for _, id in ipairs(ids) do
  local task = read_ending(base, id, 'cancel', 'failed', 'failures', 'lost', 'spent', 'record', 'backoff')
  if task.state ~= 'processing' then
    redis.call('ZREM', KEYS[2], id)
  elseif task.cancel == '1' then
    end_unattended(base, id, task, at, 'cancelled', ARGV[4])
    cancelled[#cancelled + 1] = id
  else
    local failed, lost, fields = tonumber(task.failed or 0), (task.lost or 0) + 1, {}
    if task.spent ~= '1' then
      failed = failed + 1
      fields = { 'failed', int(failed), 'lost', int(lost), 'failures',
        with_failure(task, at, ARGV[7]) }
    end
    if failed < tonumber(task.max) then
      local rest = backoff_after(task, lost)
      requeue(base, id, task, at, string.format(
        '{"v":%d,"event":"requeued","attempt":%s,"reason":%s}', VERSION, task.attempt, ARGV[6]),
        rest, fields)
      requeued[#requeued + 1] = id
    else
      -- The start in the hash is that of the last attempt: the reaper's attempt has no such event.
      local started = started_event(task)
      if started then emit(base, id, { started }) end
      local attempt = int(task.attempt + 1)
      leased[#leased + 1] = int(at + lease)
      leased[#leased + 1] = id
      append(fields, { 'attempt', attempt, 'worker', ARGV[1], 'fence', ARGV[1] .. ':' .. attempt,
        'place', 'none', 'told', '', 'spent', '1' })
      put(base, id, unpack(fields))
      exhausted_count = exhausted_count + 1
      append(exhausted, { id, task.record, attempt, task.submitted, task.started, int(failed) })
    end
  end
end

save(base)
if tidies then tidy(base) end

if at >= hold then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', base .. 'seen', '-inf', int(at), 'LIMIT', 0, 10)) do
    drop_worker(base, id)
  end
end

local reply = {}
for _, part in ipairs({ { #requeued, requeued }, { #cancelled, cancelled },
  { #expired, expired }, { exhausted_count, exhausted } }) do
  reply[#reply + 1] = int(part[1])
  append(reply, part[2])
end
return reply
