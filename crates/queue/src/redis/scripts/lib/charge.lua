-- Checks and charges the limits of submits (lib/meters.lua).

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
  local today = math.floor(at / DAY_MS)
  local images, key, limits = string.match(text, '^(%d+) (%S+)(.*)$')
  charge = { rates = {} }
  local settled = ' ' .. images .. ' ' .. key .. ' ' .. today
  for name, limit, whose in string.gmatch(limits, ' (%l%d*) (%d+) (%S+)') do
    local subject = subject_of(base, owner, whose == '@' and key or whose, at)
    local entry = { subject = subject, unit = 1, capacity = tonumber(limit) }
    if name == 'f' then
      entry.fixed, entry.meter = 1, meter_of(subject, name)
    elseif name == 't' then
      entry.unit, entry.capacity, entry.meter = 60000 / limit, 60000, meter_of(subject, name)
      charge.rates[#charge.rates + 1] = entry
    elseif name == 'd' or name == 'b' then
      entry.meter = meter_of(subject, name .. today, today)
    else
      entry.capacity, entry.meter = string.sub(name, 2) * 1000, meter_of(subject, name)
      entry.fixed = entry.capacity / limit -- the cost of a task: tokens don't count
    end
    entry.capacity = entry.capacity + SLACK
    charge[#charge + 1] = entry
    if not entry.fixed or name == 'f' then settled = settled .. ' ' .. name .. ' ' .. limit .. ' ' .. whose end
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
    if not (level <= limit.capacity) then return false end -- a limit of 0 has no level
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
  if charge.is_paid then return end
  charge.is_paid = true
  for i = 1, #charge do charge[i].subject.changed = true end
end

-- Returns the levels of all limits at the end of the call, each after a space; of daily ones also the tokens used.
-- With all digits, so that Rust finds the limit that has no room by the same numbers.
local function levels_of(charge)
  if charge.levels then return charge.levels end
  local levels = ''
  for i = 1, #charge do
    local meter = charge[i].meter
    levels = levels .. string.format(' %.17g', meter.level) .. (meter.day and ',' .. meter.used or '')
  end
  charge.levels = levels
  return levels
end
