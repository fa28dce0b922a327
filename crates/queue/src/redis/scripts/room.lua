-- room: checks whether a submit would be accepted now. Redis refuses this script before its first line for the
-- same reasons as `submit`: at `maxmemory`, on a read-only replica, after a failed save, with too few replicas.
--
-- KEYS  1 base
-- Returns  {room}

return { 'room' }
