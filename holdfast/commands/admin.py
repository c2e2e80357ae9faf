"""holdfast admin ...: for whoever runs a cluster."""

from __future__ import annotations

import asyncio
from typing import Final

import click

from holdfast.care_text import care_lines, repair_text, scrub_begun_text, scrub_text
from holdfast.care_watch import CareWatch, Growth, is_counted_within, ledger_of, total_of
from holdfast.command_line import DIGEST, Call, over_http
from holdfast.garbage_text import garbage_text
from holdfast.progress import Meter
from holdfast.status_text import status_text, where_text
from holdfast.why_text import why_text
from ring.digest import Digest

_POLL_S: Final = 0.5

patience_option = click.option(
    "--patience",
    "stuck_s",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Give up when nothing has moved for so long.",
)


@click.group()
def admin() -> None:
    """Look after a cluster."""


@admin.command()
@over_http
async def status(call: Call) -> None:
    """Say how every node is, and what that means for reads and writes."""
    view = await call.client.status()
    call.answer(view, "\n".join([status_text(view), *care_lines(view)]))


@admin.command()
@click.argument("digest", type=DIGEST)
@over_http
async def where(call: Call, digest: Digest) -> None:
    """Say which nodes should have copies of a blob, and what each of them says."""
    view = await call.client.where(digest)
    call.answer(view, where_text(view))


@admin.command()
@click.argument("digest", type=DIGEST)
@over_http
async def undelete(call: Call, digest: Digest) -> None:
    """Bring a deleted blob back from the trash."""
    stored = await call.client.undelete(digest)
    value = {"digest": str(digest), "size": stored.size_bytes, "restored": stored.created}
    call.answer(value, f"{digest} is back" if stored.created else f"{digest} is there")


@admin.command()
@click.option("--dry-run", is_flag=True, help="Only say it; without this, nodes begin at once.")
@over_http
async def gc(call: Call, *, dry_run: bool) -> None:
    """Say what is on its way out of each node, why, and what it waits for.

    Nodes look for it by themselves, again and again; what may not go yet does not go either when
    they begin at once.
    """
    view = await call.client.garbage(begin=not dry_run)
    call.answer(view, garbage_text(view))


@admin.command()
@click.argument("digest", type=DIGEST)
@over_http
async def why(call: Call, digest: Digest) -> None:
    """Say what is the matter with a blob or a chunk, what happened to it, and what will.

    Nodes remember what happened since they were started, the last 10,000 incidents each.
    """
    view = await call.client.why(digest)
    call.answer(view, why_text(view))


@admin.command()
@patience_option
@over_http
async def repair(call: Call, *, stuck_s: float) -> int:
    """Have every node compare its copies with the others', and wait until all is whole.

    Nodes do so by themselves again and again; this begins at once. Exit code 0 only when a count
    made afterwards says that every digest has all its copies.
    """
    watch = CareWatch("repair_rounds")
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    watch.ordered(await call.client.begin_repair())
    patience = _Patience(stuck_s)
    most = 0
    with Meter("repairing", None, loop.time) as meter:
        while True:
            view = await call.client.care()
            if not watch.looked(view):
                watch.ordered(await call.client.begin_repair())
            ledger = ledger_of(view)
            healed = (
                ledger.get("whole") is True
                and not watch.pending
                and is_counted_within(ledger, loop.time() - began_s)
            )
            moves = [ledger.get(key) for key in ("short", "unsettled", "waiting_bytes")]
            moves.append(total_of(view, "repair_copied_bytes"))
            if healed or patience.is_over([*moves, watch.pending]):
                break
            waiting = ledger.get("waiting_bytes")
            most = _drawn(meter, most, waiting if isinstance(waiting, int) else 0)
            await asyncio.sleep(_POLL_S)
    call.answer({**view, "healed": healed}, repair_text(view, healed=healed))
    return 0 if healed else 1


@admin.command()
@click.option("--wait", is_flag=True, help="Wait for the end, and say what was found.")
@patience_option
@over_http
async def scrub(call: Call, *, wait: bool, stuck_s: float) -> int:
    """Have every node read all its copies again, now and faster than it does by itself.

    Bad copies are put aside and fetched anew. Exit code 0 when every node has begun, with --wait
    when everything was read.
    """
    watch = CareWatch("scrub_laps")
    bad_copies = Growth("bad_copies_found")
    if wait:
        bad_copies.look(await call.client.care())  # before the order: nodes obey at once
    view = await call.client.begin_scrub()
    watch.ordered(view)
    if not wait:
        call.answer(view, scrub_begun_text(view))
        return 1 if watch.errors else 0
    patience = _Patience(stuck_s)
    most = 0
    with Meter("reading", None, asyncio.get_running_loop().time) as meter:
        while True:
            view = await call.client.care()
            if not watch.looked(view):
                view = await call.client.begin_scrub()
                watch.ordered(view)
            bad_copies.look(view)
            pending = watch.pending
            left = total_of(view, "scrub_bytes_left")
            moves = [left, total_of(view, "scrub_read_bytes"), pending]
            if not pending or patience.is_over(moves):
                break
            most = _drawn(meter, most, left)
            await asyncio.sleep(_POLL_S)
    found = bad_copies.total
    text = scrub_text(view, bad_copies=found, pending=pending)
    call.answer({**view, "finished": not pending, "bad_copies_found": found}, text)
    return 1 if pending else 0


class _Patience:
    """Is over when what is looked at has been the same for `stuck_s`."""

    def __init__(self, stuck_s: float) -> None:
        self._stuck_s = stuck_s
        self._last: object = None
        self._since_s = 0.0

    def is_over(self, seen: object) -> bool:
        now_s = asyncio.get_running_loop().time()
        if seen != self._last:
            self._last, self._since_s = seen, now_s
        return now_s - self._since_s >= self._stuck_s


def _drawn(meter: Meter, most: int, left: int) -> int:
    """Draw how much is done of the most that was ever left; that."""
    if left > most:
        meter.expect(left)
        return left
    meter.reach(most - left)
    return most
