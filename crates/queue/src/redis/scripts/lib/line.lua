-- How tasks stand in line, and get in and out. `task.queue` has its totals read (`read_totals`);
-- `counted` is its model's.

-- A tenant has at most this many tasks in a stream, but for those that come back to the queue; the
-- rest wait in its backlog. (line.rs says the same to the embedded queue.)
local WINDOW = 16

-- The steps that put a task somewhere answer its `place`, for its hash.

-- At the end of its lane's stream.
local function enter_stream(id, task, lane)
  local entry = redis.call('XADD', task.queue.stream, '*', 'id', id)
  lane.entered, lane.last, lane.changed = lane.entered + 1, entry, true
  task.spot, task.entry, task.ticket = 'stream', entry, lane.entered
  return string.format('stream %s %d', entry, lane.entered)
end

-- At the end of its lane: in the stream, or in its tenant's backlog when the tenant has its window
-- full. A task that comes `back` goes into the stream in any case.
local function join(id, task, back, counted)
  local queue = task.queue
  local lane = counted[queue.lane]
  lane.queued, lane.changed = lane.queued + 1, true
  if back or queue.share < WINDOW then
    if queue.share == 0 then lane.tenants = lane.tenants + 1 end
    queue.share = queue.share + 1
    return enter_stream(id, task, lane)
  end
  lane.joined = lane.joined + 1
  redis.call('ZADD', queue.backlog, int(lane.joined), id)
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
local function leave(base, id, task, counted)
  if task.spot == 'delayed' then
    redis.call('ZREM', base .. 'delayed', id)
    count(counted, 'delayed', -1)
    return
  elseif task.spot ~= 'stream' and task.spot ~= 'backlog' then
    return
  end
  local queue = task.queue
  local lane = counted[queue.lane]
  lane.queued, lane.changed = lane.queued - 1, true
  if task.spot == 'backlog' then
    redis.call('ZREM', queue.backlog, id)
    return
  end
  lane.left = lane.left + 1
  -- Nobody waits in a backlog while its window has room.
  local next = queue.share == WINDOW and redis.call('ZPOPMIN', queue.backlog)
  if next and next[1] then -- it takes the place of the one that leaves
    put(base, next[1], 'place', enter_stream(next[1], { queue = queue }, lane))
    return
  end
  queue.share = math.max(0, queue.share - 1)
  if queue.share == 0 then lane.tenants = lane.tenants - 1 end
end

