-- Submits tasks: stores and queues them, or refuses them; each one independently and atomically. If no task has a
-- charge, meters.lua and charge.lua are not needed.
--
-- KEYS  1 base
-- ARGV  for each task:
--       1 id   2 record   3 `about`, see lib/base.lua
--       4 limits of its model, of its tenant, and of bytes, separated by spaces
--       5 optional fields as JSON, or empty: `at` earliest start in ms; `after` earliest start in ms from
--         now; `expires` ms until its deadline; `hook` its webhook; `notes` the fields kept after its end;
--         `backoff` ms after its first lost worker but one;
--         `key` the idempotency key under which repetitions find it, `hash` of its body, `window` the
--         maximum age in ms of an earlier submit that counts as the same, -1 for any age, 0 for none;
--         `step` of a periodic task: its `field`, the `revision` that the caller read, the `record` after it
--       6 its charge (lib/meters.lua), or empty   7 tokens to reserve; behind a space its images, if it has some
-- Returns  a text for each task:
--          accepted, id, 1 if it was created now else 0, state, submitted ms, depth, standing…, and the
--            level of each limit if it was charged; all levels are those after the call
--          limited, now ms, the level of each limit
--          reused, id   the key was used with another body
--          changed   the periodic task has another revision
--          full, bound, held, queued, processing, service ms
--          error, message of Redis

local base, at = KEYS[1], now_ms()
local now = int(at)
local PLAIN = {}

-- The three limits of a text: most calls have the same text for all tasks.
local texts = {}
local function limits_of(text)
  local limits = texts[text]
  if not limits then
    limits = { string.match(text, '^(%d+) (%d+) (%d+)$') }
    for i = 1, 3 do limits[i] = tonumber(limits[i]) end
    texts[text] = limits
  end
  return limits
end

-- Checks whether tasks of the call exist already: usually none, which one command answers.
local keys = {}
for i = 1, #ARGV, 7 do keys[#keys + 1] = task_key(base, ARGV[i]) end
local some_known = redis.call('EXISTS', unpack(keys)) > 0
local made = {}

local function submit(id, record, about, limits, more, charge, tokens)
  local key = task_key(base, id)
  if made[id] or some_known and redis.call('EXISTS', key) == 1 then
    return accepted_before(base, id, at)
  end
  local options = more == '' and PLAIN or cjson.decode(more)
  if options.key and options.window ~= 0 then
    local before = redis.call('GET', options.key)
    local known = before and string.sub(before, 1, #id)
    local submitted = known and read_placed(base, known, 'submitted').submitted
    if submitted and (options.window == -1 or at - submitted <= options.window) then
      if string.sub(before, #id + 2) ~= options.hash then return 'reused ' .. known end
      return accepted_before(base, known, at)
    end
  end

  local step = options.step
  if step and revision_of(redis.call('HGET', base .. 'periodic', step.field)) ~= step.revision then
    return 'changed'
  end

  local queue = about_of(base, about).queue
  local task = { state = 'queued', queue = queue, submitted = now }
  local counted = counters(base, queue.model)
  read_totals(base, queue)
  local depth = math.max(0, counted.delayed + in_lanes(counted))

  -- Refuses the task if it exceeds a bound.
  local function full(bound, held, more, limit)
    if held + more <= limit then return nil end
    return table.concat({ 'full', bound, int(held), int(depth), int(counted.processing),
      counted.service_ms }, ' ')
  end

  limits = limits_of(limits)
  local refused = full('model', depth, 1, limits[1]) or full('tenant', queue.held.count, 1, limits[2])
    or full('bytes', totals.bytes, #record, limits[3])
  if refused then return refused end

  local images
  if charge == '' then
    charge = nil
  else
    charge, images = charge_of(base, queue.tenant, charge, at), 0
    if not tonumber(tokens) then tokens, images = string.match(tokens, '^(%d+) (%d+)$') end
    tokens = tonumber(tokens)
    if not has_room(charge, tokens, at) then return 'limited ' .. now, charge end
  end

  if counted.new then
    redis.call('SADD', base .. 'models', queue.model)
    counted.new = false
  end
  task.depth = int(depth + 1)
  local run_at, place = math.max(options.at or 0, at + (options.after or 0)), nil
  if run_at > at then
    place = delay(base, id, task, run_at, counted)
    task.run_at = int(run_at)
  else
    place = join(base, id, task, false, counted)
  end
  if options == PLAIN and not charge then
    redis.call('HSET', key, 'record', record, 'about', about, 'state', 'queued',
      'submitted', now, 'place', place, 'depth', task.depth)
    made[id] = true
    count_queued(queue, #record, 1) -- once it is there
    return accepted(base, id, '1', task, at)
  elseif options == PLAIN then
    redis.call('HSET', key, 'record', record, 'about', about, 'state', 'queued',
      'submitted', now, 'place', place, 'depth', task.depth, 'charge', receipt_of(charge, tokens, images))
    made[id] = true
    count_queued(queue, #record, 1)
    pay(charge, tokens)
    return accepted(base, id, '1', task, at), charge
  end
  local fields = { 'record', record, 'about', about, 'state', 'queued', 'submitted', now,
    'place', place, 'depth', task.depth }
  if task.run_at then append(fields, { 'run_at', task.run_at }) end
  if options.key then
    redis.call('SET', options.key, id .. ':' .. options.hash)
    append(fields, { 'idem', options.key })
  end
  if step then
    redis.call('HSET', base .. 'periodic', step.field, periodic(step.revision, id, step.record))
  end
  if options.hook then append(fields, { 'hook', options.hook }) end
  if options.notes then append(fields, { 'notes', options.notes }) end
  if options.backoff then append(fields, { 'backoff', int(options.backoff) }) end
  if charge then
    fields[#fields + 1] = 'charge'
    fields[#fields + 1] = receipt_of(charge, tokens, images)
  end
  if options.expires then
    append(fields, { 'expires', int(at + options.expires) })
    redis.call('ZADD', base .. 'expiring', int(at + options.expires), id)
  end
  redis.call('HSET', key, unpack(fields))
  made[id] = true
  count_queued(queue, #record, 1)
  if charge then pay(charge, tokens) end
  -- No watcher can wait for a task that did not exist: no wake.
  return accepted(base, id, '1', task, at), charge
end

local replies, charged = {}, {}
for i = 1, #ARGV, 7 do
  local nth = #replies + 1
  replies[nth], charged[nth] = isolate(submit, ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4],
    ARGV[i + 5], ARGV[i + 6])
end
for nth, charge in pairs(charged) do replies[nth] = replies[nth] .. levels_of(charge) end
save(base)
