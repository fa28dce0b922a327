-- workers: the reports of those that reported lately.
--
-- KEYS  1 base   2 workers   3 seen
-- Returns  {report…}

local ids = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. int(now_ms()), '+inf')
local reports = {}
for _, id in ipairs(ids) do
  local report = redis.call('HGET', KEYS[2], id)
  if report then reports[#reports + 1] = report end
end
return reports
