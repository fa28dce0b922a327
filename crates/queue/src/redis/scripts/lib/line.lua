-- How tasks stand in line, and get in and out. A line and a backlog are sorted sets, by ticket: how many
-- had entered with it. `task.queue` has its totals read (`read_totals`); `counted` is its model's.

-- A tenant has at most this many tasks in a line, but for those that come back to the queue; the
-- rest wait in its backlog. (line.rs says the same to the embedded queue.)
local WINDOW = 16

-- What is to be added to lines and backlogs, by key: ticket, id, one after the other.
local arriving = {}
-- Queues whose window was full and has room now.
local short = {}

-- Adds what arrives, each line in one go.
local function arrive()
  for key, entries in pairs(arriving) do
    arriving[key] = nil
    redis.call('ZADD', key, unpack(entries))
  end
end

local function add(key, ticket, id)
  local entries = arriving[key]
  if not entries then
    entries = {}
    arriving[key] = entries
  end
  entries[#entries + 1] = ticket
  entries[#entries + 1] = id
end

-- Counts so many tasks of a queue into its lane's line, or out of it.
local function count_in_line(queue, lane, by)
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

-- At the end of its lane's line.
local function enter(queue, lane, id)
  lane.entered, lane.changed = lane.entered + 1, true
  add(queue.line, lane.entered, id)
  count_in_line(queue, lane, 1)
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
      for nth = 1, #next, 2 do enter(queue, lane, next[nth]) end
    end
  end
end

-- At the end of its lane: in the line, or in its tenant's backlog when the tenant has its window
-- full. A task that comes `back` goes into the line in any case.
local function join(base, id, task, back, counted)
  local queue = task.queue
  local lane = counted[queue.lane]
  if queue.short then refill(base) end
  lane.queued, lane.changed = lane.queued + 1, true
  if back or queue.share < WINDOW then
    enter(queue, lane, id)
    lane.came = true
    task.spot = 'line'
    return
  end
  queue.behind = (queue.behind or redis.call('ZCARD', queue.backlog)) + 1
  lane.joined = lane.joined + 1
  add(queue.backlog, lane.joined, id)
  task.spot = 'backlog'
end

-- Aside, until its time has come.
local function delay(base, id, task, run_at, counted)
  redis.call('ZADD', base .. 'delayed', int(run_at), id)
  count(counted, 'delayed', 1)
  task.spot = 'delayed'
end

-- Counts a task out of its lane's line.
local function count_out(queue, lane)
  lane.queued, lane.left, lane.changed = lane.queued - 1, lane.left + 1, true
  if queue then count_in_line(queue, lane, -1) end
end

-- Takes a task from where it waits.
local function leave(base, id, task, counted)
  local queue = task.queue
  local lane = counted[queue.lane]
  arrive()
  if redis.call('ZREM', queue.line, id) == 1 then
    count_out(queue, lane)
  elseif redis.call('ZREM', queue.backlog, id) == 1 then
    lane.queued, lane.changed = lane.queued - 1, true
  elseif redis.call('ZREM', base .. 'delayed', id) == 1 then
    count(counted, 'delayed', -1)
  end
end
