-- Settles the charges of ended tasks, and counts their use. What a task keeps of its charge, its field `charge`, is
-- packed: tokens reserved; tokens that its submit's call had charged since the levels were measured, its own included;
-- images; the day of the submit; the arrival times of its rates of tokens when they were measured, after their number;
-- and the text of the charge.
--
--   usage:days           set: the days with usage, as days since 1970
--   usage:<day>          set: the owners with usage that day
--   usage:<day>:<owner>  hash: `<key>:<model>` -> the counts of UsageCounts in their order, packed as doubles

local RECEIPT, RECEIPT_BYTES, COUNTS = '<ddHdB', 27, '<ddddddddd'

-- The usage of the call's day, by owner.
local usages = {}

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
    if type(text) == 'string' and #text == 72 then
      row = { struct.unpack(COUNTS, text) }
    else
      row = { 0, 0, 0, 0, 0, 0, 0, 0, 0, is_new = true }
    end
    of_owner.rows[name] = row
  end
  rows[key] = row
  return row
end

-- Reads what `settle` needs, before the caller's first write: the row of its usage, and its bill if it was charged.
local function bill_of(base, id, task, at)
  local attempt = task.attempt
  -- An earlier attempt was the first to start.
  if attempt ~= '1' and attempt ~= '0' then task.first = redis.call('HGET', task_key(base, id), 'first') or nil end
  if not task.charge then return usage_row(base, task.queue, 'none', at) end
  local tokens, ahead, images, day, count = struct.unpack(RECEIPT, task.charge)
  local arrivals = count > 0 and { struct.unpack('<' .. string.rep('d', count), task.charge, RECEIPT_BYTES + 1) }
  local text = string.sub(task.charge, RECEIPT_BYTES + 8 * count + 1)
  local charge = charge_of(base, task.queue.tenant, text, at)
  return usage_row(base, task.queue, charge.key, at),
    { charge = charge, tokens = tokens, ahead = ahead, images = images, day = day, arrivals = arrivals }
end

-- Settles a task that has ended, and counts its use: `prompt`, `cached` and `answer` are its tokens as its worker
-- reported them, if one did. Its state was `was`.
local function settle(task, at, was, row, bill)
  local state, used = task.state, 0
  row[1], row.changed = row[1] + 1, true
  if state == 'failed' then row[2] = row[2] + 1 elseif state == 'cancelled' then row[3] = row[3] + 1 end
  local prompt = task.prompt
  if prompt then
    row[4], row[5], row[6] = row[4] + prompt, row[5] + task.cached, row[6] + task.answer
    used = prompt + task.answer
    if bill and prompt ~= '0' then row[7] = row[7] + bill.images end
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
  if not bill then return end
  local charge, tokens, nth = bill.charge, bill.tokens, 0
  for i = 1, #charge, 4 do
    local subject, place = charge.of[charge[i]], charge[i + 1]
    local level = subject[place]
    if place == FLYING then
      subject[place] = level > 1 and level - 1 or 0
    elseif place == TOKENS then
      -- What of the reservation has drained already is not given back again.
      local unit = charge[i + 2]
      nth = nth + 1
      local undrained = math.max(0, bill.arrivals[nth] + bill.ahead * unit - at)
      subject[place] = math.max(0, level + math.max((used - tokens) * unit, -undrained))
    elseif place ~= REQUESTS and subject[DAY] == bill.day then
      local reserved = math.max(0, level - subject[place + 1] - tokens)
      subject[place + 1] = subject[place + 1] + used
      subject[place] = subject[place + 1] + reserved
    end
    subject.changed = true
  end
end

-- By pcall: usage that can't be stored must not keep outcomes from being recorded.
local function save_usage(base)
  for owner, usage in pairs(usages) do
    local fields, is_new = {}, false
    for name, row in pairs(usage.rows) do
      if row.changed then
        fields[#fields + 1] = name
        fields[#fields + 1] = struct.pack(COUNTS, unpack(row))
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
