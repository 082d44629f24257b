-- The short way of commits, put before commit.lua, which says what the arguments are. It ends at the first commit that
-- does more than most of them do; what is defined after it is made only then.

local generation, window, kept = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local removal_ms, ids_ms, most_unsaved = ARGV[4], ARGV[5], tonumber(ARGV[6])

-- The ids that are remembered with one more; where there are too many, all others are moved out.
local function with_id(key, tag, ids, id)
  ids = ids or ''
  if id == '' then
    return ids
  end
  if #ids + 8 > IDS then
    local spilled = sibling(key, tag, 'c')
    redis.call('RPUSH', spilled, ids)
    redis.call('LTRIM', spilled, -SPILLED, -1)
    redis.call('PEXPIRE', spilled, ids_ms)
    ids = ''
  end
  return ids .. id
end

-- What mostly happens, on the shortest way: rows of a small record are put, from a base that stands. Return where
-- the next commit begins; nil where there is more to it, and then nothing was done.
local function put_rows(key, at)
  local epoch, base, new, serial, deadline, puts =
    match(ARGV[at], '^(%d+) (%S+) (%S+) (%d+) (%S+) %- %- %S+ ([1-9]%d?) 0 0 0 0$')
  if not epoch then
    return nil
  end
  local tag = tag_of(key)
  local place = partition(tag)
  if place.epoch ~= epoch or place.generation ~= generation or place.healing then
    return nil
  end
  local found = redis.pcall('HMGET', key, 'm', 'c', 'f')
  local ids = found[2]
  if not found[1] or found[3] then
    return nil
  end
  local standing, deadline_before, saved = match(found[1], '^(%S+) %S+ (%S+) (%S+)$')
  if standing ~= base or deadline ~= deadline_before or (saved ~= '-' and saved == match(base, '%d+$')) then
    return nil
  end
  local numbers = new .. ' ' .. serial .. ' ' .. deadline .. ' ' .. saved
  ids = with_id(key, tag, ids, ARGV[at + 1])
  local added
  if puts == '1' then
    added = redis.call('HSET', key, 'm', numbers, 'c', ids, 'r' .. ARGV[at + 2], ARGV[at + 3])
  else
    local fields = { 'm', numbers, 'c', ids }
    for n = at + 2, at + 2 * puts, 2 do
      fields[#fields + 1] = 'r' .. ARGV[n]
      fields[#fields + 1] = ARGV[n + 1]
    end
    added = redis.call('HSET', key, unpack(fields))
  end
  if added > 0 and redis.call('HLEN', key) > INDEXED + 2 then
    redis.call('HSET', key, 'f', match(new, '%d+$'))
  end
  return at + 2 + 2 * puts
end

local replies, at, decided, commits = {}, 8, 0, tonumber(ARGV[7])
while decided < commits do
  local fine, after = pcall(put_rows, KEYS[decided + 1], at)
  if not fine or not after then
    break
  end
  at, decided = after, decided + 1
  replies[decided] = 1
end
if decided == commits then
  return replies
end

