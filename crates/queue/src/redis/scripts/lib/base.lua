-- What all scripts share; scripts.rs puts it, and the constants in capitals, before each of them, and
-- of the other files in lib/ those that a script names: each function costs some 40 ns a call.
--
-- KEYS[1] is always the partition's base, `qq:{0}:`. Keys that a script can only know after reading
-- (the hash of the task that a stream entry names, the stream that a task came from) are derived
-- from it here, so they carry the same hash tag and lie in the same slot. keys.rs builds the same
-- names for the Rust side.
--
-- A task is a hash until it ends; then the key holds a text (lib/ended.lua). A field that says nothing is
-- missing or empty:
--   record                         the immutable Task, as versioned JSON
--   notes                          what is kept of it beyond its end, beside `about`, as versioned JSON
--   about                          what scripts need of it: TTL in s, max_attempts, lane, tenant and
--                                  model; colons between
--   depth                          the depth that its submit answered
--   state attempt worker           where it is; worker = holder of the latest delivery
--   fence                          `worker:attempt` of the current lease; empty while queued
--   returned                       the fence that released it last, to know a repeated release
--   failed cancel                  attempts that count as failed; 1 when a cancel was asked for
--   failures                       how they failed, one versioned JSON a line, the latest MAX_FAILURES
--   lost                           leases in a row that ran out
--   spent                          1 when its attempts are used up and a reaper holds it
--   told                           chunks of text that the current attempt has published; see events.lua
--   submitted started              instants in ms
--   place                          where it waits: `backlog`, `delayed`, or `stream`, then its entry there
--                                  and how many had entered with it, spaces between. `none` when nowhere.
--                                  While it is processing: where it was when it was claimed
--   run_at expires idem            not to be started before, to be started by, the key of its repetitions
--   hook                           its webhook, as versioned JSON
--   dropped                        how many events of its list are gone

-- Milliseconds on Redis' clock.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A number as decimal digits, whatever its size.
local function int(number)
  number = number + 0
  if math.abs(number) < 2 ^ 53 then return string.format('%d', number) end -- four times as fast
  return string.format('%.0f', number)
end

local function task_key(base, id) return base .. 'task:' .. id end
-- Where the tenants of ended tasks are kept: an id begins with the ms in which it was made, of which these
-- nine digits tell 4,096 apart.
local function gone_key(base, id)
  return base .. 'gone:' .. string.sub(id, 1, 8) .. string.sub(id, 10, 10)
end
local function stats_key(base, model) return base .. 'stats:' .. model end

-- Appends the fields of `more` to a list.
local function append(list, more)
  for _, item in ipairs(more) do list[#list + 1] = item end
  return list
end

