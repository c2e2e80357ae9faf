-- The two loads of the small rows, for wrk.
--
--   wrk -s load.lua URL -- post TAG SIZE    POST bodies of SIZE bytes of which no two are alike; TAG
--                                           makes them differ from those of any other run on the
--                                           same cluster. blobs.py makes the same bodies.
--   wrk -s load.lua URL -- get FILE         GET the paths of the file, one a line, in turn
--
-- One thread only: bodies are numbered per thread. wrk asks for one request before the load and
-- throws it away, so the first body that is sent has number 2.

local function post(tag, size)
  local headers = { ["Content-Type"] = "application/octet-stream" }
  local padding = string.rep("x", size)
  local number = 0

  request = function()
    number = number + 1
    local body = (tag .. "-" .. number .. "-" .. padding):sub(1, size)
    return wrk.format("POST", "/v1/blobs?algo=blake3", headers, body)
  end
end

local function get(file)
  local requests, next_one = {}, 0
  for path in io.lines(file) do
    requests[#requests + 1] = wrk.format("GET", path)
  end

  request = function()
    next_one = next_one % #requests + 1
    return requests[next_one]
  end
end

function init(args)
  if args[1] == "post" then
    post(args[2], tonumber(args[3]))
  else
    get(args[2])
  end
end

function done(summary)
  local errors = summary.errors
  io.write(string.format(
    "bench requests=%d duration_us=%d bytes=%d connect=%d read=%d write=%d status=%d timeout=%d\n",
    summary.requests, summary.duration, summary.bytes,
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
