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
  for name, level, second in string.gmatch(text, '(%l%d*)=([^ ,]+),?(%d*)') do
    local meter, kind = { level = tonumber(level) }, string.sub(name, 1, 1)
    if kind == 'd' or kind == 'b' then
      meter.day, meter.used = tonumber(string.sub(name, 2)), tonumber(second)
      if math.abs(meter.day - today) > 1 then meter.level = 0 end
    elseif name ~= 'f' then
      local passed = at - second
      if passed > 0 then
        meter.level = math.max(0, meter.level - passed)
      elseif passed < 0 then
        subject.changed = true -- the clock went back: the level falls from now on, or it would stay until then
      end
    end
    if meter.level > 0 then subject.meters[name] = meter end
  end
  return subject
end

-- Returns a subject's meter by its name; a daily one is that of its `day`.
local function meter_of(subject, name, day)
  local meter = subject.meters[name]
  if not meter then
    meter = { level = 0, day = day, used = day and 0 }
    subject.meters[name] = meter
  end
  return meter
end

local function save_meters()
  local at = metered_at
  for key, subject in pairs(subjects) do
    if subject.changed then
      local words, until_ms, is_held = {}, 0, false
      for name, meter in pairs(subject.meters) do
        if meter.level <= 0 then
          -- Nothing to keep.
        elseif name == 'f' then
          words[#words + 1] = 'f=' .. meter.level
          is_held = true
        elseif meter.day then
          words[#words + 1] = name .. '=' .. meter.level .. ',' .. meter.used
          until_ms = math.max(until_ms, (meter.day + 2) * DAY_MS)
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
