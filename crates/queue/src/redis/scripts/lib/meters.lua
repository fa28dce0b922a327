-- Meters: limits that submits are charged against (meters.rs has the arithmetic), and the charges that name them. All
-- meters of a subject are one value, which a script reads once, changes in memory, and writes once, by `save`:
--
--   meter:<owner>:<subject>  nine doubles, little-endian, in the order of the constants below. TTL until all of every
--                            limit is left again; none while tasks are in flight
--
-- The levels of rates (GCRA) are in ms and fall by one each ms; the time plus the level is the theoretical arrival
-- time. Daily levels are tokens used and reserved on the day (of days since 1970), with those used apart.
--
-- A charge is a text (redis/charge.rs): the key that pays, and the subjects, each after a space; `|`; and of each limit
-- 18 bytes: number of the subject, place of its level, cost of a task or token, capacity.

local REQUESTS, TOKENS, RATED_AT, FLYING, DAY, DAILY, DAILY_USED, BATCH, BATCH_USED = 1, 2, 3, 4, 5, 6, 7, 8, 9
local METERS, METERS_BYTES, LIMIT, LIMIT_BYTES, DAY_MS = '<ddddddddd', 72, 'BBdd', 18, 86400000

-- Subjects by key, and all of them in a list; charges by their owner and text.
local subjects, all_subjects, charges = {}, {}, {}

-- Returns the meters of a stored text, as they are now. A foreign value counts as none.
local function meters_of(text, at)
  local today = math.floor(at / DAY_MS)
  if not text or #text ~= METERS_BYTES then return { 0, 0, at, 0, today, 0, 0, 0, 0 } end
  local subject = { struct.unpack(METERS, text) }
  local passed = at - subject[RATED_AT]
  if passed ~= 0 then
    -- If the clock went back, the levels fall from now on, or they would stay until then.
    if passed < 0 then passed, subject.changed = 0, true end
    local requests, tokens = subject[REQUESTS] - passed, subject[TOKENS] - passed
    subject[REQUESTS], subject[TOKENS] = requests > 0 and requests or 0, tokens > 0 and tokens or 0
    subject[RATED_AT] = at
  end
  if subject[DAY] ~= today then
    subject[DAY], subject[DAILY], subject[DAILY_USED], subject[BATCH], subject[BATCH_USED] = today, 0, 0, 0, 0
  end
  return subject
end

-- Returns the subjects of `names`, in their order. `names` has a space before each.
local function read_subjects(base, owner, names, at)
  local found, prefix = {}, base .. 'meter:' .. owner .. ':'
  for name in string.gmatch(names, '%S+') do
    local key = prefix .. name
    local subject = subjects[key]
    if not subject then
      local text = redis.pcall('GET', key)
      subject = meters_of(type(text) == 'string' and text, at)
      subject.key = key
      subjects[key], all_subjects[#all_subjects + 1] = subject, subject
    end
    found[#found + 1] = subject
  end
  return found
end

-- Returns a charge: a flat list of its limits, four values each as in the text; `of`, the subjects; and `key`.
-- `tasks` and `tokens` are used by lib/charge.lua.
local function charge_of(base, owner, text, at)
  local of_owner = charges[owner]
  if not of_owner then
    of_owner = {}
    charges[owner] = of_owner
  end
  local charge = of_owner[text]
  if charge then return charge end
  local key, names, first = string.match(text, '^(%S+)([^|]*)|()')
  local count = (#text - first + 1) / LIMIT_BYTES
  if count > 0 then
    charge = { struct.unpack('<' .. string.rep(LIMIT, count), text, first) }
    charge[#charge] = nil -- the position behind the text
    charge.of = read_subjects(base, owner, names, at)
  else
    charge = {}
  end
  charge.key, charge.text, charge.tasks, charge.tokens = key, text, 0, 0
  of_owner[text] = charge
  return charge
end

local function save_meters()
  for _, subject in ipairs(all_subjects) do
    if subject.changed then
      local at, longest = subject[RATED_AT], math.max(subject[REQUESTS], subject[TOKENS])
      if subject[DAILY] > 0 or subject[BATCH] > 0 then longest = (subject[DAY] + 2) * DAY_MS - at end
      local text = struct.pack(METERS, unpack(subject))
      if subject[FLYING] > 0 then
        redis.call('SET', subject.key, text)
      elseif longest > 0 then
        redis.call('SET', subject.key, text, 'EX', int(math.ceil(longest / 1000)))
      else
        redis.call('DEL', subject.key)
      end
    end
  end
end
saved[#saved + 1] = save_meters
