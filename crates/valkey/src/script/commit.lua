#!lua
-- Writes a batch of changes. A change is written only if its peer still has the lease that the
-- process had in its copy when it decided about the change. The changes that were written are
-- appended to the log as one entry.
--
-- The first line makes the server refuse the whole script before it starts if the server cannot
-- write. For example, it cannot write if it is a replica, has too little memory, or has failed to
-- write to its disk.
--
-- KEYS  1  leases  hash: id of a peer -> its lease as text
--       2  peers   hash: id of a peer -> its record
--       3  log     stream: the batches
--       4  head    string: the nonce of the last entry of the log
-- ARGV  1  nonce of this batch
--       2  number of entries that the log keeps, approximately
--       then five for each change:
--          kind      the condition of the change:
--                    `set`: the peer has the lease `expected`, apart from the last field; if
--                    `expected` is empty, the server has no such peer
--                    `check`: the same, but nothing is written
--                    `evict`: the peer has the lease `expected`, apart from the last field, even if
--                    an earlier change of this peer did not hold
--                    `delete`: the peer has exactly the lease `expected`
--          peer      the id of the peer
--          expected  see above
--          lease     the new lease of the peer; empty: the peer is deleted
--          record    the new record of the peer; empty: the record stays as it is
-- Reply: the id of the last entry of the log, then for each change 1 if its condition holds, otherwise 0

local leases, peers, log, head = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

-- If a command fails, the server does not undo the earlier writes of the script. So these commands,
-- which fail if a key has the wrong type, run before the first write.
local previous = redis.call('GET', head) or ''
local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)
redis.call('HLEN', leases)
redis.call('HLEN', peers)

-- The last field is the source that keeps the peer alive. A process forgets this source when the
-- lease ends, so only `delete` compares it.
local function but_last_field(lease)
  return string.match(lease, '^(.+) [^ ]+$') or lease
end

-- The peers of which a change did not hold. The process decided about the later changes of these peers
-- as if that change had been written, so they don't hold either.
local lost = {}

local reply = { last[1] and last[1][1] or '0-0' }
local entry = { 'nonce', ARGV[1], 'previous', previous }

for i = 3, #ARGV, 5 do
  local kind, peer, expected, lease, record = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local current = redis.call('HGET', leases, peer) or ''
  local holds
  if kind == 'delete' then
    holds = current == expected
  elseif kind == 'evict' then
    holds = but_last_field(current) == but_last_field(expected)
  else
    holds = not lost[peer] and but_last_field(current) == but_last_field(expected)
    lost[peer] = not holds
  end
  if holds and kind ~= 'check' then
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

-- Without any change, the entry has only four elements: the names and values of the two nonces.
if #entry > 4 then
  reply[1] = redis.call('XADD', log, 'MAXLEN', '~', ARGV[2], '*', unpack(entry))
  redis.call('SET', head, ARGV[1])
end
return reply
