-- The positions of tasks in their lanes: how they enter and leave. `task.queue` has its totals read
-- (`read_totals`); `counted` has the counters of its model.

-- The tasks to add to backlogs, by key: the count of tasks that joined including this one, id, alternating.
local arriving = {}
-- Queues whose window was full and has room now.
local short = {}

-- Adds the arriving tasks, each backlog with one command.
local function arrive()
  for key, tasks in pairs(arriving) do
    arriving[key] = nil
    redis.call('ZADD', key, unpack(tasks))
  end
end

-- Adds a number of a queue's tasks to the count of its stream; negative to subtract.
local function count_in_stream(queue, lane, by)
  local was = queue.share
  queue.share = math.max(0, was + by)
  if was == 0 and queue.share > 0 then
    lane.tenants = lane.tenants + 1
  elseif was > 0 and queue.share == 0 then
    lane.tenants = lane.tenants - 1
  end
  -- No task waits in a backlog while its window has room.
  if was >= WINDOW and queue.share < WINDOW and not queue.short then
    queue.short = true
    short[#short + 1] = queue
  end
end

-- The steps that place a task return its `place`, for its hash.

-- Appends the task to its lane's stream.
local function enter_stream(queue, lane, id)
  local entry = redis.call('XADD', queue.stream, '*', 'id', id)
  lane.entered, lane.last, lane.changed = lane.entered + 1, entry, true
  count_in_stream(queue, lane, 1)
  return string.format('stream %s %d', entry, lane.entered)
end

-- Moves the next tasks of backlogs into the places that others left.
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

-- Appends the task to its lane: to the stream, or to its tenant's backlog if the tenant's window is full.
-- A requeued task (`back`) always goes to the stream.
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
  index(base, 'live', queue, id)
  return place
end

-- Delays the task until its time has come.
local function delay(base, id, task, run_at, counted)
  redis.call('ZADD', base .. 'delayed', int(run_at), id)
  count(counted, 'delayed', 1)
  index(base, 'delayed', task.queue, id)
  task.spot = 'delayed'
  return 'delayed'
end

-- Subtracts a task of a queue from the count of its lane's stream.
local function count_out(queue, lane)
  lane.queued, lane.left, lane.changed = lane.queued - 1, lane.left + 1, true
  count_in_stream(queue, lane, -1)
end

-- Removes a task from where it waits. The caller must change its `place`.
local function leave(base, id, task, counted)
  local queue = task.queue
  local lane = counted[queue.lane]
  if task.spot == 'delayed' then
    redis.call('ZREM', base .. 'delayed', id)
    count(counted, 'delayed', -1)
    unindex(base, 'delayed', queue, id)
  elseif task.spot == 'backlog' then
    arrive()
    redis.call('ZREM', queue.backlog, id)
    lane.queued, lane.changed = lane.queued - 1, true
  elseif task.spot == 'stream' then
    redis.call('XDEL', queue.stream, task.entry)
    count_out(queue, lane)
  end
end
