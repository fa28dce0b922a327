-- set_paused: pauses or resumes handing out a model's tasks.
--
-- KEYS  1 base   2 models
-- ARGV  1 model   2 1 to pause, 0 to resume
-- Returns  {set}

redis.call('SADD', KEYS[2], ARGV[1])
redis.call('HSET', stats_key(KEYS[1], ARGV[1]), 'paused', ARGV[2])
return { 'set' }
