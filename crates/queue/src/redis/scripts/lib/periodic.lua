-- The state of a periodic task, in the hash `periodic`: `<revision> <id of the latest task, or -> <record>`.

-- Returns the revision of a state as text; '0' if there is none.
local function revision_of(state)
  return state and string.match(state, '^(%d+) ') or '0'
end

-- Returns the state after a step from a revision.
local function periodic(revision, id, record)
  return int(revision + 1) .. ' ' .. id .. ' ' .. record
end

