-- Where partitions end and how far behind consumers are. KEYS: their keepers; on a cluster then all others that are
-- touched. ARGV: generation, how many KEYS are keepers. The reply has for each partition
-- { generation, its last position, { name, lag, how many were lost, ... } }

local replies = {}
for n = 1, tonumber(ARGV[2]) do
  local tag = tag_of(KEYS[n])
  local generation = redis.call('HGET', tag .. 'e', 'generation') or ARGV[1]
  local stream, behind = stream_of(tag, generation), {}
  local length = redis.call('XLEN', stream.name)
  for name, consumer in pairs(consumers_of(tag)) do
    behind[#behind + 1] = name
    behind[#behind + 1] = math.max(0, math.min(stream.n - consumer.n, length))
    behind[#behind + 1] = consumer.lapsed
  end
  replies[n] = { generation, text_of(stream.at) .. '-' .. text_of(stream.n), behind }
end
return replies
