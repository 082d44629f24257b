-- How a record lies in Redis, what its parts are called, and the state of a partition; put before every script.
--
-- {tag}r<generation>:<key>   a hash
--     m      "<incarnation>.<counter> <serial> <deadline or -> <saved>[ x]"; saved is the counter that the
--            store has confirmed, or -; x marks a removed record, of which nothing but this and c is left
--     c      ids of its last commits, 8 bytes each
--     f      where there are many rows: from which counter on the log below is complete
--     r...   the row of that name
-- {tag}s<generation>:<key>   a list: event ids, the newest last
-- {tag}c<generation>:<key>   a list of what was moved out of c, for a while
-- {tag}l<generation>:<key>   a sorted set: at which counter a row was changed or dropped
-- {tag}k<generation>          a hash, only while records are in doubt after a loss: which of them are as new as in the
--                            store, or were begun since, by the doubt's number; c after it: committed on since
--
-- Scripts are told the records' hashes; all other keys share the hash tag of one of them, and so its slot. On a
-- cluster they are named in KEYS too, so that a script is turned away while its slot is moved to another node.
-- Incarnations, epochs and counters are compared as text: Lua's numbers end at 2^53.

local INDEXED = 64      -- with more rows than this, changes are logged
local LOGGED = 4096     -- how many changed rows the log names
local IDS = 64          -- bytes of commit ids in the hash
local SPILLED = 256     -- entries of moved commit ids
local AT_ONCE = 2000    -- arguments that a call is given

local match, sub, find = string.match, string.sub, string.find

local function tag_of(key)
  return match(key, '^{[^}]*}')
end

local function sibling(key, tag, kind)
  return tag .. kind .. sub(key, #tag + 2)
end

local partitions = {}

-- The state of a partition: epoch (false where it is lost), generation, whether a store follows, evictions. After a
-- loss also until when commits wait, and the number of the doubt: every record that is here may be older than what
-- the store has, until it has been compared with that.
local function partition(tag)
  local known = partitions[tag]
  if not known then
    local state = redis.call('HMGET', tag .. 'e', 'epoch', 'generation', 'followed', 'evictions', 'healing')
    known = { epoch = state[1], generation = state[2], followed = state[3] == '1', evictions = state[4] or '0' }
    known.healing = state[5]
    if known.healing then
      known.heals_until, known.doubt = match(known.healing, '^(%d+) (%d+)$')
    end
    partitions[tag] = known
  end
  return known
end
