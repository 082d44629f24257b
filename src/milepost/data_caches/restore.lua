-- Bring back what processes hold, or what the store has, of records that Redis has lost, or has as they were before.
--
-- KEYS: the hashes of the records. ARGV: generation, how many there are, from where (store or process); for each record its numbers, how many event
-- ids and how many rows it has; the ids; names and texts of the rows. Numbers that end with x are of a record that
-- was removed: whatever is here of that incarnation goes. The reply has for each record one of
--     1    it is back
--     0    what is here is as new, or newer; or it was removed
--     -1   it is lost: what is here is older, but commits have gone on from there since

local REMEMBERED_MS = 3600000 -- for how long a removal is remembered where no store follows

local replies = {}
local at = 4

local function write_removal(key, tag, place, numbers, life, here)
  local counter = here and match(here, '^%d+%.(%d+)')
  if counter then
    numbers = life .. '.' .. string.format('%.0f', counter + 1) .. ' 0 - - x'
  end
  redis.call('DEL', key, sibling(key, tag, 's'), sibling(key, tag, 'l'), sibling(key, tag, 'c'))
  redis.call('HSET', key, 'm', numbers)
  local name = sub(key, #tag + #ARGV[1] + 3)
  redis.call('ZREM', tag .. 't' .. ARGV[1], name)
  if place.followed then
    redis.call('ZADD', tag .. 'u' .. ARGV[1], 0, name)
  else
    redis.call('PEXPIRE', key, REMEMBERED_MS)
  end
end

local function write(key, tag, place, numbers, first, ids, after)
  redis.call('DEL', key, sibling(key, tag, 's'), sibling(key, tag, 'l'), sibling(key, tag, 'c'))
  local fields, seen, name = { 'm', numbers }, {}, sub(key, #tag + #ARGV[1] + 3)
  for i = first, first + ids - 1 do
    seen[#seen + 1] = ARGV[i]
  end
  for i = first + ids, after - 1, 2 do
    fields[#fields + 1] = 'r' .. ARGV[i]
    fields[#fields + 1] = ARGV[i + 1]
  end
  local counter, deadline = match(numbers, '^%d+%.(%d+) %S+ (%S+)')
  if #fields > 2 * INDEXED + 2 then
    fields[#fields + 1] = 'f'
    fields[#fields + 1] = counter
  end
  in_pieces('HSET', key, fields)
  if ids > 0 then
    in_pieces('RPUSH', sibling(key, tag, 's'), seen)
  end
  if deadline == '-' then
    redis.call('ZREM', tag .. 't' .. ARGV[1], name)
  else
    redis.call('ZADD', tag .. 't' .. ARGV[1], deadline, name)
  end
  if counter == match(numbers, '%S+$') then
    redis.call('ZREM', tag .. 'u' .. ARGV[1], name)
  elseif place.followed then
    redis.call('ZADD', tag .. 'u' .. ARGV[1], 0, name)
  end
end

-- Whether what is here may be replaced: nothing was committed to it since the loss, and nobody has found it as new.
local function may_replace(place, tag, name)
  local unsure, committed = doubts(place, tag, name)
  if ARGV[3] == 'store' then
    return unsure
  end
  return is_healing(place) or (place.followed and place.healing and not committed)
end

for n = 1, tonumber(ARGV[2]) do
  local key = KEYS[n]
  local tag = tag_of(key)
  local place = partition(tag)
  local numbers, ids, rows = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local first = at + 3
  at = first + ids + 2 * rows
  replies[n] = 0
  if place.epoch and place.generation == ARGV[1] then
    local here = redis.call('HGET', key, 'm')
    local life, counter = match(numbers, '^(%d+)%.(%d+)')
    local older = not here
    local removal = sub(numbers, -1) == 'x'
    if here then
      local life_here, counter_here, removed = match(here, '^(%d+)%.(%d+) %S+ %S+ %S+(.*)$')
      older = above(life, life_here)
        or (life == life_here and removed == '' and (removal or above(counter, counter_here)))
    end
    local name = sub(key, #tag + #ARGV[1] + 3)
    if older and (not here or may_replace(place, tag, name)) then
      if removal then
        write_removal(key, tag, place, numbers, life, here)
      else
        write(key, tag, place, numbers, first, ids, at)
      end
      replies[n] = 1
    elseif older then
      replies[n] = -1
    end
    if ARGV[3] == 'store' and doubts(place, tag, name) then
      be_sure(place, tag, name, '')
    end
  end
end
return replies
