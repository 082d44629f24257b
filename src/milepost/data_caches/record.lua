-- What the scripts share; it is put before each of them. How a record lies in Redis:
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

-- The state of a partition: epoch (false where it is lost), generation, whether a store follows, evictions.
local function partition(tag)
  local known = partitions[tag]
  if not known then
    local state = redis.call('HMGET', tag .. 'e', 'epoch', 'generation', 'followed', 'evictions', 'healing')
    known = { epoch = state[1], generation = state[2], followed = state[3] == '1', evictions = state[4] or '0' }
    known.healing = state[5]
    partitions[tag] = known
  end
  return known
end

local function milliseconds()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- For how many milliseconds records are still brought back after a loss, and commits wait; nil where they do not.
local function is_healing(place)
  local left = place.healing and tonumber(place.healing) - milliseconds()
  return left and left > 0 and left or nil
end

-- Whether one whole number is above another, both as text.
local function above(one, other)
  if #one ~= #other then
    return #one > #other
  end
  return one > other
end

-- Call a command with a list of arguments of any length.
local function in_pieces(name, key, list)
  for first = 1, #list, AT_ONCE do
    redis.call(name, key, unpack(list, first, math.min(first + AT_ONCE - 1, #list)))
  end
end

local function all_rows(key)
  local rows = {}
  local fields = redis.call('HGETALL', key)
  for n = 1, #fields, 2 do
    if sub(fields[n], 1, 1) == 'r' then
      rows[#rows + 1] = sub(fields[n], 2)
      rows[#rows + 1] = fields[n + 1]
    end
  end
  return rows
end

-- The rows that were changed after a counter, and the names of those that were dropped.
local function rows_since(key, tag, counter)
  local rows, drops = {}, {}
  local names = redis.call('ZRANGEBYSCORE', sibling(key, tag, 'l'), '(' .. counter, '+inf')
  for first = 1, #names, AT_ONCE do
    local fields = {}
    for n = first, math.min(first + AT_ONCE - 1, #names) do
      fields[#fields + 1] = 'r' .. names[n]
    end
    local texts = redis.call('HMGET', key, unpack(fields))
    for n = 1, #fields do
      if texts[n] then
        rows[#rows + 1] = names[first + n - 1]
        rows[#rows + 1] = texts[n]
      else
        drops[#drops + 1] = names[first + n - 1]
      end
    end
  end
  return rows, drops
end

-- Everything of a record, or what changed in it since a counter: { kind, numbers, event ids, rows, drops };
-- kind is w for whole, s for since, l for too large to read in one step.
local function read(key, tag, numbers, floor, since, most)
  local seen = redis.call('LRANGE', sibling(key, tag, 's'), 0, -1)
  if since and floor and not above(floor, since) then
    local rows, drops = rows_since(key, tag, since)
    return { 's', numbers, seen, rows, drops }
  end
  if redis.call('HLEN', key) > most then
    return { 'l', numbers }
  end
  return { 'w', numbers, seen, all_rows(key) }
end
