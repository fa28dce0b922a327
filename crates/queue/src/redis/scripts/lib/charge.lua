-- Checks and charges the limits of submits (lib/meters.lua).
--
-- Usually all tasks of a call have the same charge. So its room is measured once, each task is compared with that, and
-- the levels rise by the sum of all tasks when another charge needs them, or at the end.

-- The charge whose room is measured.
local measured

-- Adds to the levels what was charged since they were measured.
local function post()
  local charge = measured
  if not charge or charge.tasks == 0 then return end
  local tasks, tokens, of = charge.tasks, charge.tokens, charge.of
  for i = 1, #charge, 4 do
    local subject, place = of[charge[i]], charge[i + 1]
    local times = (place == REQUESTS or place == FLYING) and tasks or tokens
    subject[place] = subject[place] + charge[i + 2] * times
    subject.changed = true
  end
  charge.tasks, charge.tokens = 0, 0
end

-- Computes how many tasks and tokens fit into all limits, and the part of receipts that all tasks share.
local function measure(charge, at)
  post()
  measured = charge
  local tasks, tokens, of, arrivals = 2 ^ 53, 2 ^ 53, charge.of, {}
  for i = 1, #charge, 4 do
    local place = charge[i + 1]
    local level = of[charge[i]][place]
    local room = (charge[i + 3] - level) / charge[i + 2]
    if place == REQUESTS or place == FLYING then
      if room < tasks then tasks = room end
    else
      if room < tokens then tokens = room end
      if place == TOKENS then arrivals[#arrivals + 1] = at + level end
    end
  end
  charge.tasks_left, charge.tokens_left = tasks, tokens
  local count = #arrivals
  charge.kept = struct.pack('<dB' .. string.rep('d', count), math.floor(at / DAY_MS), count, unpack(arrivals))
    .. charge.text
end

-- Returns whether all limits have room for a task that reserves `tokens`. If so, `pay` may follow.
local function has_room(charge, tokens, at)
  if charge ~= measured then measure(charge, at) end
  if charge.tasks + 1 <= charge.tasks_left and charge.tokens + tokens <= charge.tokens_left then return true end
  -- The sums may have been rounded the other way.
  measure(charge, at)
  for i = 1, #charge, 4 do
    local place = charge[i + 1]
    local times = (place == REQUESTS or place == FLYING) and 1 or tokens
    if not (charge.of[charge[i]][place] + charge[i + 2] * times <= charge[i + 3]) then return false end
  end
  return true
end

-- Returns what the task keeps of its charge (lib/settle.lua), after `has_room`.
local function receipt_of(charge, tokens, images)
  return struct.pack('<ddH', tokens, charge.tokens + tokens, images) .. charge.kept
end

-- Charges all limits what `has_room` found room for.
local function pay(charge, tokens)
  charge.tasks, charge.tokens = charge.tasks + 1, charge.tokens + tokens
end

-- Returns the levels of all limits at the end of the call, each after a space; those of rates in ns. Of daily ones also
-- the tokens used.
local function levels_of(charge)
  if charge.levels then return charge.levels end
  post()
  local levels, format, of, count = {}, string.format, charge.of, 0
  for i = 1, #charge, 4 do
    local subject, place = of[charge[i]], charge[i + 1]
    local level = subject[place]
    count = count + 1
    if place >= DAILY then
      levels[count] = format(' %d,%d', level, subject[place + 1])
    else
      levels[count] = format(' %d', place == FLYING and level or level * 1e6 + 0.5)
    end
  end
  charge.levels = table.concat(levels)
  return charge.levels
end
