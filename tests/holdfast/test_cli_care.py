"""admin status, why, repair and scrub: what is said, when they end, and with which exit code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.care_watch import CareWatch, Growth
from ring.operating import CareOrder
from tests.golden.golden_file import Golden
from tests.holdfast.cli_shell import HELLO, LEDGER, WHOLE, Shell, care, running_shell


@pytest.fixture
async def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> AsyncIterator[Shell]:
    async with running_shell(tmp_path, monkeypatch, capsysbinary) as running:
        yield running


async def test_what_operators_read_is_known(shell: Shell, golden: Golden) -> None:
    """What a change of this golden file means: people read it otherwise; say so in CHANGELOG.md."""
    parts = []
    shell.views.cares = [care(1, ticket=1), care(1, WHOLE)]
    said = await shell("admin", "repair")
    parts.append(("repair, healed", said))
    shell.views.cares = [care(1, ticket=1), care(1, LEDGER)]
    parts.append(("repair, not healed", await shell("admin", "repair", "--patience", "0")))
    shell.views.cares = [care(0, ticket=1)]
    parts.append(("scrub", await shell("admin", "scrub")))
    shell.views.cares = [care(0), care(0, ticket=1), care(2), care(4)]
    parts.append(("scrub --wait", await shell("admin", "scrub", "--wait")))
    shell.views.cares = [care(0), care(0, ticket=1), care(1)]
    parts.append(
        ("scrub --wait, stuck", await shell("admin", "scrub", "--wait", "--patience", "0"))
    )
    parts.append(("why", await shell("admin", "why", str(HELLO))))
    parts.append(("status", await shell("admin", "status")))
    golden.check(
        "operators.txt",
        "\n".join(f"== {name}: exit code {said.code}\n{said.text}" for name, said in parts),
    )
    assert not any(said.err for _, said in parts)


async def test_repair_is_healed_only_after_a_count_made_since(shell: Shell) -> None:
    shell.views.cares = [care(3, WHOLE, ticket=5), care(3, WHOLE), care(4, WHOLE), care(5, WHOLE)]
    said = await shell("admin", "repair", "--json")
    assert (said.code, said.json["healed"]) == (0, True)
    assert shell.views.cares == [care(5, WHOLE)]
    assert shell.views.begun == [CareOrder.REPAIR]


async def test_repair_is_not_healed_by_what_was_counted_before_it_began(shell: Shell) -> None:
    shell.views.cares = [care(1, WHOLE, ticket=1), care(1, {**WHOLE, "counted_s_ago": 3_600.0})]
    assert (await shell("admin", "repair", "--patience", "0")).code == 1


async def test_repair_gives_up_when_nothing_moves(shell: Shell) -> None:
    shell.views.cares = [care(1, ticket=1), care(1)]
    said = await shell("admin", "repair", "--patience", "0", "--json")
    assert (said.code, said.json["healed"]) == (1, False)


async def test_an_order_that_a_restart_forgot_is_given_again(shell: Shell) -> None:
    again = [care(0, WHOLE), care(0, WHOLE, ticket=1), care(1, WHOLE)]
    shell.views.cares = [care(7, WHOLE, ticket=9), care(8, WHOLE), *again]
    assert (await shell("admin", "repair")).code == 0
    assert shell.views.begun == [CareOrder.REPAIR, CareOrder.REPAIR]


async def test_a_scrub_that_is_not_waited_for_is_only_begun(shell: Shell) -> None:
    shell.views.cares = [care(0, ticket=1)]
    assert (await shell("admin", "scrub")).code == 0
    assert shell.views.begun == [CareOrder.SCRUB]


async def test_a_scrub_says_how_many_bad_copies_it_found(shell: Shell) -> None:
    shell.views.cares = [care(0), care(2, ticket=1), care(3)]  # found before the order's answer
    said = await shell("admin", "scrub", "--wait", "--json")
    assert (said.code, said.json["finished"], said.json["bad_copies_found"]) == (0, True, 1)


def row(node: str, rounds: int, ticket: int | None = None, error: str | None = None) -> object:
    figures = {"repair_rounds": rounds}
    return {"node": node, "error": error, "figures": figures, "ticket": ticket}


def test_a_watch_waits_for_every_node() -> None:
    watch = CareWatch("repair_rounds")
    watch.ordered({"nodes": [row("a", 1, 2), row("b", 5, 6), row("c", 0, None, "no answer")]})
    assert watch.pending == ["a", "b", "c"]
    assert watch.looked({"nodes": [row("a", 2), row("b", 5), row("c", 0, None, "no answer")]})
    assert (watch.pending, watch.errors) == (["b", "c"], {"c": "no answer"})


def test_a_node_that_came_back_is_given_the_order() -> None:
    watch = CareWatch("repair_rounds")
    watch.ordered({"nodes": [row("a", 1, 2), row("c", 0, None, "no answer")]})
    assert not watch.looked({"nodes": [row("a", 2), row("c", 40)]})
    watch.ordered({"nodes": [row("a", 2, 3), row("c", 40, 41)]})
    assert watch.looked({"nodes": [row("a", 3), row("c", 41)]})
    assert watch.pending == []


def test_growth_counts_what_nodes_found_since_they_were_first_seen() -> None:
    found = Growth("repair_rounds")
    found.look({"nodes": [row("a", 7), row("b", 0, None, "no answer")]})
    found.look({"nodes": [row("a", 9), row("b", 100)]})
    assert found.total == 2
    found.look({"nodes": [row("a", 0, None, "no answer"), row("b", 101)]})
    assert found.total == 3
    found.look({"nodes": [row("a", 1), row("b", 101)]})  # a has been started again
    assert found.total == 4
