-- Functions that all scripts share. scripts.rs puts this file and the constants in capitals before each script,
-- and of the other files in lib/ those that it lists for a script: each function costs some 40 ns per call.
--
-- KEYS[1] is always the partition's base, the prefix and the tag, `qq:{0}:`. Keys that a script can only know after reading
-- (the hash of the task that a stream entry names, the stream that a task came from) are derived
-- from it here, so they carry the same hash tag and lie in the same slot. keys.rs builds the same
-- names for the Rust side.
--
-- A task is a hash until it ends; then the key holds a text (lib/ended.lua). A field without a value is
-- missing or empty:
--   record                         the immutable Task, as versioned JSON
--   notes                          its fields kept after its end, besides `about`, as versioned JSON
--   about                          its fields that scripts use: TTL in s, max_attempts, lane, tenant and
--                                  model; separated by colons
--   depth                          the depth that its submit returned
--   state attempt worker           its state; worker = holder of the latest delivery
--   fence                          `worker:attempt` of the current lease; empty while queued
--   returned                       the fence of the last release, to recognize a repeated release
--   failed cancel                  attempts that count as failed; 1 if cancellation was requested
--   failures                       the failures, one versioned JSON per line, the latest MAX_FAILURES
--   lost                           expired leases in a row
--   backoff                        its first backoff in ms, if it sets one
--   spent                          1 if its attempts are used up and a reaper holds it
--   told                           chunks of text that the current attempt has published; see events.lua
--   submitted started first        times in ms; first = of the first start, once it was requeued
--   place                          where it waits: `backlog`, `delayed`, or `stream`, then its entry there
--                                  and the number of entries up to it, separated by spaces. `none` if
--                                  nowhere. While it is processing: where it was when it was claimed
--   run_at expires idem            earliest start, latest start, the key of its repetitions
--   hook                           its webhook, as versioned JSON
--   charge                         what its end settles, if its submit was charged (lib/settle.lua)
--   dropped                        number of events dropped from its list

-- Returns the milliseconds on Redis' clock.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Formats a number as decimal digits, whatever its size.
local function int(number)
  number = number + 0
  if math.abs(number) < 2 ^ 53 then return string.format('%d', number) end -- four times as fast
  return string.format('%.0f', number)
end

local function task_key(base, id) return base .. 'task:' .. id end
-- Returns the key for the tenants of ended tasks. An id begins with the ms in which it was made; its first nine
-- hexadecimal digits identify a span of 4,096 ms.
local function gone_key(base, id)
  return base .. 'gone:' .. string.sub(id, 1, 8) .. string.sub(id, 10, 10)
end
local function stats_key(base, model) return base .. 'stats:' .. model end

-- Appends the fields of `more` to a list.
local function append(list, more)
  for _, item in ipairs(more) do list[#list + 1] = item end
  return list
end

