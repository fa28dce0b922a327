-- finish_and_claim: records outcomes, each once, and then claims tasks under a lease.
--
-- The lease that recorded an outcome may repeat the call. A failure that an operator should see also becomes
-- a dead letter. The caller has a span to write the log line of each outcome; a later call acknowledges the
-- line.
-- A claim takes the first tasks of the non-empty streams and never blocks. It removes entries of tasks that
-- no longer exist, are no longer queued, or are past their deadline (the next reap ends those). It skips
-- queues of paused models. If workers have more room than tasks are queued, each gets only its share.
--
-- KEYS  1 base
-- ARGV  1 number of tasks whose log lines are written, then their ids
--       then the number of outcomes, and for each:
--         id, fence, terminal state, outcome, the error of a dead letter as JSON or empty, 1 if the
--         processing time is to be measured, tokens of the prompt, of these cached, and of the answer
--       then for each claim:
--         worker, lease in ms, one digit per requested task: the lane whose turn it is (1 is the most
--         urgent), maximum number of tasks of lane batch, number of models, models…
-- Returns  for each outcome a text:
--            recorded, finished ms
--            lost
--            error, message of Redis
--          then for each claim a text, and its content:
--            took, number
--              for each two texts: id, attempt, submitted ms, started ms, failed attempts; and its record
--            none, ms to the next delayed task or -1, latest entry of each lane's streams, one per model…
--              wait for that long or for a newer entry, then claim again
--            again   many entries were removed: claim again, without waiting
--            error, message of Redis

local base, at = KEYS[1], now_ms()
local now = int(at)

-- Stores the task as a dead letter; beyond MAX_DEAD_LETTERS the oldest are deleted.
local function bury(id, task, outcome, error)
  local more = read_placed(base, id, 'record', 'worker', 'failures', 'spent', 'submitted')
  -- If the task's attempts are used up, the last failure is already recorded.
  local failures = more.spent == '1' and more.failures or with_failure(more, at, error)
  local letters, letter = base .. 'dead', base .. 'dead:' .. id
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', letters, '-inf', int(letters_since(at)))) do
    drop_letter(base, old)
  end
  local surplus = redis.call('ZCARD', letters) + 1 - MAX_DEAD_LETTERS
  if surplus > 0 then
    for _, old in ipairs(redis.call('ZRANGE', letters, 0, surplus - 1)) do
      drop_letter(base, old)
    end
  end
  -- No two letters have the same instant, so a page can begin where another ended.
  local latest = redis.call('ZRANGE', letters, -1, -1, 'WITHSCORES')
  local died = int(math.max(at, (tonumber(latest[2]) or 0) + 1))
  redis.call('ZADD', letters, died, id)
  redis.call('HSET', letter, 'model', task.queue.model, 'record', more.record, 'outcome', outcome,
    'failures', failures, 'submitted', more.submitted, 'died', died)
  redis.call('EXPIRE', letter, DEAD_LETTER_TTL_S)
end

-- Adds a processing time to the averages; `save` writes them.
local function measure(counted, latest)
  local average = counted.average or tonumber(counted.service_ms)
  local deviation = counted.deviation or tonumber(counted.service_dev)
  if average > 0 then
    deviation = deviation + LATEST_WEIGHT * (math.abs(latest - average) - deviation)
    average = average + LATEST_WEIGHT * (latest - average)
  else
    average, deviation = latest, latest / 2
  end
  counted.average, counted.deviation = average, deviation
end

local function finish(id, fence, state, outcome, failure, measured, prompt, cached, answer)
  -- Like read_ending, without the fields about the task's place: this and `take` are most of the work.
  local values = redis.pcall('HMGET', task_key(base, id), 'state', 'fence', 'about', 'started', 'told', 'idem',
    'hook', 'submitted', 'run_at', 'expires', 'depth', 'dropped', 'returned', 'notes', 'charge')
  if values.err then
    local ended = read_ended(base, id)
    if not ended then error(values) end
    -- Only a finish leaves a fence on an ended task.
    return ended.fence == fence and 'recorded ' .. ended.finished or 'lost'
  end
  if values[1] ~= 'processing' or values[2] ~= fence then
    return 'lost'
  end
  local about = about_of(base, values[3])
  local worker, attempt = string.match(fence, '^(.*):(%d+)$')
  local task = { state = values[1], fence = fence, worker = worker, attempt = attempt, ttl = about.ttl,
    queue = about.queue, about = about.text, started = values[4] or nil, told = values[5] or nil,
    idem = values[6], hook = values[7], submitted = values[8], run_at = values[9] or nil,
    expires = values[10] or nil, depth = values[11], dropped = values[12] or nil,
    returned = values[13] or nil, notes = values[14] or nil, charge = values[15] or nil,
    prompt = prompt, cached = cached, answer = answer }
  if failure ~= '' then bury(id, task, outcome, failure) end
  end_task(base, id, task, at, state, outcome, at + LINE_SPAN_MS)
  local counted = counters(base, task.queue.model)
  if measured == '1' then
    -- The clock may have gone back. An average of 0 means that nothing was measured.
    measure(counted, math.max(0.5, at - task.started))
  end
  count(counted, 'processing', -1)
  count(counted, state, 1)
  return 'recorded ' .. now
end

-- Removes and returns up to `most` entries of a stream. There is no consumer group: the fenced leases record
-- the holder of a task. The entries are removed in the same step, so none is pending.
local function pop(stream, most)
  local entries = redis.call('XRANGE', stream, '-', '+', 'COUNT', most)
  if #entries > 0 then
    -- Exactly these entries: they are the first. (An XDEL would look up each.)
    local ms, nth = string.match(entries[#entries][1], '^(%d+)-(%d+)$')
    redis.call('XTRIM', stream, 'MINID', '=', ms .. '-' .. int(nth + 1))
  end
  return entries
end

-- Takes the task of an entry, if it can be claimed.
local function take(worker, until_ms, lane, entry, taken)
  local id, waited = entry[2][2] or '', 'stream ' .. entry[1] .. ' '
  local key = task_key(base, id)
  local values = redis.pcall('HMGET', key, 'state', 'place', 'about', 'record', 'submitted', 'expires',
    'attempt', 'failed')
  if values.err then
    if read_ended(base, id) then return false end
    error(values)
  end
  local place, record, expires = values[2] or '', values[4], values[6] or ''
  if values[1] ~= 'queued' or string.sub(place, 1, #waited) ~= waited then
    return false
  end
  local queue = about_of(base, values[3]).queue
  read_totals(base, queue)
  count_out(queue, lane)
  if expires ~= '' then
    if at >= tonumber(expires) then
      put(base, id, 'place', 'none')
      return false
    end
    redis.call('ZREM', base .. 'expiring', id)
    put(base, id, 'expires', '') -- it is about the first start
  end
  local attempt = values[7] and int(values[7] + 1) or '1'
  redis.call('HSET', key, 'state', 'processing', 'attempt', attempt, 'worker', worker,
    'fence', worker .. ':' .. attempt, 'started', now)
  leased[#leased + 1] = until_ms
  leased[#leased + 1] = id
  count_queued(queue, #record, -1)
  count(counters(base, queue.model), 'processing', 1)
  wake(id)
  taken[#taken + 1] = id .. ' ' .. attempt .. ' ' .. values[5] .. ' ' .. now .. ' ' .. (values[8] or '0')
  taken[#taken + 1] = record
  return true
end

-- Returns how many tasks a worker with room for `most` gets: its share, while the ready workers have more room
-- than tasks are queued.
local function share_of(models, most)
  local queued, room = 0, 0
  for _, counted in ipairs(models) do
    if not counted.paused then queued = queued + in_lanes(counted) end
    room = room + counted.capacity - counted.processing
  end
  return math.max(1, math.min(most, math.ceil(queued * most / math.max(room, most))))
end

local promoted = false
local cleared = 0 -- entries, by all claims of the call: others want to be served too

local function claim(worker, lease, turns, room, names)
  local models, wanted, until_ms = {}, 1, int(at + lease)
  for i, name in ipairs(names) do
    models[i] = counters(base, name)
    if models[i].delayed ~= 0 and not promoted then
      promoted = true
      promote(base, at, PROMOTED)
    end
  end
  if #turns > 1 then wanted = share_of(models, #turns) end

  local dry = {} -- lanes whose stream had no more
  -- Returns the lane of the next task: the lane whose turn it is, else the most urgent one.
  local function next_lane(turn, planned, room)
    for nth = 0, #LANES do
      local name = nth == 0 and LANES[tonumber(string.sub(turns, turn, turn))] or LANES[nth]
      for i, model in ipairs(names) do
        local lane = models[i][name]
        if lane.queued > (planned[lane] or 0) and not models[i].paused and not dry[lane]
          and (name ~= 'batch' or room > 0) then
          return lane, stream_key(base, name, model), name
        end
      end
    end
  end

  local taken, got, problem = {}, 0, nil
  repeat
    local planned, order, left_room = {}, {}, room
    for turn = got + 1, wanted do
      local lane, stream, name = next_lane(turn, planned, left_room)
      if not lane then break end
      if not planned[lane] then order[#order + 1] = { lane, stream, name } end
      if name == 'batch' then left_room = left_room - 1 end
      planned[lane] = (planned[lane] or 0) + 1
    end
    refill(base)
    for _, from in ipairs(order) do
      local lane = from[1]
      local read, entries = pcall(pop, from[2], planned[lane])
      if not read then problem, entries = entries, {} end
      dry[lane] = #entries == 0
      for _, entry in ipairs(entries) do
        local left = lane.left
        local done, took = pcall(take, worker, until_ms, lane, entry, taken)
        if not done then
          problem = took
          -- The task's tenant is unknown, but no task waits behind it any more.
          if lane.left == left then
            lane.queued, lane.left, lane.changed = lane.queued - 1, left + 1, true
          end
        elseif took then
          got = got + 1
          if from[3] == 'batch' then room = room - 1 end
        else cleared = cleared + 1 end
      end
    end
  until #order == 0 or got == wanted or cleared >= 100

  if got > 0 then return 'took ' .. got, taken end
  if problem then error(problem) end
  if cleared >= 100 then return 'again' end
  local next_due = redis.call('ZRANGE', base .. 'delayed', 0, 0, 'WITHSCORES')
  local none = { 'none', next_due[2] and int(math.max(0, next_due[2] - at)) or '-1' }
  for _, lane in ipairs(LANES) do
    for i = 1, #models do none[#none + 1] = models[i][lane].last end
  end
  return table.concat(none, ' ')
end

local written, from = {}, 2
for _ = 1, tonumber(ARGV[1]) do
  written[#written + 1] = ARGV[from]
  from = from + 1
end
note_logged(base, written)
local replies, outcomes = {}, tonumber(ARGV[from])
from = from + 1
for _ = 1, outcomes do
  replies[#replies + 1] = isolate(finish, ARGV[from], ARGV[from + 1], ARGV[from + 2], ARGV[from + 3],
    ARGV[from + 4], ARGV[from + 5], ARGV[from + 6], ARGV[from + 7], ARGV[from + 8])
  from = from + 9
end
while from <= #ARGV do
  local names = {}
  for i = 1, tonumber(ARGV[from + 4]) do names[i] = ARGV[from + 4 + i] end
  local said, taken = isolate(claim, ARGV[from], tonumber(ARGV[from + 1]), ARGV[from + 2],
    tonumber(ARGV[from + 3]), names)
  replies[#replies + 1] = said
  append(replies, taken or {})
  from = from + 5 + #names
end
save(base)
return replies
