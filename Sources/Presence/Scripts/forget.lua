-- An operator removes an instance by hand.
--
-- ARGV  1 id
-- Returns {word, epoch, seq, now, started, channel}; the word is `forgotten`, or `silent` where
--       there is no such instance.
-- Events  `forgotten`.

local failure = check()
if failure then return failure end
local word, record = find(ARGV[1])
if not record then return answer('silent') end
ensure_bus('', '')
emit('forgotten', record, '')
call('HDEL', instances, ARGV[1])
call('ZREM', leases, ARGV[1])
call('ZREM', ended, ARGV[1])
forget_usage(ARGV[1])
keep_keys()
return answer('forgotten', started_of(record))
