-- The first entries of an index. KEYS: the index. ARGV: how many. The reply has { key, score, ... }.

return redis.call('ZRANGE', KEYS[1], 0, ARGV[1] - 1, 'WITHSCORES')
