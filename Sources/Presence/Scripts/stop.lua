-- An instance ended and says so.
--
-- ARGV  1 id, 2 the record's members before `started`, 3 those behind it,
--       4 `started` in ms where it is known, else empty, 5 ms since the instance really began,
--       6 what stands behind the record (`,"reason":"SIGTERM","exit":143`),
--       7 channel where the bus has none yet
-- Returns {word, epoch, seq, now, started, channel}; the word is `stop`, or `silent` where it had
--       stopped already or was never announced.
-- Events  `stop`.
--
-- Whoever does not know whether its `start` arrived sends no `started`. Where there is no record
-- then, none is announced, but one is left as stopped: a `start` that is still under way on a
-- dead connection finds it and is refused.

local id, started, extra = ARGV[1], ARGV[4], ARGV[6]
local failure = check()
if failure then return failure end
local word, record = find(id)
if word == 'stopped' then return answer('silent') end

-- One that took over from another announcer may have measured nothing yet.
if not string.find(extra, ',"memory":', 1, true) then extra = extra .. last_usage(id) end
local announced = record ~= nil or started ~= ''
if not record then
  if started == '' then started = text(now - ARGV[5]) end
  record = ARGV[2] .. ',"started":' .. started .. ',' .. ARGV[3]
end
failure = too_large(record, extra)
if failure then return failure end
if announced then
  ensure_bus(ARGV[7], '')
  emit('stop', record, extra)
  store(id, 'stopped', record)
else
  call('HSET', instances, id, 'stopped 0 {' .. record .. '}')
end
retire(id)
forget_usage(id)
keep_keys()
return answer(announced and 'stop' or 'silent', started_of(record))
