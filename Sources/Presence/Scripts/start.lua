-- An instance is there.
--
-- ARGV  1 id, 2 the record's members before `started`, 3 those behind it,
--       4 `started` in ms where it is known from an earlier answer, else empty,
--       5 ms since the instance really began, 6 lease in ms,
--       7 channel wanted ('' for the bus's own), 8 channel where the bus has none yet,
--       9 how many events to keep ('' for the bus's own),
--       10 `back` where that is to be told of an instance that is up, else empty
-- Returns {word, epoch, seq, now, started, channel}; the word is `start`, `back`, `silent` (it was
--       up already), `refused` (it had stopped: a late command of a dead connection raises no
--       ghost) or `channel` (the bus uses another one).
-- Events  `start`; `back` where it was lost, Redis had forgotten it, or its announcer had gone.

local id, started = ARGV[1], ARGV[4]
local failure = check()
if failure then return failure end
if ARGV[7] ~= '' and channel and channel ~= ARGV[7] then return answer('channel') end

local word, record = find(id)
if word == 'stopped' then return answer('refused', started_of(record)) end

local had_bus = epoch ~= nil
ensure_bus(ARGV[7] ~= '' and ARGV[7] or ARGV[8], ARGV[9])
local function renew()
  local ends = tonumber(call('ZSCORE', leases, id) or 0)
  call('ZADD', leases, text(math.max(ends, now + ARGV[6])), id)
end

if word == 'up' or word == 'stopping' then
  if call('EXISTS', leases) == 0 then
    -- All leases were lost at once: whoever is recorded as present gets a new one, so that those
    -- who died meanwhile are found too.
    local stored = call('HGETALL', instances)
    for index = 1, #stored - 1, 2 do
      local lease = string.match(stored[index + 1], '^[us][pt]%a* .*,"lease":(%d+)')
      if lease and not string.find(stored[index + 1], '^stopped') then
        call('ZADD', leases, text(now + lease), stored[index])
      end
    end
  end
  renew()
  if word == 'up' and ARGV[10] == 'back' then
    failure = too_large(record, '')
    if failure then return failure end
    emit('back', record, '')
    store(id, 'up', record)
    keep_keys()
    return answer('back', started_of(record))
  end
  if not had_bus then store_bus() end
  keep_keys()
  return answer('silent', started_of(record))
end

local kind = (word == 'lost' or started ~= '') and 'back' or 'start'
if not record then
  if started == '' then started = text(now - ARGV[5]) end
  record = ARGV[2] .. ',"started":' .. started .. ',' .. ARGV[3]
end
failure = too_large(record, '')
if failure then return failure end
emit(kind, record, '')
store(id, 'up', record)
renew()
call('ZREM', ended, id)
keep_keys()
return answer(kind, started_of(record))
