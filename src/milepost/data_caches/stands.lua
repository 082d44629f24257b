-- What changed in records since revisions that were read. KEYS: their hashes. ARGV: generation, how many there
-- are, a revision for each. The reply has for each what read() returns, of kind s, or { l } where that is not known.

local replies = {}
for n = 1, tonumber(ARGV[2]) do
  local key = KEYS[n]
  local tag = tag_of(key)
  replies[n] = { 'l' }
  local place = partition(tag)
  local found = place.generation == ARGV[1] and redis.call('HMGET', key, 'm', 'f') or {}
  if found[1] and found[2] and sub(found[1], -1) ~= 'x' then
    local life, counter = match(ARGV[n + 2], '^(%d+)%.(%d+)$')
    if life == match(found[1], '^%d+') then
      replies[n] = read(key, tag, found[1], found[2], counter, 0)
    end
  end
end
return replies
