-- Sends discover requests, each of one archetype and by a random peer. Arguments: the file with the
-- ids of the peers, the limit, the method (GET by default).
dofile("report.lua")

local ARCHETYPES = {
  "pepino", "ethics", "memory", "vision", "speech", "planner", "critic", "teacher", "archive", "bridge",
  "sensor", "weaver", "scout", "healer", "oracle", "anchor",
}
local PREPARED = 20000
local requests = {}

function init(args)
  for id in io.lines(args[1]) do
    local archetype = ARCHETYPES[#requests % #ARCHETYPES + 1]
    local path = "/discover?archetype=" .. archetype .. "&limit=" .. args[2] .. "&exclude=" .. id
    requests[#requests + 1] = wrk.format(args[3] or "GET", path)
    if #requests == PREPARED then break end
  end
end

function request()
  return requests[math.random(#requests)]
end
