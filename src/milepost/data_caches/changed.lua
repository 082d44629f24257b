-- What the store has not seen of records. KEYS: their hashes. ARGV: generation, how many there are, with how
-- many rows a record is not read in one step. The reply has for each one of
--     what read() returns    since the counter that the store has confirmed, or whole
--     { x, numbers }         it was removed
--     { - }                  the store has seen it, or it is not here: it is not unsaved any more

local replies = {}
for n = 1, tonumber(ARGV[2]) do
  local key = KEYS[n]
  local tag = tag_of(key)
  local place = partition(tag)
  replies[n] = { '-' }
  local found = place.generation == ARGV[1] and redis.call('HMGET', key, 'm', 'f') or {}
  if found[1] then
    local counter, saved, removed = match(found[1], '^%d+%.(%d+) %S+ %S+ (%S+)(.*)$')
    if removed ~= '' then
      replies[n] = { 'x', found[1] }
    elseif counter ~= saved then
      replies[n] = read(key, tag, found[1], found[2], saved ~= '-' and saved or nil, tonumber(ARGV[3]))
    end
  end
  if replies[n][1] == '-' and place.generation == ARGV[1] then
    redis.call('ZREM', tag .. 'u' .. ARGV[1], sub(key, #tag + #ARGV[1] + 3))
  end
end
return replies
