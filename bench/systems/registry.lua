#!lua name=registry
-- A registry of peers in Valkey or Redis, as a library of functions. Each peer is a hash that expires with its
-- lease, and each archetype a set of ids. A `get` removes the ids of expired peers that it finds in
-- the sets.

-- Arguments: the id, the lease in seconds, what others need in order to connect, the record, the archetypes.
local function join(_, arguments)
  local id, lease = arguments[1], arguments[2]
  local peer = "peer:" .. id
  server.call("HSET", peer, "contact", arguments[3], "record", arguments[4])
  server.call("EXPIRE", peer, lease)
  for index = 5, #arguments do
    server.call("SADD", "archetype:" .. arguments[index], id)
  end
  return 1
end

-- Arguments: the id, the lease in seconds. Returns 0 if the peer is unknown.
local function renew(_, arguments)
  return server.call("EXPIRE", "peer:" .. arguments[1], arguments[2])
end

-- Arguments: an archetype, the largest number of peers, the id of the caller. Returns a random sample.
local function get(_, arguments)
  local archetype, limit, caller = "archetype:" .. arguments[1], tonumber(arguments[2]), arguments[3]
  local contacts = {}
  for _, id in ipairs(server.call("SRANDMEMBER", archetype, limit + 1)) do
    local contact = server.call("HGET", "peer:" .. id, "contact")
    if not contact then
      server.call("SREM", archetype, id)
    elseif id ~= caller and #contacts < limit then
      contacts[#contacts + 1] = contact
    end
  end
  return contacts
end

server.register_function("join", join)
server.register_function("renew", renew)
server.register_function("get", get)
