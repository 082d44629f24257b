-- Note what the store has confirmed. KEYS: the hashes of the records. ARGV: generation, how many there are,
-- for how many milliseconds a removal is remembered from now on, how many partitions there are, and for each record the
-- revision that the store has, or - where it did not take it. The reply has for each record 1, or 0 where everything
-- was flushed since it was read: what the store has must go again. Where it was moved elsewhere meanwhile, it
-- is marked as unsaved there.

local replies = {}
for n = 1, tonumber(ARGV[2]) do
  local key, revision = KEYS[n], ARGV[n + 4]
  local tag = tag_of(key)
  local place = partition(tag)
  local of = redis.call('HGET', tag .. 'e', 'of')
  local moved = of and of ~= ARGV[4]
  replies[n] = (moved or place.epoch and place.generation == ARGV[1]) and 1 or 0
  if replies[n] == 1 and not moved then
    local unsaved, name = tag .. 'u' .. ARGV[1], sub(key, #tag + #ARGV[1] + 3)
    local numbers = redis.call('HGET', key, 'm')
    if not numbers then
      redis.call('ZREM', unsaved, name)
    elseif doubts(place, tag, name) then
      redis.call('ZADD', unsaved, 0, name) -- it is compared with what the store had before: later
    else
      local standing, serial, deadline, saved, removed = match(numbers, '^(%S+) (%S+) (%S+) (%S+)(.*)$')
      local life, counter = match(revision, '^(%d+)%.(%d+)$')
      local life_here, counter_here = match(standing, '^(%d+)%.(%d+)$')
      if life == life_here and above(counter, counter_here) then
        -- the store was told late of what was lost here: what is here goes on above that, and goes there whole
        standing = life .. '.' .. string.format('%.0f', counter + 1)
        redis.call('HSET', key, 'm', standing .. ' ' .. serial .. ' ' .. deadline .. ' -' .. removed)
      elseif life == life_here and (saved == '-' or above(counter, saved)) then
        redis.call('HSET', key, 'm', standing .. ' ' .. serial .. ' ' .. deadline .. ' ' .. counter .. removed)
      end
      if revision ~= standing then
        redis.call('ZADD', unsaved, 0, name) -- it has changed since, or an older one came late: once more
      else
        redis.call('ZREM', unsaved, name)
        if removed ~= '' then
          redis.call('PEXPIRE', key, ARGV[3])
        end
      end
    end
  end
end
return replies
