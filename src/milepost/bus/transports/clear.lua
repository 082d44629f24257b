-- Forget every event of partitions, delayed ones too; consumers stay known, and are as far as they can be.
-- KEYS: their keepers; on a cluster then all others that are touched. ARGV: generation, how many KEYS are keepers.

for n = 1, tonumber(ARGV[2]) do
  local tag = tag_of(KEYS[n])
  local generation = redis.call('HGET', tag .. 'e', 'generation') or ARGV[1]
  local stream = stream_of(tag, generation)
  for name, consumer in pairs(consumers_of(tag)) do
    consumer.position = text_of(stream.at) .. '-' .. text_of(stream.n)
    put_consumer(tag, name, consumer)
  end
  redis.call('DEL', stream.name, stream.ids, tag .. 'y' .. generation, tag .. 'x' .. generation)
  redis.call('HSET', tag .. 'K', 'at', text_of(stream.at), 'n', text_of(stream.n))
end
return 1
