-- Learn where partitions stand, and begin a new epoch where they are new or their server is another than before.
--
-- KEYS: the states of the partitions. ARGV: who the server is, an epoch to begin, the generation to begin with
-- where nothing is known, whether a store follows there, 1 where it is known that there was something, for how many
-- milliseconds records are brought back after a loss, how many partitions there are.
-- The reply has for each partition { what, epoch, generation, followed, doubt or -, epoch before or - }; what is one of
--     same, new, lost, changed    changed: the server was restarted or replaced since, and may have lost data
--     late                        a new epoch is needed, and the one that was brought is not above the present one
-- or { moved, of } where its records have gone elsewhere, into so many others.

-- In doubt, every record that is here has to be compared with the store before it is read or committed on. Evictions are
-- counted from the epoch on, so that nothing that was said of records before it is taken for current.

local function enter(key)
  local state = redis.call('HMGET', key, 'epoch', 'generation', 'followed', 'server', 'healing', 'of')
  local epoch, generation, followed, server, healing, of = state[1], state[2], state[3], state[4], state[5], state[6]
  local before = epoch or '-'
  local what = 'same'
  if of and of ~= ARGV[7] then
    return { 'moved', of }
  end
  if not epoch then
    what, epoch, generation, followed = ARGV[5] == '1' and 'lost' or 'new', ARGV[2], ARGV[3], ARGV[4]
    redis.call('HSET', key, 'epoch', epoch, 'generation', generation, 'followed', followed, 'server', ARGV[1],
      'evictions', epoch, 'of', ARGV[7])
  elseif server ~= ARGV[1] then
    what = 'late'
    if above(ARGV[2], epoch) then
      what, epoch = 'changed', ARGV[2]
      redis.call('HSET', key, 'epoch', epoch, 'server', ARGV[1], 'evictions', epoch)
    end
  end
  if what == 'changed' or what == 'lost' then
    healing = string.format('%.0f', milliseconds() + ARGV[6]) .. ' ' .. epoch
    redis.call('HSET', key, 'healing', healing)
  end
  return { what, epoch, generation, followed, healing and match(healing, '%d+$') or '-', before }
end

local replies = {}
for n, key in ipairs(KEYS) do
  replies[n] = enter(key)
end
return replies
