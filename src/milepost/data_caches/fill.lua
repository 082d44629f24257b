-- Put records here that were read from the store, unless they were overtaken meanwhile.
--
-- KEYS: the hashes of the records. ARGV: generation, how many there are; for each record the evictions that load.lua
-- told of, its numbers, how many event ids and how many rows it has; the ids; names and texts of the rows.
-- The reply has for each record 1 where it is here now; 0 where it has to be looked at again.

local replies = {}
local at = 3
for n = 1, tonumber(ARGV[2]) do
  local key = KEYS[n]
  local tag = tag_of(key)
  local place = partition(tag)
  local evictions, numbers, ids, rows = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local first = at + 4
  at = first + ids + 2 * rows
  replies[n] = 0
  if place.generation == ARGV[1] and place.evictions == evictions and redis.call('EXISTS', key) == 0 then
    local fields, seen = { 'm', numbers }, {}
    for i = first, first + ids - 1 do
      seen[#seen + 1] = ARGV[i]
    end
    for i = first + ids, at - 1, 2 do
      fields[#fields + 1] = 'r' .. ARGV[i]
      fields[#fields + 1] = ARGV[i + 1]
    end
    local counter, deadline = match(numbers, '^%d+%.(%d+) %S+ (%S+)')
    if place.healing then
      redis.call('DEL', sibling(key, tag, 'c')) -- ids of commits before a loss say nothing of those that were lost
      be_sure(place, tag, sub(key, #tag + #ARGV[1] + 3), '')
    end
    if rows > INDEXED then
      fields[#fields + 1] = 'f'
      fields[#fields + 1] = counter
    end
    in_pieces('HSET', key, fields)
    if ids > 0 then
      in_pieces('RPUSH', sibling(key, tag, 's'), seen)
    end
    if deadline ~= '-' then
      redis.call('ZADD', tag .. 't' .. ARGV[1], deadline, sub(key, #tag + #ARGV[1] + 3))
    end
    replies[n] = 1
  end
end
return replies
