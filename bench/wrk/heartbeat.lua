-- Sends heartbeats of random peers. Arguments: the file with the ids of the peers. Requests are
-- formatted in advance, so that the generator takes little processor time.
dofile("report.lua")

local requests = {}

function init(args)
  local headers = {["Content-Type"] = "application/json"}
  for id in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", "/heartbeat", headers, '{"peer_id":"' .. id .. '"}')
  end
end

function request()
  return requests[math.random(#requests)]
end
