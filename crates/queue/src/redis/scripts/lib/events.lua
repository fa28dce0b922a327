-- A task's events. Events that follow from its other fields are not stored: the first, `queued`, from
-- `submitted`; the last, `ended`, from `finished` and `outcome`; and the latest attempt's `started`, as long as
-- `told` is missing or 0. The events between are a list, each `<ms> <body>`; its first entry is event
-- 2 + dropped. A body is versioned JSON, or for the most frequent events a short form (reply.rs):
-- `t<attempt> <text as JSON>` for a token, `s<attempt> <worker>` for a start.

-- Returns the `started` event that the list does not have, or nil. `task` has started, told, attempt and worker.
local function started_event(task)
  if (task.started or '') == '' or (task.told or '0') ~= '0' then return nil end
  return task.started .. ' s' .. task.attempt .. ' ' .. task.worker
end

-- Appends events to the list; beyond MAX_EVENTS the oldest are dropped, about a hundred at a time.
local function emit(base, id, events)
  local length
  for i = 1, #events, 1000 do -- Lua's stack has room for some thousands
    length = redis.call('RPUSH', events_key(base, id),
      unpack(events, i, math.min(i + 999, #events)))
  end
  if length >= MAX_EVENTS + 256 then
    redis.call('LTRIM', events_key(base, id), -MAX_EVENTS, -1)
    redis.call('HINCRBY', task_key(base, id), 'dropped', length - MAX_EVENTS)
  end
end

