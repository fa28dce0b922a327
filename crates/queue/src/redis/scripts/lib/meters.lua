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

local function save_meters()
  local at = metered_at
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
