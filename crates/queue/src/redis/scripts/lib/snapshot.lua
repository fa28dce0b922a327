-- What makes a snapshot, in the order in which reply.rs reads it.
local SNAPSHOT = { 'record', 'state', 'attempt', 'worker', 'cancel', 'submitted', 'started',
  'finished', 'outcome', 'run_at', 'expires' }

