-- unlogged: assigns tasks whose log lines are due to the caller for a span. Removes those whose lines the
-- caller has written since.
--
-- KEYS  1 base   2 unlogged   3 their texts
-- ARGV  1 span in ms   2 maximum number of tasks   3… ids of tasks whose lines are written
-- Returns  for each task {id, ms since the end if a line may have been written before, else empty, and the
--           fields of SNAPSHOT in lib/snapshot.lua…}

local base, at, reply = KEYS[1], now_ms(), {}

local written = {}
for i = 3, #ARGV do written[#written + 1] = ARGV[i] end
note_logged(base, written)

local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', int(at), 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for i = 1, #due, 2 do
  local id = due[i]
  local task = read_ended(base, id) or ended_of(redis.call('HGET', KEYS[3], id))
  if task then
    redis.call('ZADD', KEYS[2], int(at + ARGV[1]), id)
    -- A line that no process had before has been due since the task's end.
    local fresh = tonumber(due[i + 1]) == tonumber(task.finished)
    append_snapshot(append(reply, { id, fresh and '' or int(math.max(0, at - task.finished)) }), task)
  else
    redis.call('ZREM', KEYS[2], id) -- its outcome has expired
  end
end
return reply
