-- How tasks stand in line, and get in and out. `task.queue` has its totals read (`read_totals`);
-- `counted` is its model's.

-- A tenant has at most this many tasks in a stream, but for those that come back to the queue; the
-- rest wait in its backlog. (line.rs says the same to the embedded queue.)
local WINDOW = 16

-- What is to be added to backlogs, by key: how many had joined with it, id, one after the other.
local arriving = {}
-- Queues whose window was full and has room now.
local short = {}

-- Adds what arrives, each backlog in one go.
local function arrive()
  for key, tasks in pairs(arriving) do
    arriving[key] = nil
    redis.call('ZADD', key, unpack(tasks))
  end
end

-- Counts so many tasks of a queue into its stream, or out of it.
local function count_in_stream(queue, lane, by)
  local was = queue.share
  queue.share = math.max(0, was + by)
  if was == 0 and queue.share > 0 then
    lane.tenants = lane.tenants + 1
  elseif was > 0 and queue.share == 0 then
    lane.tenants = lane.tenants - 1
  end
  -- Nobody waits in a backlog while its window has room.
  if was >= WINDOW and queue.share < WINDOW and not queue.short then
    queue.short = true
    short[#short + 1] = queue
  end
end

-- The steps that put a task somewhere answer its `place`, for its hash.

-- At the end of its lane's stream.
local function enter_stream(queue, lane, id)
  local entry = redis.call('XADD', queue.stream, '*', 'id', id)
  lane.entered, lane.last, lane.changed = lane.entered + 1, entry, true
  count_in_stream(queue, lane, 1)
  return string.format('stream %s %d', entry, lane.entered)
end

-- Lets the next ones of backlogs into the places that others left.
local function refill(base)
  if #short == 0 then return end
  arrive()
  for i, queue in ipairs(short) do
    short[i], queue.short, queue.behind = nil, nil, nil
    if queue.share < WINDOW then
      local lane = counters(base, queue.model)[queue.lane]
      local next = redis.call('ZPOPMIN', queue.backlog, WINDOW - queue.share)
      for nth = 1, #next, 2 do
        put(base, next[nth], 'place', enter_stream(queue, lane, next[nth]))
      end
    end
  end
end

-- At the end of its lane: in the stream, or in its tenant's backlog when the tenant has its window
-- full. A task that comes `back` goes into the stream in any case.
local function join(base, id, task, back, counted)
  local queue = task.queue
  local lane = counted[queue.lane]
  if queue.short then refill(base) end
  local place = 'backlog'
  if back or queue.share < WINDOW then
    place = enter_stream(queue, lane, id)
    task.spot, task.ticket = 'stream', lane.entered
  else
    queue.behind = (queue.behind or redis.call('ZCARD', queue.backlog)) + 1
    lane.joined = lane.joined + 1
    local tasks = arriving[queue.backlog] or {}
    tasks[#tasks + 1] = lane.joined
    tasks[#tasks + 1] = id
    arriving[queue.backlog] = tasks
    task.spot, task.rank = 'backlog', queue.behind - 1
  end
  lane.queued, lane.changed = lane.queued + 1, true
  return place
end

-- Aside, until its time has come.
local function delay(base, id, task, run_at, counted)
  redis.call('ZADD', base .. 'delayed', int(run_at), id)
  count(counted, 'delayed', 1)
  task.spot = 'delayed'
  return 'delayed'
end

-- Counts a task of a queue out of its lane's stream.
local function count_out(queue, lane)
  lane.queued, lane.left, lane.changed = lane.queued - 1, lane.left + 1, true
  count_in_stream(queue, lane, -1)
end

-- Takes a task from where it waits. Its `place` is the caller's to change.
local function leave(base, id, task, counted)
  local queue = task.queue
  local lane = counted[queue.lane]
  if task.spot == 'delayed' then
    redis.call('ZREM', base .. 'delayed', id)
    count(counted, 'delayed', -1)
  elseif task.spot == 'backlog' then
    arrive()
    redis.call('ZREM', queue.backlog, id)
    lane.queued, lane.changed = lane.queued - 1, true
  elseif task.spot == 'stream' then
    redis.call('XDEL', queue.stream, task.entry)
    count_out(queue, lane)
  end
end
