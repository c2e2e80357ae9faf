-- Puts whose targets were computed ahead of the load, for wrk.
--
--   wrk -s prepared.lua URL -- METHOD FILE TAG SIZE     body number N goes to the target in line N
--
-- The bodies are those of load.lua, which is loaded first: its summary at the end is used as it is.
-- Behind the last line its target is sent again; bench/peers/prepared.py gives such a load no rate.

local folder = debug.getinfo(1, "S").source:match("^@(.*)/")
dofile(folder .. "/../load.lua")

function init(args)
  local method, tag, size = args[1], args[3], tonumber(args[4])
  local headers = { ["Content-Type"] = "application/octet-stream" }
  local padding = string.rep("x", size)
  local targets, number = {}, 0
  for target in io.lines(args[2]) do
    targets[#targets + 1] = target
  end

  request = function()
    number = math.min(number + 1, #targets)
    local body = (tag .. "-" .. number .. "-" .. padding):sub(1, size)
    return wrk.format(method, targets[number], headers, body)
  end
end
