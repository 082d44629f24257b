-- Compare records that are in doubt after a loss with where the store has them.
--
-- KEYS: the hashes of the records. ARGV: generation, how many there are, for how many milliseconds a removal is
-- remembered, 1 where the store is the one that followed before the loss; for each record the revision that the store
-- has; with x after it where it was removed there; or - where the store knows nothing of it. The reply has for each
--     1    it is as new as the store's, or not here
--     2    it was removed since, and is gone now
--     0    the store has something newer, which has to be brought

local replies = {}

local function remove(key, tag, place, name, standing, saved)
  redis.call('DEL', key, sibling(key, tag, 's'), sibling(key, tag, 'l'), sibling(key, tag, 'c'))
  redis.call('HSET', key, 'm', standing .. ' 0 - ' .. saved .. ' x')
  redis.call('ZREM', tag .. 't' .. ARGV[1], name)
  if saved == '-' then
    redis.call('ZADD', tag .. 'u' .. ARGV[1], 0, name)
  else
    redis.call('ZREM', tag .. 'u' .. ARGV[1], name)
    redis.call('PEXPIRE', key, ARGV[3])
  end
end

-- Have a record saved whole that the store has as it was before, or not at all.
local function save_whole(key, tag, name, numbers, saved)
  if saved ~= '-' then
    local head, tail = match(numbers, '^(%S+ %S+ %S+) %S+(.*)$')
    redis.call('HSET', key, 'm', head .. ' -' .. tail)
    redis.call('PERSIST', key)
    redis.call('ZADD', tag .. 'u' .. ARGV[1], 0, name)
  end
end

local function compare(key, tag, place, name, stored)
  local numbers = redis.call('HGET', key, 'm')
  if not numbers then
    return 1
  end
  local life, counter, saved, removed = match(numbers, '^(%d+)%.(%d+) %S+ %S+ (%S+)(.*)$')
  if stored == '-' then
    if saved ~= '-' and removed == '' and ARGV[4] == '1' then -- the store had it, and does not have it any more
      remove(key, tag, place, name, life .. '.' .. string.format('%.0f', counter + 1), '-')
      return 2
    elseif removed == '' then
      save_whole(key, tag, name, numbers, saved)
    end
    return 1
  end
  local life_there, counter_there, gone = match(stored, '^(%d+)%.(%d+)(.*)$')
  if life_there ~= life then
    if above(life, life_there) then
      save_whole(key, tag, name, numbers, saved)
      return 1
    end
  elseif removed ~= '' or (gone == '' and not above(counter_there, counter)) then
    if counter ~= counter_there and saved ~= '-' and above(saved, counter_there) then
      save_whole(key, tag, name, numbers, saved)
    end
    return 1
  end
  if gone ~= '' then
    remove(key, tag, place, name, life_there .. '.' .. counter_there, counter_there)
    return 2
  end
  return 0
end

for n = 1, tonumber(ARGV[2]) do
  local key = KEYS[n]
  local tag = tag_of(key)
  local place = partition(tag)
  local name = sub(key, #tag + #ARGV[1] + 3)
  replies[n] = 1
  if place.generation == ARGV[1] and doubts(place, tag, name) then
    replies[n] = compare(key, tag, place, name, ARGV[n + 4])
    redis.call('ZADD', tag .. 'u' .. ARGV[1], 'XX', 0, name) -- whoever had taken it to be saved has not this any more
    if replies[n] ~= 0 then
      be_sure(place, tag, name, '')
    end
  end
end
return replies
