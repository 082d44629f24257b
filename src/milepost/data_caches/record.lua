-- What the scripts share that work on whole records; put before each of them.

local function milliseconds()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- For how many milliseconds records are still brought back after a loss, and commits wait; nil where they do not.
local function is_healing(place)
  local left = place.healing and tonumber(place.heals_until) - milliseconds()
  return left and left > 0 and left or nil
end

-- Whether the store may have something newer than a record that is here; and whether that was committed on since a loss.
local function doubts(place, tag, name)
  if not place.healing or not place.followed then
    return false, false
  end
  local known = redis.call('HGET', tag .. 'k' .. place.generation, name)
  local sure = known and match(known, '^%d+') == place.doubt
  return not sure, sure and sub(known, -1) == 'c'
end

local function be_sure(place, tag, name, how)
  if place.healing and place.followed then
    redis.call('HSET', tag .. 'k' .. place.generation, name, place.doubt .. how)
  end
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
