-- room: whether a submit would be taken now. Redis refuses this before its first line as it would refuse
-- `submit`: at `maxmemory`, on a read-only replica, after a failed save, with too few replicas.
--
-- KEYS  1 base
-- Returns  {room}

return { 'room' }
