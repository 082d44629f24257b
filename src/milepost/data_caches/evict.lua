-- Let records go that the store has confirmed and that nobody asked for in a while. A deadline stays: it says
-- that the record must be read again; ids of commits stay for a while. KEYS: the hashes of the records.
-- ARGV: generation, how many there are, after how many seconds they may go, for how many milliseconds ids stay. The
-- reply has 1 for each that went.
--
-- A fill that began before an eviction is refused: what it read may have been overtaken by commits to a record that
-- was here meanwhile, saved, and let go again.

local replies = {}
local counted = {}
for n = 1, tonumber(ARGV[2]) do
  local key = KEYS[n]
  local tag = tag_of(key)
  local place = partition(tag)
  replies[n] = 0
  local idle = redis.pcall('OBJECT', 'IDLETIME', key)
  if place.generation == ARGV[1] and type(idle) == 'number' and idle >= tonumber(ARGV[3]) then
    local found = redis.call('HMGET', key, 'm', 'c')
    local counter, saved, removed = match(found[1] or '', '^%d+%.(%d+) %S+ %S+ (%S+)(.*)$')
    local name = sub(key, #tag + #ARGV[1] + 3)
    if counter and counter == saved and removed == '' and not doubts(place, tag, name) then
      redis.call('DEL', key, sibling(key, tag, 's'), sibling(key, tag, 'l'))
      if found[2] and #found[2] > 0 then
        local ids = sibling(key, tag, 'c')
        redis.call('RPUSH', ids, found[2])
        redis.call('LTRIM', ids, -SPILLED, -1)
        redis.call('PEXPIRE', ids, ARGV[4])
      end
      if not counted[tag] then
        counted[tag] = true
        redis.call('HINCRBY', tag .. 'e', 'evictions', 1)
      end
      replies[n] = 1
    end
  end
end
return replies
