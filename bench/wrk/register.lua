-- Registers new peers, like those of legacy clients: about 250 bytes of JSON each. Arguments: the
-- number of the first peer. Each registration is different, so only its constant parts are
-- prepared.
dofile("report.lua")

local number = 0
local head, middle, tail

function init(args)
  number = tonumber(args[1])
  local body = '{"peer_id":"%s","address":"%s","port":9000,"archetypes":["pepino","ethics"],"metadata":{"version":"1.0.0",'
    .. '"capabilities":["tensor-exchange","gossip"],"region":"eu-south-1","build":"0123456789abcdef"}}'
  local id, address = "6f9619ff-8b86-4011-b42d-000000000000", "10.100.100.100"
  local headers = {["Content-Type"] = "application/json"}
  local request = wrk.format("POST", "/register", headers, string.format(body, id, address))
  local id_at = request:find("000000000000", 1, true)
  local address_at = request:find(address, 1, true)
  head = request:sub(1, id_at - 1)
  middle = request:sub(id_at + 12, address_at + 2)
  tail = request:sub(address_at + #address)
end

function request()
  number = number + 1
  -- Every part of the address has three digits, so that all requests have the same content-length.
  local b, c, d = 100 + number % 150, 100 + math.floor(number / 150) % 150, 100 + math.floor(number / 22500) % 150
  return head .. string.format("%012d", number) .. middle .. b .. "." .. c .. "." .. d .. tail
end
