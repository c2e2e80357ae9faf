"""The planted bugs of a node's wire, on both ends of it; see tests/mutants/mutant.py."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

NODE: Final = "tests/node/test_"
LINK: Final = (NODE + "link.py",)
TRANSPORT: Final = (NODE + "transport.py",)
ASKED: Final = (NODE + "asked_connection.py",)
SERVER: Final = (NODE + "server.py",)
BOUNDS: Final = (NODE + "server_bounds.py",)
WORK: Final = (NODE + "work.py",)

WIRE_MUTANTS: Final = (
    Mutant(
        "wire: a node that was down once stays down when nobody asked meanwhile",
        "node/link.py",
        "                if not self._asked:\n"
        "                    self._down = None  # nobody is interested; the next call tries"
        " again\n",
        "                if not self._asked:\n",
        LINK,
    ),
    Mutant(
        "wire: what failed long ago makes the pauses long for ever",
        "node/link.py",
        "        self._failures = self._failures + 1 if connection.answers == 0 else 0\n",
        "        self._failures += connection.answers == 0\n",
        LINK,
    ),
    Mutant(
        "wire: pauses between attempts double without an end",
        "node/link.py",
        "        return min(doubled, self._settings.retry_s_max) * share\n",
        "        return doubled * share\n",
        LINK,
    ),
    Mutant(
        "wire: a value is still read after the deadline of its call",
        "node/link.py",
        "        if freed:\n            self._drop_unwanted()\n",
        "",
        TRANSPORT,
    ),
    Mutant(
        "wire: a connection that broke at once is taken for one that is up",
        "node/link.py",
        "            if connection.over:\n"
        '                raise Unreachable("the connection broke at once")\n',
        "",
        LINK,
    ),
    Mutant(
        "wire: silence is counted from a call that nobody waits for any more",
        "node/link.py",
        "        if connection is None or not self._pending:\n"
        "            self._silent = None\n"
        "            return\n",
        "        if connection is None or not self._pending:\n            return\n",
        LINK,
    ),
    Mutant(
        "wire: a connection that was never welcome stays open",
        "node/transport.py",
        "            if connection is not None and not _is_welcome(connection):\n"
        "                connection.abort()\n",
        "            pass\n",
        TRANSPORT,
    ),
    Mutant(
        "wire: half a large value is not half a frame",
        "node/frames.py",
        "        return self._large is not None or self._end > self._start\n",
        "        return self._end > self._start\n",
        BOUNDS,
    ),
    Mutant(
        "wire: the socket is read although frames are held again",
        "node/connection.py",
        "        if not (self.over or self.frames_held):\n",
        "        if not self.over:\n",
        ASKED,
    ),
    Mutant(
        "wire: an asker is hung up on because its node does not read",
        "node/asked_connection.py",
        "        receiving = self.mid_frame and not"
        " (self._flow is not None and self._flow.held)\n",
        "        receiving = self.mid_frame\n",
        ASKED,
    ),
    Mutant(
        "wire: the room of a value is lost with a request that makes no sense",
        "node/request_flow.py",
        "        except PeerProtocol:\n"
        "            self._serving.payloads.give_back(charge)\n"
        "            raise\n",
        "",
        ASKED,
    ),
    Mutant(
        "wire: the room of a value is lost when its request is refused at once",
        "node/request_flow.py",
        "            return True\n"
        "        self._serving.payloads.give_back(charge)\n"
        "        return True\n",
        "            return True\n        return True\n",
        ASKED,
    ),
    Mutant(
        "wire: room is granted to a connection that is gone",
        "node/request_flow.py",
        "        self._serving.payloads.withdraw(self._payload_granted)\n",
        "",
        ASKED,
    ),
    Mutant(
        "wire: an asker says how long work may take",
        "node/request_flow.py",
        "        patience_s = min(asked.deadline_ms / 1000,"
        " self._serving.settings.deadline_s_max)\n",
        "        patience_s = asked.deadline_ms / 1000\n",
        SERVER,
    ),
    Mutant(
        "wire: connections end before the answers of a drain",
        "node/server.py",
        "                await self._serving.work.finished()\n"
        "                for connection in list(self._connections):\n"
        "                    connection.close()\n",
        "                for connection in list(self._connections):\n"
        "                    connection.close()\n"
        "                await self._serving.work.finished()\n",
        SERVER,
    ),
    Mutant(
        "wire: a socket that takes more wakes who has nothing to write",
        "node/frame_sender.py",
        "            self._scheduled = False\n            self._stop_waiting()\n",
        "            self._scheduled = False\n",
        (NODE + "frame_sender.py",),
    ),
    Mutant(
        "wire: the timer stands at the last deadline that was looked at",
        "node/work.py",
        "                earliest = min(earliest, job.deadline)\n",
        "                earliest = job.deadline\n",
        WORK,
    ),
    Mutant(
        "wire: a silence of long ago is taken up again",
        "node/link.py",
        "        if was_left or self._silent is None or",
        "        if self._silent is None or",
        LINK,
    ),
    Mutant(
        "wire: the timer of deadlines rings once",
        "node/deadline_sweep.py",
        "        self.watch(self._expire(self._loop.time()))\n",
        "        self._expire(self._loop.time())\n",
        WORK,
    ),
    Mutant(
        "wire: who comes later passes who waits for room",
        "node/allowance.py",
        "        if self._waiting or not self._fits(amount):\n",
        "        if not self._fits(amount):\n",
        (NODE + "allowance.py",),
    ),
    Mutant(
        "wire: buffers that nobody uses are kept without an end",
        "node/payload_slots.py",
        "        if self.idle_bytes + len(memory) <= self._idle_bytes_max:\n",
        "        if self._idle_bytes_max:\n",
        (NODE + "payload_slots.py",),
    ),
    Mutant(
        "wire: a proof holds for every hello",
        "node/handshake.py",
        "blake3(pack((prover, hello, terms)), key=key)",
        "blake3(pack((prover, terms)), key=key)",
        (NODE + "handshake.py",),
    ),
)
