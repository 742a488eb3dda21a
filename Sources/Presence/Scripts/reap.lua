-- An instance said no goodbye.
--
-- ARGV  1 id, 2 the end of the lease that the observer saw, 3 the latest server time in ms at
--       which this may still be carried out, 4 `lease` or `connection`
-- Returns {word, epoch, seq, now, started, channel}; the word is `lost`, or `silent` where the
--       lease has moved on, this came late, or the instance is not present.
-- Events  `lost`.

local id, seen = ARGV[1], tonumber(ARGV[2])
local failure = check()
if failure then return failure end
local ends = tonumber(call('ZSCORE', leases, id) or '')
if not ends or ends ~= seen or now > tonumber(ARGV[3]) then return answer('silent') end
if ARGV[4] == 'lease' and ARGV[5] ~= 'ahead' and now < ends then return answer('silent') end

local word, record = find(id)
if word ~= 'up' and word ~= 'stopping' then
  call('ZREM', leases, id)
  return answer('silent')
end
local extra = ',"reason":"' .. ARGV[4] .. '"'
if ARGV[4] == 'lease' then extra = extra .. ',"expired":' .. text(ends) end
-- The last that is known of its memory may say why. It stays beside the record as long as that.
extra = extra .. last_usage(id)
ensure_bus('', '')
emit('lost', record, extra)
store(id, 'lost', record)
retire(id)
keep_keys()
return answer('lost', started_of(record))
