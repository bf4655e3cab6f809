-- Heartbeats of random members. Arguments: the file of their ids.
-- Requests are formatted beforehand, so that the load stays cheap beside what it measures.
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
