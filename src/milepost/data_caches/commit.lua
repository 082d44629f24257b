-- Commit: for each record compare, check, and only then write; all of it or nothing.
--
-- KEYS: the hashes of the records, one for each commit; on a cluster then all others that are touched.
-- ARGV: generation, how many event ids are remembered, how many events the outbox keeps, milliseconds for
--       which a removal and for which commit ids are remembered, how many records of a partition may be unsaved
--       (0 for any number), how many commits there are; then for each commit
--     "<epoch> <base or -> <new revision> <serial> <deadline or -> <flags> <ticket> <moment> <puts> <drops> <events>
--      <seen> <definitions>": flags are - or some of r (removes), n (changes nothing), i (begins another
--      incarnation), d (in doubt: it was sent before); the ticket is what load.lua said of a record that was
--      not here, or -; the moment is what places its events among those of other nodes, or - where there is
--      one server; the rest are numbers of
--     8 bytes that stand for its id, or nothing
--     names and texts of rows to put; names of rows to drop; events; event ids; hashes of definitions. An event that
--      may be published again begins with "<length of its id> <id>", and is left out if it was published
--
-- For each commit the reply has one of
--     1                       committed, now or when it was sent before
--     { c, record or nothing} conflict: what read() returns, or nothing where there is nothing
--     { h, incarnation }      conflict: it was removed, and a new one needs a higher incarnation
--     { d, id, ... }          duplicate event ids
--     { n, hash, ... }        definitions are needed
--     { e, epoch }            stale epoch
--     { w, milliseconds }     wait: records are being brought back after a loss
--     { g }                   the generation is another one, or the partition is lost
--     { ? }                   not here, and the store has to be asked; or it has to be compared with the store first
--     { f, name, lag, most }  a durable consumer that refuses to lapse is that far behind
--     { b, unsaved records }  the store is too far behind
--     { u }                   it was in doubt, and whether it was applied is not remembered any more
--     { !, error, 0 or 1 }    Redis refused a command; 1: after the first write

local WHOLE = 1000 -- with more rows than this, a record is not read in one step

local wrote, events_added = false, 0

-- Whether a commit id is among those remembered; and where it is not, whether it is certain that it was not applied.
local function is_remembered(key, tag, commit, before)
  local ids = before.ids or ''
  for at = 1, #ids, 8 do
    if sub(ids, at, at + 7) == commit.id then
      return true, true
    end
  end
  local behind = nil
  local life, counter = match(commit.base, '^(%d+)%.(%d+)$')
  if life == before.life then
    behind = tonumber(before.counter) - tonumber(counter)
    if behind <= #ids / 8 then
      return false, true
    end
  end
  local spilled = redis.call('LRANGE', sibling(key, tag, 'c'), 0, -1)
  local remembered = #ids / 8
  for _, block in ipairs(spilled) do
    remembered = remembered + #block / 8
    local at = find(block, commit.id, 1, true)
    if at and at % 8 == 1 then
      return true, true
    end
  end
  if behind then
    return false, behind <= remembered
  end
  if commit.base == '-' then -- it would have begun the first life, of which all is remembered, or a later one
    return false, remembered == tonumber(before.counter) or above(match(commit.new, '^%d+'), before.life)
  end
  return false, false
end

local function known_event_ids(key, tag, first, number)
  local list, known = sibling(key, tag, 's'), {}
  if number <= 2 then
    for n = first, first + number - 1 do
      if redis.call('LPOS', list, ARGV[n]) then
        known[#known + 1] = ARGV[n]
      end
    end
    return known
  end
  local remembered = {}
  for _, id in ipairs(redis.call('LRANGE', list, 0, -1)) do
    remembered[id] = true
  end
  for n = first, first + number - 1 do
    if remembered[ARGV[n]] then
      known[#known + 1] = ARGV[n]
    end
  end
  return known
end

local function missing_definitions(tag, first, number)
  local missing = {}
  for n = first, first + number - 1 do
    if redis.call('HEXISTS', tag .. 'd' .. generation, ARGV[n]) == 0 then
      missing[#missing + 1] = ARGV[n]
    end
  end
  return missing
end

local function append_events(tag, commit)
  if kept == '0' or commit.events == commit.seen then
    return
  end
  local stream = stream_of(tag, generation)
  local moment = commit.moment ~= '-' and tonumber(commit.moment) or microseconds() + events_added
  for n = commit.events, commit.seen - 1 do
    local text, id = ARGV[n], nil
    local length = match(text, '^%d+')
    if length then
      local from = #length + 2
      id, text = sub(text, from, from + length - 1), sub(text, from + length)
    end
    local at = moment + n - commit.events -- all partitions together are in the order of commits
    if not id or redis.call('HSETNX', stream.ids, id, NOBODY .. next_position(stream, at)) == 1 then
      append(stream, at, text, id)
    end
  end
  events_added = events_added + commit.seen - commit.events
  keep(stream, tonumber(kept))
  wake(tag)
end

local function refused_by_consumer(tag, commit)
  if kept == '0' or commit.events == commit.seen then
    return nil
  end
  return refusal(stream_of(tag, generation), commit.seen - commit.events)
end

-- Note in the log which rows were changed, where there are many; return from which counter on it is complete.
local function log_changes(key, tag, floor, counter, names)
  local log = sibling(key, tag, 'l')
  local entries = {}
  for _, name in ipairs(names) do
    entries[#entries + 1] = counter
    entries[#entries + 1] = name
  end
  in_pieces('ZADD', log, entries)
  local surplus = redis.call('ZCARD', log) - LOGGED
  if surplus > 0 then
    local last = redis.call('ZRANGE', log, surplus - 1, surplus - 1, 'WITHSCORES')
    redis.call('ZREMRANGEBYRANK', log, 0, surplus - 1)
    floor = string.format('%.0f', tonumber(last[2]))
  end
  return floor
end

local function file_deadline(tag, name, deadline, before)
  if deadline == before then
    return
  end
  if deadline == '-' then
    redis.call('ZREM', tag .. 't' .. generation, name)
  else
    redis.call('ZADD', tag .. 't' .. generation, deadline, name)
  end
end

local function mark_unsaved(tag, name)
  redis.call('ZADD', tag .. 'u' .. generation, 'NX', text_of(math.floor(microseconds() / 1000)), name)
end

local function remove(key, tag, place, name, commit, before)
  redis.call('DEL', key, sibling(key, tag, 's'), sibling(key, tag, 'l'))
  wrote = true
  local numbers = commit.new .. ' ' .. commit.serial .. ' - ' .. before.saved .. ' x'
  redis.call('HSET', key, 'm', numbers, 'c', with_id(key, tag, before.ids, commit.id))
  file_deadline(tag, name, '-', before.deadline)
  if place.followed then
    mark_unsaved(tag, name)
  else
    redis.call('PEXPIRE', key, removal_ms)
  end
end

local function put(key, tag, place, name, commit, before)
  if before.removed then
    redis.call('DEL', key) -- and with it the time after which the removal would be forgotten
    wrote = true
  end
  local life, counter = match(commit.new, '^(%d+)%.(%d+)$')
  local saved = before.exists and before.life == life and before.saved or '-'
  local numbers = commit.new .. ' ' .. commit.serial .. ' ' .. commit.deadline .. ' ' .. saved
  local fields = { 'm', numbers, 'c', with_id(key, tag, before.ids, commit.id) }
  local names = {}
  for n = commit.puts, commit.drops - 1, 2 do
    fields[#fields + 1] = 'r' .. ARGV[n]
    fields[#fields + 1] = ARGV[n + 1]
    names[#names + 1] = ARGV[n]
  end
  local added
  if #fields <= AT_ONCE then
    added = redis.call('HSET', key, unpack(fields))
  else
    in_pieces('HSET', key, fields)
    added = #fields
  end
  wrote = true
  if commit.drops < commit.events then
    local dropped = {}
    for n = commit.drops, commit.events - 1 do
      dropped[#dropped + 1] = 'r' .. ARGV[n]
      names[#names + 1] = ARGV[n]
    end
    in_pieces('HDEL', key, dropped)
  end
  if before.floor then
    local floor = log_changes(key, tag, before.floor, counter, names)
    if floor ~= before.floor then
      redis.call('HSET', key, 'f', floor)
    end
  elseif added > 0 and redis.call('HLEN', key) > INDEXED + 2 then
    redis.call('HSET', key, 'f', counter)
  end
  if commit.seen < commit.definitions then
    local list, ids = sibling(key, tag, 's'), {}
    for n = commit.seen, commit.definitions - 1 do
      ids[#ids + 1] = ARGV[n]
    end
    in_pieces('RPUSH', list, ids)
    redis.call('LTRIM', list, -window, -1)
  end
  file_deadline(tag, name, commit.deadline, before.deadline)
  if place.followed and (not before.exists or before.saved == before.counter) then
    mark_unsaved(tag, name)
  end
end

-- Whether one more record would be unsaved than may be; how many are then.
local function too_far_behind(tag, place, name, before)
  if most_unsaved == 0 or not place.followed or (before.exists and before.saved ~= before.counter) then
    return nil
  end
  local unsaved = tag .. 'u' .. generation
  local backlog = redis.call('ZCARD', unsaved)
  return backlog >= most_unsaved and not redis.call('ZSCORE', unsaved, name) and backlog or nil
end

-- A commit of an epoch that is over. If it was sent before, it may have been applied before what ended the epoch.
local function overdue(key, tag, place, commit)
  if not find(commit.flags, 'd', 1, true) then
    return { 'e', place.epoch }
  end
  local wait = is_healing(place)
  if wait then
    return { 'w', wait }
  end
  local found = redis.call('HMGET', key, 'm', 'c')
  if not found[1] then
    return place.followed and { 'u' } or { 'e', place.epoch }
  end
  local life, counter = match(found[1], '^(%d+)%.(%d+)')
  local known, certain = is_remembered(key, tag, commit, { ids = found[2], life = life, counter = counter })
  if known then
    return 1
  end
  certain = certain and not doubts(place, tag, sub(key, #tag + #generation + 3))
  return certain and { 'e', place.epoch } or { 'u' }
end

local function refused(key, tag, commit, before, standing)
  if commit.id ~= '' and before.standing then
    local known, certain = is_remembered(key, tag, commit, before)
    if known then
      return 1
    end
    if find(commit.flags, 'd', 1, true) and not certain then
      return { 'u' }
    end
  end
  if standing == commit.base then
    return nil
  end
  if not before.exists then
    return { 'c' }
  end
  local life, counter = match(commit.base, '^(%d+)%.(%d+)$')
  local since = life == before.life and not above(counter, before.counter) and counter or nil
  return { 'c', read(key, tag, before.numbers, before.floor, since, WHOLE) }
end

local function decide(key, commit)
  local tag = tag_of(key)
  local place = partition(tag)
  if not place.epoch or place.generation ~= generation then
    return { 'g' }
  end
  if place.epoch ~= commit.epoch then
    return overdue(key, tag, place, commit)
  end
  local wait = is_healing(place)
  if wait then
    return { 'w', wait }
  elseif place.healing and not place.followed then
    redis.call('HDEL', tag .. 'e', 'healing')
    place.healing = false
  end
  local name = sub(key, #tag + #generation + 3)
  local found = redis.call('HMGET', key, 'm', 'c', 'f')
  local before = { numbers = found[1], ids = found[2], floor = found[3], deadline = '-', saved = '-' }
  if found[1] and doubts(place, tag, name) then
    return { '?' } -- also where it was sent before: applied since the loss, it would have left a mark
  end
  if found[1] then
    local removed
    before.life, before.counter, before.deadline, before.saved, removed =
      match(found[1], '^(%d+)%.(%d+) %S+ (%S+) (%S+)(.*)$')
    before.standing = before.life .. '.' .. before.counter
    before.removed = removed ~= ''
    before.exists = not before.removed
  elseif place.followed and commit.ticket ~= place.evictions then
    return { find(commit.flags, 'd', 1, true) and 'u' or '?' }
  end
  local standing = before.exists and before.standing or '-'
  if standing ~= commit.base or not before.exists then
    local refusal = refused(key, tag, commit, before, standing)
    if refusal then
      return refusal
    end
  end
  if find(commit.flags, 'n', 1, true) then
    return 1
  end
  if commit.seen < commit.definitions and before.exists then
    local known = known_event_ids(key, tag, commit.seen, commit.definitions - commit.seen)
    if #known > 0 then
      table.insert(known, 1, 'd')
      return known
    end
  end
  local missing = missing_definitions(tag, commit.definitions, commit.next - commit.definitions)
  if #missing > 0 then
    table.insert(missing, 1, 'n')
    return missing
  end
  if before.removed and not above(match(commit.new, '^%d+'), before.life) then
    return { 'h', before.life }
  end
  local refusal_of_events = refused_by_consumer(tag, commit)
  if refusal_of_events then
    return refusal_of_events
  end
  local backlog = too_far_behind(tag, place, name, before)
  if backlog then
    return { 'b', backlog }
  end
  be_sure(place, tag, name, 'c')
  if find(commit.flags, 'r', 1, true) then
    remove(key, tag, place, name, commit, before)
  else
    put(key, tag, place, name, commit, before)
  end
  append_events(tag, commit)
  return 1
end

-- Take one commit from ARGV: what it says, and where its lists begin.
local function take(at)
  local commit = { id = ARGV[at + 1], puts = at + 2 }
  local puts, drops, events, seen, definitions
  commit.epoch, commit.base, commit.new, commit.serial, commit.deadline, commit.flags, commit.ticket, commit.moment,
    puts, drops, events, seen, definitions =
    match(ARGV[at], '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
  commit.drops = commit.puts + 2 * puts
  commit.events = commit.drops + drops
  commit.seen = commit.events + events
  commit.definitions = commit.seen + seen
  commit.next = commit.definitions + definitions
  return commit
end

for n = decided + 1, commits do
  local fine, after = false, nil
  if n > decided + 1 then
    fine, after = pcall(put_rows, KEYS[n], at)
  end
  if fine and after then
    at, replies[n] = after, 1
  else
    local commit = take(at)
    at, wrote = commit.next, false
    local outcome
    fine, outcome = pcall(decide, KEYS[n], commit)
    if not fine then
      local reason = type(outcome) == 'table' and outcome.err or tostring(outcome)
      outcome = { '!', reason, wrote and 1 or 0 }
    end
    replies[n] = outcome
  end
end
return replies
