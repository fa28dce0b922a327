-- How tasks stand in line, and get in and out. `counted` is from `counters`, `totals` from `totals_of`;
-- saving them is the caller's.

-- A tenant has at most this many tasks in a stream, but for those that come back to the queue; the
-- rest wait in its backlog. (line.rs says the same to the embedded queue.)
local WINDOW = 16

-- A tenant's tasks behind its window.
local function backlog_key(base, task)
  return base .. 'backlog:' .. task.lane .. ':' .. task.tenant .. ':' .. task.model
end

-- The steps that put a task somewhere answer its `place`, for its hash.

-- At the end of its lane's stream.
local function enter_stream(base, id, task, lane)
  local entry = redis.call('XADD', queue_key(base, task.lane, task.model), '*', 'id', id)
  lane.entered = lane.entered + 1
  task.spot, task.entry, task.ticket = 'stream', entry, lane.entered
  return string.format('stream %s %d', entry, lane.entered)
end

-- At the end of its lane: in the stream, or in its tenant's backlog when the tenant has its window
-- full. A task that comes `back` goes into the stream in any case.
local function join(base, id, task, back, counted, totals)
  local lane = line(counted, task.lane)
  lane.queued = lane.queued + 1
  if back or totals.share < WINDOW then
    if totals.share == 0 then lane.tenants = lane.tenants + 1 end
    totals.share = totals.share + 1
    return enter_stream(base, id, task, lane)
  end
  lane.joined = lane.joined + 1
  redis.call('ZADD', backlog_key(base, task), int(lane.joined), id)
  task.spot, task.entry = 'backlog', nil
  return 'backlog'
end

-- Aside, until its time has come.
local function delay(base, id, task, run_at, counted)
  redis.call('ZADD', base .. 'delayed', int(run_at), id)
  count(counted, 'delayed', 1)
  task.spot, task.entry = 'delayed', nil
  return 'delayed'
end

-- Takes a task from where it waits, and lets the next of its tenant's backlog into the stream. Its
-- entry, if any, stays, and its `place` is the caller's to change.
local function leave(base, id, task, counted, totals)
  if task.spot == 'delayed' then
    redis.call('ZREM', base .. 'delayed', id)
    count(counted, 'delayed', -1)
    return
  elseif task.spot ~= 'stream' and task.spot ~= 'backlog' then
    return
  end
  local lane = line(counted, task.lane)
  lane.queued = lane.queued - 1
  if task.spot == 'backlog' then
    redis.call('ZREM', backlog_key(base, task), id)
    return
  end
  lane.left = lane.left + 1
  -- Nobody waits in a backlog while its window has room.
  local next = totals.share == WINDOW and redis.call('ZPOPMIN', backlog_key(base, task))
  if next and next[1] then -- it takes the place of the one that leaves
    local follower = { lane = task.lane, model = task.model }
    put(base, next[1], 'place', enter_stream(base, next[1], follower, lane))
    return
  end
  totals.share = math.max(0, totals.share - 1)
  if totals.share == 0 then lane.tenants = lane.tenants - 1 end
end

