-- Read records. KEYS: their hashes; on a cluster then all others that are touched. ARGV: the generation, how many
-- records there are, with how many rows a record is not read in one step. For each record the reply has one of
--     what read() returns
--     { -, evictions }       not here; the store may have it, where one follows
--     { x }                  it was removed
--     { ~ }                  it has to be compared with the store first: data were lost
--     { g }                  the generation is another one, or the partition is lost

local replies = {}
for n = 1, tonumber(ARGV[2]) do
  local key = KEYS[n]
  local tag = tag_of(key)
  local place = partition(tag)
  if not place.epoch or place.generation ~= ARGV[1] then
    replies[n] = { 'g' }
  else
    local found = redis.call('HMGET', key, 'm', 'f')
    if not found[1] then
      replies[n] = { '-', place.followed and place.evictions or '' }
    elseif doubts(place, tag, sub(key, #tag + #ARGV[1] + 3)) then
      replies[n] = { '~' }
    elseif sub(found[1], -1) == 'x' then
      replies[n] = { 'x' }
    else
      replies[n] = read(key, tag, found[1], found[2], nil, tonumber(ARGV[3]))
    end
  end
end
return replies
