-- An instance was told to stop and is draining.
--
-- ARGV  1 id, 2 what stands behind the record (`,"reason":"SIGTERM"`)
-- Returns {word, epoch, seq, now, started, channel}; the word is `stopping`, or `silent` where the
--       instance is not up.
-- Events  `stopping`.

local failure = check()
if failure then return failure end
local word, record = find(ARGV[1])
if word ~= 'up' then return answer('silent') end
failure = too_large(record, ARGV[2])
if failure then return failure end
ensure_bus('', '')
emit('stopping', record, ARGV[2])
store(ARGV[1], 'stopping', record)
keep_keys()
return answer('stopping', started_of(record))
