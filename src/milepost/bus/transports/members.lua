-- Note that a process works for a durable consumer, and count those that do.
-- KEYS: a sorted set of processes, by until when that holds. ARGV: epoch seconds, or - for the server's own; the
-- process, for how many seconds.

local now = ARGV[1]
if now == '-' then
  local time = redis.call('TIME')
  now = time[1] .. '.' .. string.format('%06d', tonumber(time[2]))
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], string.format('%.6f', now + ARGV[3]), ARGV[2])
return redis.call('ZCARD', KEYS[1])
