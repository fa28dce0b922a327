-- Meters: limits that submits are charged against (meters.rs has the arithmetic). All meters of a subject are one
-- text, which a script reads once, changes in memory, and writes once, by `save`:
--
--   meter:<owner>:<subject>  words, separated by spaces. TTL until all of every limit is left again; none while
--                            tasks are in flight
--     r<period in s>=<level>,<ms>, t=<level>,<ms>    GCRA: the level in ms, and when it was that. It falls by one
--                                                    each ms; the sum is the theoretical arrival time
--     f=<tasks>                                      in flight
--     d<day>=<level>,<used>, b<day>=<level>,<used>   tokens used and reserved that day, by days since 1970; of
--                                                    these used. Kept until the next day has ended

local DAY_MS, SLACK = 86400000, 1e-5

-- Subjects by key, each with its meters by name; the time of the call.
local subjects, metered_at = {}, 0

-- Reads the meters of a subject. A foreign value counts as none.
local function subject_of(base, owner, name, at)
  local key = base .. 'meter:' .. owner .. ':' .. name
  local subject = subjects[key]
  if subject then return subject end
  subject, metered_at = { meters = {} }, at
  subjects[key] = subject
  local text, today = redis.pcall('GET', key), math.floor(at / DAY_MS)
  if type(text) ~= 'string' then return subject end
  for kind, number, level, second in string.gmatch(text, '(%l)(%d*)=([^ ,]+),?(%d*)') do
    local meter = { kind = kind, number = number, level = tonumber(level) }
    if kind == 'r' or kind == 't' then
      local since = tonumber(second) or at
      meter.level = math.max(0, meter.level - math.max(0, at - since))
      -- The clock went back: the level falls from now on, or it would stay until then.
      if since > at then subject.changed = true end
    elseif kind ~= 'f' then
      meter.used = tonumber(second)
      if math.abs(number - today) > 1 then meter.level = 0 end
    end
    if meter.level > 0 then subject.meters[kind .. number] = meter end
  end
  return subject
end

-- Returns a subject's meter; a daily one is that of its day.
local function meter_of(subject, kind, number)
  local meter = subject.meters[kind .. number]
  if not meter then
    meter = { kind = kind, number = number, level = 0, used = (kind == 'd' or kind == 'b') and 0 or nil }
    subject.meters[kind .. number] = meter
  end
  return meter
end

-- Parsed charges by their owner and text: usually all submits of a call have the same.
local charges = {}

-- Returns a charge: a list of limits, those of `rates` among them, and `settled`, the text that its tasks keep. `text`
-- is the number of images, the key that pays, and of each limit: its kind and period, the amount, and the subject, `@`
-- for the key.
local function charge_of(base, owner, text, at)
  local of_owner = charges[owner]
  if not of_owner then
    of_owner = {}
    charges[owner] = of_owner
  end
  local charge = of_owner[text]
  if charge then return charge end
  local today = int(math.floor(at / DAY_MS))
  local images, key, limits = string.match(text, '^(%d+) (%S+)(.*)$')
  charge = { rates = {} }
  local settled = ' ' .. images .. ' ' .. key .. ' ' .. today
  for kind, number, limit, name in string.gmatch(limits, ' (%l)(%d*) (%d+) (%S+)') do
    local subject, unit, capacity = subject_of(base, owner, name == '@' and key or name, at), 1, tonumber(limit)
    if kind == 'r' or kind == 't' then
      capacity = kind == 't' and 60000 or number * 1000
      unit = capacity / limit
    elseif kind ~= 'f' then
      number = today
    end
    -- `fixed` is the cost of a task where tokens don't count.
    local entry = { subject = subject, meter = meter_of(subject, kind, number), unit = unit,
      capacity = capacity + SLACK, fixed = (kind == 'r' or kind == 'f') and unit or nil }
    charge[#charge + 1] = entry
    if kind == 't' then charge.rates[#charge.rates + 1] = entry end
    if kind ~= 'r' then settled = settled .. ' ' .. kind .. ' ' .. limit .. ' ' .. name end
  end
  charge.settled = settled
  of_owner[text] = charge
  return charge
end

-- Returns whether all limits have room for a task that reserves `tokens`. If so, `pay` may follow.
local function has_room(charge, tokens)
  for i = 1, #charge do
    local limit = charge[i]
    local level = limit.meter.level + (limit.fixed or tokens * limit.unit)
    if level > limit.capacity then return false end
    limit.next = level
  end
  return true
end

-- Returns what the task keeps of its charge (lib/settle.lua), after `has_room`. `tokens` is a text.
local function receipt_of(charge, tokens, at)
  local rates = charge.rates
  if #rates == 0 then return tokens .. ' -' .. charge.settled end
  local arrivals = at + rates[1].next
  for i = 2, #rates do arrivals = arrivals .. ',' .. at + rates[i].next end
  return tokens .. ' ' .. arrivals .. charge.settled
end

-- Charges all limits what `has_room` found room for.
local function pay(charge)
  for i = 1, #charge do
    local limit = charge[i]
    limit.meter.level = limit.next
  end
  charge.is_paid = true
end

-- Returns the levels of all limits at the end of the call, each after a space; of daily ones also the tokens used.
local function levels_of(charge)
  if charge.levels then return charge.levels end
  local levels = ''
  for i = 1, #charge do
    local meter = charge[i].meter
    levels = levels .. ' ' .. meter.level .. (meter.used and ',' .. meter.used or '')
  end
  charge.levels = levels
  return levels
end

local function save_meters()
  local at = metered_at
  for _, of_owner in pairs(charges) do
    for _, charge in pairs(of_owner) do
      for i = 1, charge.is_paid and #charge or 0 do charge[i].subject.changed = true end
    end
  end
  for key, subject in pairs(subjects) do
    if subject.changed then
      local words, until_ms, is_held = {}, 0, false
      for name, meter in pairs(subject.meters) do
        if meter.level <= 0 then
          -- Nothing to keep.
        elseif meter.kind == 'f' then
          words[#words + 1] = 'f=' .. int(meter.level)
          is_held = true
        elseif meter.used then
          words[#words + 1] = name .. '=' .. int(meter.level) .. ',' .. int(meter.used)
          until_ms = math.max(until_ms, (meter.number + 2) * DAY_MS)
        else
          words[#words + 1] = string.format('%s=%.17g,%s', name, meter.level, int(at))
          until_ms = math.max(until_ms, at + meter.level)
        end
      end
      if #words == 0 then
        redis.call('DEL', key)
      elseif is_held then
        redis.call('SET', key, table.concat(words, ' '))
      else
        redis.call('SET', key, table.concat(words, ' '), 'EX', int(math.max(1, math.ceil((until_ms - at) / 1000))))
      end
    end
  end
end
saved[#saved + 1] = save_meters
