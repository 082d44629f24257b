-- Write what comes from another partition, as long as nobody else has taken that over.
-- KEYS: the state of the partition, then a key for each command. ARGV: who moves things, then for each command its
-- name, how many arguments it has after its key, and those. The reply is 0 where somebody else moves things now.

if redis.call('HGET', KEYS[1], 'moving') ~= ARGV[1] then
  return 0
end
local at = 2
for n = 2, #KEYS do
  local name, after = ARGV[at], at + 2 + ARGV[at + 1]
  local reply = redis.pcall(name, KEYS[n], unpack(ARGV, at + 2, after - 1))
  if type(reply) == 'table' and reply.err then
    if name ~= 'XADD' or not string.find(reply.err, 'equal or smaller', 1, true) then -- otherwise it is there already
      return reply
    end
  end
  at = after
end
return 1
