-- Settles the charges of ended tasks, and counts their use. What a task keeps of its charge, its field `charge`:
-- tokens reserved, the arrival times of its rates right after its submit (or `-`), and `settled` of
-- lib/charge.lua: images, the key that pays, the day of the submit, and of each limit that is settled: its kind,
-- the amount, and the subject, `@` for the key.
--
--   usage:days           set: the days with usage, as days since 1970
--   usage:<day>          set: the owners with usage that day
--   usage:<day>:<owner>  hash: `<key>:<model>` -> the counts of UsageCounts in their order, separated by spaces

-- Parsed charges by their owner and `settled`; the usage of the call's day, by owner.
local settlements, usages = {}, {}

local function settlement_of(base, owner, text, at)
  local of_owner = settlements[owner]
  if not of_owner then
    of_owner = {}
    settlements[owner] = of_owner
  end
  local settlement = of_owner[text]
  if settlement then return settlement end
  local images, key, day, limits = string.match(text, '^(%d+) (%S+) (%d+)(.*)$')
  settlement = { images = tonumber(images), key = key }
  local is_kept = math.abs(day - math.floor(at / DAY_MS)) <= 1
  for kind, limit, name in string.gmatch(limits, ' (%l) (%d+) (%S+)') do
    local is_daily = kind == 'd' or kind == 'b'
    if is_kept or not is_daily then
      local subject = subject_of(base, owner, name == '@' and key or name, at)
      settlement[#settlement + 1] = { kind = kind, subject = subject, unit = 60000 / limit,
        meter = meter_of(subject, is_daily and kind .. day or kind, is_daily and tonumber(day) or nil) }
    end
  end
  of_owner[text] = settlement
  return settlement
end

-- Reads the counts of an owner's key for a model.
local function usage_row(base, queue, key, at)
  local rows = queue.rows
  if not rows then
    rows = {}
    queue.rows = rows
  end
  local row = rows[key]
  if row then return row end
  local of_owner = usages[queue.tenant]
  if not of_owner then
    local day = int(math.floor(at / DAY_MS))
    of_owner = { day = day, key = base .. 'usage:' .. day .. ':' .. queue.tenant, rows = {} }
    usages[queue.tenant] = of_owner
  end
  local name = key .. ':' .. queue.model
  row = of_owner.rows[name] -- of another lane
  if not row then
    local text = redis.pcall('HGET', of_owner.key, name)
    row = type(text) == 'string' and { string.match(text, '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$') }
      or {}
    if #row ~= 9 then row = { 0, 0, 0, 0, 0, 0, 0, 0, 0, is_new = true } end
    of_owner.rows[name] = row
  end
  rows[key] = row
  return row
end

-- Reads what `settle` needs, before the caller's first write: the row of its usage, its settlement if it was
-- charged, tokens reserved, and the arrival times.
local function bill_of(base, id, task, at)
  local attempt = task.attempt
  -- An earlier attempt was the first to start.
  if attempt ~= '1' and attempt ~= '0' then task.first = redis.call('HGET', task_key(base, id), 'first') or nil end
  if not task.charge then return usage_row(base, task.queue, 'none', at) end
  local tokens, arrivals, settled = string.match(task.charge, '^(%d+) (%S+) (.*)$')
  local settlement = settlement_of(base, task.queue.tenant, settled, at)
  return usage_row(base, task.queue, settlement.key, at), settlement, tonumber(tokens), arrivals
end

-- Settles a task that has ended, and counts its use: `prompt`, `cached` and `answer` are its tokens as its worker
-- reported them, if one did. Its state was `was`.
local function settle(task, at, was, row, settlement, tokens, arrivals)
  local state, used = task.state, 0
  row[1], row.changed = row[1] + 1, true
  if state == 'failed' then row[2] = row[2] + 1 elseif state == 'cancelled' then row[3] = row[3] + 1 end
  local prompt = task.prompt
  if prompt then
    row[4], row[5], row[6] = row[4] + prompt, row[5] + task.cached, row[6] + task.answer
    used = prompt + task.answer
    if settlement and prompt ~= '0' then row[7] = row[7] + settlement.images end
  end
  local started = task.started
  if started and started ~= '' then
    local took = at - started
    if was == 'processing' and took > 0 then row[9] = row[9] + took end
  else
    started = nil
  end
  started = task.first or started
  if started then
    local waited = started - task.submitted
    if waited > 0 then row[8] = row[8] + waited end
  end
  if not settlement then return end
  arrivals = string.gmatch(arrivals, '[^,-]+')
  for i = 1, #settlement do
    local limit = settlement[i]
    local meter = limit.meter
    if limit.kind == 'f' then
      meter.level = math.max(0, meter.level - 1)
    elseif limit.kind == 't' then
      -- What of the reservation has drained already is not given back again.
      local undrained = math.max(0, (arrivals() or at) - at)
      meter.level = math.max(0, meter.level + math.max((used - tokens) * limit.unit, -undrained))
    else
      local reserved = math.max(0, meter.level - meter.used - tokens)
      meter.used = meter.used + used
      meter.level = meter.used + reserved
    end
    limit.subject.changed = true
  end
end

-- By pcall: usage that can't be stored must not keep outcomes from being recorded.
local function save_usage(base)
  for owner, usage in pairs(usages) do
    local fields, is_new = {}, false
    for name, row in pairs(usage.rows) do
      if row.changed then
        fields[#fields + 1] = name
        fields[#fields + 1] = table.concat(row, ' ')
        is_new = is_new or row.is_new
      end
    end
    if #fields > 0 then redis.pcall('HSET', usage.key, unpack(fields)) end
    if is_new then
      redis.pcall('SADD', base .. 'usage:days', usage.day)
      redis.pcall('SADD', base .. 'usage:' .. usage.day, owner)
    end
  end
end
saved[#saved + 1] = save_usage
