#!lua
-- Writes a batch of changes, each on the condition that its peer still has the lease that the change
-- was decided on, and appends those that were written to the log as one entry.
--
-- With the first line, the server refuses the whole script before it starts where it can't write: a
-- replica, too little memory, a failed disk.
--
-- KEYS  1  leases  hash: id of a peer -> its lease as text, which begins with its end in milliseconds
--       2  peers   hash: id of a peer -> its record
--       3  log     stream: the batches
--       4  head    string: the nonce of the last entry of the log
-- ARGV  1  nonce of this batch
--       2  number of entries that the log keeps, approximately
--       then five for each change:
--          kind      `set`: the peer must have the lease `expected`, apart from the last field, or be
--                    unknown if that is empty
--                    `evict`: the lease of the peer must have ended at `expected`, in milliseconds
--                    `delete`: the peer must have exactly the lease `expected`
--          peer      its id
--          expected  see above
--          lease     its new lease; empty: the peer is deleted
--          record    its new record; empty: the record stays as it is
-- Reply: the id of the last entry of the log, then for each change 1 if it was written, otherwise 0

local leases, peers, log, head = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

-- A script does not roll back. So a key of another type has to be found before the first write.
local previous = redis.call('GET', head) or ''
local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)
redis.call('HLEN', leases)
redis.call('HLEN', peers)

local function but_last_field(lease)
  return string.match(lease, '^(.+) [^ ]+$') or lease
end

local reply = { last[1] and last[1][1] or '0-0' }
local entry = { 'nonce', ARGV[1], 'previous', previous }

for i = 3, #ARGV, 5 do
  local kind, peer, expected, lease, record = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local current = redis.call('HGET', leases, peer) or ''
  local holds
  if kind == 'set' then
    holds = but_last_field(current) == but_last_field(expected)
  elseif kind == 'evict' then
    local ends = tonumber(string.match(current, '^%d+') or '0')
    holds = current ~= '' and ends <= tonumber(expected)
  else
    holds = current == expected
  end
  if holds then
    local value = lease
    if lease == '' then
      redis.call('HDEL', leases, peer)
      redis.call('HDEL', peers, peer)
    else
      redis.call('HSET', leases, peer, lease)
      if record ~= '' then
        redis.call('HSET', peers, peer, record)
        value = lease .. '\n' .. record
      end
    end
    entry[#entry + 1] = '=' .. peer
    entry[#entry + 1] = value
  end
  reply[#reply + 1] = holds and 1 or 0
end

if #entry > 4 then
  reply[1] = redis.call('XADD', log, 'MAXLEN', '~', ARGV[2], '*', unpack(entry))
  redis.call('SET', head, ARGV[1])
end
return reply
