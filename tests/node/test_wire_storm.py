"""Everything at once: sizes, cancellations, deadlines, a server that comes and goes.

What must hold: every answer is the right one, every call ends, and afterwards nothing is still
counted as under way.
"""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from node.handler import Asker, Response
from node.server import ServerSettings
from node.transport import LinkSettings, TcpTransport
from ring.digest import Buffer
from ring.errors import Busy, DeadlineExceeded, Unreachable
from ring.limits import CHUNK_BYTES, KIB
from ring.messages import GetRecord, PutReply, RecordReply, Request, expect
from tests.fakes.scripted_node import ScriptedNode, key_of, put_of
from tests.node.loops import LOOPS, NewLoop, run_on, until
from tests.node.wire_world import NODE, asking, serving

SIZES = (0, 1, 1000, 64 * KIB, 64 * KIB + 1, 300 * KIB, CHUNK_BYTES)
VALUES = [(Random(size).randbytes(977) * (size // 977 + 1))[:size] for size in SIZES]
SERVER = ServerSettings(payload_bytes_max=2 * CHUNK_BYTES, jobs_per_connection_max=8)
LINK = LinkSettings(
    retry_s_min=0.001, retry_s_max=0.005, unacknowledged_bytes_max=4 * CHUNK_BYTES
)
WORKERS = 24
CALLS = 20


@pytest.fixture(params=list(LOOPS))
def new_loop(request: pytest.FixtureRequest) -> NewLoop:
    return LOOPS[request.param]


class Dawdling(ScriptedNode):
    """Takes its time, now and then too much of it."""

    def __init__(self, rng: Random) -> None:
        super().__init__()
        self._rng = rng
        self.slow_reads = True

    async def handle(self, request: Request, payload: Buffer | None, asker: Asker) -> Response:
        await asyncio.sleep(self._rng.choice((0, 0, 0.001, 0.02)))
        return await super().handle(request, payload, asker)


async def work(transport: TcpTransport, rng: Random, seen: list[str]) -> None:
    for _ in range(CALLS):
        value = rng.choice(VALUES)
        background = rng.random() < 0.2
        timeout_s = rng.choice((0.005, 10.0, 10.0))
        request = put_of(value) if rng.random() < 0.5 else GetRecord(key_of(value))
        is_put = not isinstance(request, GetRecord)
        call = transport.call(
            NODE,
            request,
            value if is_put else None,
            epochs=(1,),
            timeout_s=timeout_s,
            background=background,
            bulk=len(value) > 64 * KIB,
        )
        if rng.random() < 0.2:
            await asyncio.sleep(rng.choice((0, 0.002)))
            call.cancel()
        try:
            answer = await call
        except asyncio.CancelledError:
            seen.append("cancelled")
        except (Busy, DeadlineExceeded, Unreachable) as error:
            seen.append(error.code)
            await asyncio.sleep(0.02)  # long enough to live through the restarts
        else:
            seen.append("answered")
            if is_put:
                expect(answer, PutReply)
            elif expect(answer, RecordReply).state.held:
                seen.append("held")
                assert answer.payload is not None
                assert bytes(answer.payload) == value


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("restarts", [0, 3])
@pytest.mark.parametrize("tls", [False, True])
def test_every_call_ends_and_nothing_is_left_over(
    new_loop: NewLoop, seed: int, restarts: int, tls: bool
) -> None:
    seen: list[str] = []

    async def main() -> None:
        node = Dawdling(Random(seed))
        async with serving(node, settings=SERVER, tls=tls) as (_, address):
            pass
        async with asking(address, settings=LINK, tls=tls) as transport:
            workers = [
                asyncio.ensure_future(work(transport, Random(f"{seed} {number}"), seen))
                for number in range(WORKERS)
            ]
            for turn in range(restarts + 1):
                held = serving(node, settings=SERVER, port=address.port, tls=tls)
                async with held as (server, _):
                    if turn < restarts:
                        await asyncio.sleep(0.05)
                        continue
                    await asyncio.gather(*workers)
                    await until(lambda: server.jobs == 0)
                    value = bytes(CHUNK_BYTES)
                    calls = [
                        transport.call(NODE, put_of(value), value, epochs=(), timeout_s=10.0)
                        for _ in range(4)
                    ]
                    await asyncio.gather(*calls)

    run_on(new_loop, main())
    assert len(seen) - seen.count("held") == WORKERS * CALLS
    assert {"answered", "held", "cancelled", "deadline_exceeded"} <= set(seen)
