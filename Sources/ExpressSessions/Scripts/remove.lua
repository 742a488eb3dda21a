-- Removes a session, provided that it still has the content that was read.
--
-- KEYS: session
-- ARGV: content that was read
-- Returns: 'removed'; 'changed' where it has another content by now; 'gone' where there is none

local content = redis.call('GET', KEYS[1])
if not content then return 'gone' end
if content ~= ARGV[1] then return 'changed' end
redis.call('DEL', KEYS[1])
return 'removed'
