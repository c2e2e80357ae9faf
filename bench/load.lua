-- The small loads, for wrk.
--
--   wrk -s load.lua URL -- put METHOD TARGET TAG SIZE   bodies of SIZE bytes of which no two are
--                                                       alike; {name} in TARGET becomes the name
--   wrk -s load.lua URL -- get FILE                     the paths of the file, one a line, in turn
--
-- One thread only. A body is named TAG-NUMBER and begins with its name; bench/blobs.py makes the
-- same bodies. wrk asks for one request before the load and throws it away, so number 2 is the first
-- that is sent. The last line is read by bench/wrk.py.

local function put(method, target, tag, size)
  local headers = { ["Content-Type"] = "application/octet-stream" }
  local padding = string.rep("x", size)
  local number = 0

  request = function()
    number = number + 1
    local name = tag .. "-" .. number
    local path = target:gsub("{name}", name)
    return wrk.format(method, path, headers, (name .. "-" .. padding):sub(1, size))
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
  if args[1] == "put" then
    put(args[2], args[3], args[4], tonumber(args[5]))
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
