-- Read records that go to another partition. KEYS: their hashes; on a cluster then what belongs to them.
-- ARGV: how many there are, how many bytes to read, about.
-- The reply has { parts, hashes } for each, and ends early where enough was read. Of a part it has the kind, for how
-- many milliseconds it is kept, or 0 for ever, and what RESTORE takes; hashes are those of the definitions needed.

local replies, size = {}, 0
for n = 1, tonumber(ARGV[1]) do
  if size > tonumber(ARGV[2]) then
    break
  end
  local key = KEYS[n]
  local tag = tag_of(key)
  local parts, hashes, known = {}, {}, {}
  for _, kind in ipairs({ 'r', 's', 'c', 'l' }) do
    local name = sibling(key, tag, kind)
    local dump = redis.call('DUMP', name)
    if dump then
      parts[#parts + 1] = kind
      parts[#parts + 1] = math.max(redis.call('PTTL', name), 0)
      parts[#parts + 1] = dump
      size = size + #dump
    end
  end
  for _, text in ipairs(redis.call('HVALS', key)) do
    local hash = match(text, '^%["([^"]*)"')
    if hash and not known[hash] then
      known[hash] = true
      hashes[#hashes + 1] = hash
    end
  end
  replies[n] = { parts, hashes }
end
return replies
