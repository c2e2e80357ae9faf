"""The comparison's table, parsers and order are right.  No test here times or starts a peer."""

import json
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.deadline import Deadline
from bench.failure import RowFailed
from bench.payload import Payload
from bench.peers import rounds, seaweed, traffic
from bench.peers.compare import KEYS, machine_words
from bench.peers.door import Door, Durability, Part, Skipped, System
from bench.peers.ours import bare_handler, holdfast
from bench.peers.rounds import Cell, Turn, order, take_rounds
from bench.peers.scale import QUICK, Scale, loads
from bench.peers.table import Report, as_json, as_markdown
from bench.peers.unmeasured import UNMEASURED, Unmeasured, skip
from bench.plan import Plan

# --- the table ------------------------------------------------------------------------------------


def system(key: str, name: str, part: Part) -> System:
    def running(_deadline: Deadline) -> AbstractContextManager[Door]:
        raise AssertionError

    return System(key, name, "1.0", part, Durability("3", "2", "synced"), "by HTTP", running)


OURS = system("holdfast", "Holdfast", Part.OURS)
WEED = system("weed", "Weed", Part.PEER)
OTHER = system("other", "Other", Part.PEER)
BARE = system("bare", "bare", Part.LIMIT)
ABSENT = Skipped("absent", "Absent", "no `absent` on PATH")


def report(rates: dict[str, float | None], *, failure: str = "", restless: int = 0) -> Report:
    """Every load with the same rates; a system whose rate is None has failed."""
    systems = [one for one in (OURS, WEED, OTHER, BARE) if one.key in rates]
    cells = {}
    for one in systems:
        for load in loads(Scale()):
            rate = rates[one.key]
            cells[one.key, load.key] = (
                Cell(failure=failure) if rate is None else Cell([rate, rate], restless=restless)
            )
    return Report("2026-01-02", "a machine", Scale(), systems, [ABSENT], loads(Scale()), cells)


def test_who_is_behind_is_told_by_how_much_and_of_whom() -> None:
    text = as_markdown(report({"holdfast": 900, "weed": 1200, "other": 1000, "bare": 9000}))

    assert "0.75, behind" in text
    expected = "- Behind in GET 1 KiB, 16 connections: 900 requests/s against the 1,200 of Weed"
    assert f"{expected} (copies: 3), that is by 25%, and the 1,000 of Other" in text
    assert "(copies: 3), that is by 10%." in text


def test_the_limit_is_never_a_peer_to_be_behind_of() -> None:
    made = report({"holdfast": 900, "weed": 300, "bare": 9000})
    text = as_markdown(made)

    assert "behind" not in text.lower()
    assert "| 3.00 |" in " ".join(text.split())
    assert "bare (limit)" in text


def test_the_table_is_markdown_with_one_width_for_each_column() -> None:
    text = as_markdown(report({"holdfast": 900, "weed": 1200, "bare": 9000}))
    lines = [line for line in text.splitlines() if line.startswith("|")]

    assert len({len(line) for line in lines}) == 1
    assert {line.count("|") for line in lines} == {6}
    assert [line.split("|")[1].strip(" -") for line in lines[:5]] == [
        "",
        "",
        "version",
        "copies",
        "synced at the answer",
    ]
    assert len(lines) == 5 + 8


def test_date_machine_doors_durability_and_skipped_peers_are_told() -> None:
    text = as_markdown(report({"holdfast": 900, "weed": 1200}))

    assert text.startswith("Measured 2026-01-02 on a machine; systems in turns, median of 3 rounds")
    assert "- Weed: by HTTP; synced." in text
    assert "- Absent is not measured: no `absent` on PATH." in text


def test_a_system_without_figures_is_told_once_with_its_reason_and_beats_nobody() -> None:
    made = report({"holdfast": 900, "weed": None}, failure="it did not\nstart")
    text = as_markdown(made)

    assert text.count("it did not start") == 1
    assert text.count("| not measured |") == 8
    assert made.standing(made.loads[0]) is None
    assert not made.complete
    assert report({"holdfast": 900, "weed": 1}).complete


def test_a_busy_machine_makes_the_table_not_worth_quoting() -> None:
    quiet = as_markdown(report({"holdfast": 900, "weed": 1200}))
    busy = as_markdown(report({"holdfast": 900, "weed": 1200}, restless=1))

    assert "Not worth quoting" not in quiet
    assert "Not worth quoting: 16 of 32 measurements" in busy


def test_the_widest_spread_of_rounds_is_told() -> None:
    made = report({"holdfast": 900, "weed": 1200})
    made.cells["weed", "get-1k-16"].rates[:] = [800, 1200]

    expected = "Rounds lie furthest apart for Weed in GET 1 KiB, 16 connections: 800 to 1,200"
    assert expected in as_markdown(made)


def test_json_has_every_round_and_null_for_what_is_missing() -> None:
    told = json.loads(as_json(report({"holdfast": 900, "weed": None}, failure="no")))

    assert told["date"] == "2026-01-02"
    assert [one["key"] for one in told["systems"]] == ["holdfast", "weed"]
    assert told["skipped"] == [{"key": "absent", "name": "Absent", "why": "no `absent` on PATH"}]
    first = told["loads"][0]
    assert first["figures"]["holdfast"] == {
        "median": 900,
        "rounds": [900, 900],
        "restless_rounds": 0,
        "failure": None,
    }
    assert first["figures"]["weed"]["median"] is None
    assert (first["best_peer"], first["share_of_best_peer"], first["behind"]) == (None, None, None)


def test_loads_name_the_sizes_they_are_measured_with() -> None:
    full = [load.name for load in loads(Scale())]

    assert full[0] == "PUT 1 KiB, 1 connection"
    assert full[-2:] == ["PUT 1 GiB", "GET 1 GiB"]
    assert loads(QUICK)[-1].name == "GET 128 MiB"
    assert len({load.key for load in loads(Scale())}) == len(full) == 8


# --- rounds ---------------------------------------------------------------------------------------


def test_the_order_moves_on_by_one_so_that_drift_favours_nobody() -> None:
    assert [order(3, number) for number in range(4)] == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]


def test_systems_take_turns_and_one_that_failed_is_left_out() -> None:
    said: list[str] = []

    def turn(name: str, *, fails: bool = False) -> Turn:
        def measure(number: int) -> float:
            said.append(f"{name}{number}")
            if fails:
                raise RowFailed("no")
            return 10.0 + number

        return Turn(name, Cell(), measure)

    turns = [turn("a"), turn("b", fails=True), turn("c")]
    take_rounds(turns, 3, "load", "MB/s", lambda: True)

    assert said == ["a0", "b0", "c0", "c1", "a1", "c2", "a2"]
    assert [one.cell.median for one in turns] == [11.0, None, 11.0]
    assert turns[1].cell.failure == "no"


def test_a_rate_that_was_taken_on_a_busy_machine_is_counted() -> None:
    rest = iter([True, False, False])
    turn = Turn("a", Cell(), lambda _number: 1.0)

    take_rounds([turn], 3, "load", "MB/s", lambda: next(rest))

    assert turn.cell.restless == 2
    assert turn.cell.median == 1.0


def test_no_time_left_is_a_failure_and_no_figure(tmp_path: Path) -> None:
    turn = Turn("a", Cell(), lambda _number: 1.0)

    take_rounds([turn], 1, "load", "MB/s", lambda: rounds.settle(tmp_path, 1, Deadline(0)))

    assert turn.cell.median is None
    assert "no time left" in turn.cell.failure


def test_waiting_for_the_disk_is_not_taken_for_work() -> None:
    assert rounds.parse_cpu("cpu  10 1 20 300 40 5 6 7 0 0\ncpu0 1 1 1 1\n") == (49, 389)


# --- SeaweedFS ------------------------------------------------------------------------------------


def test_the_version_of_seaweedfs_is_found_beside_its_size_limit() -> None:
    assert seaweed.parse_version("version 8000GB 4.48 pypi linux amd64\n") == "4.48"
    assert seaweed.parse_version("version 30GB 3.97 3f8d9ea linux amd64") == "3.97"
    assert seaweed.parse_version("") == "of unknown version"


def test_the_copies_of_an_entry_are_counted_by_server() -> None:
    entry = b'{"FullPath":"/bench/x","chunks":[{"file_id":"3,01ff"},{"file_id":"12,02aa"}]}'
    lookup = b'{"volumeId":"3","locations":[{"url":"a:1"},{"url":"a:2"},{"url":"a:2"}]}'

    assert seaweed.parse_volumes(entry) == ["3", "12"]
    assert seaweed.parse_volumes(b'{"chunks":null}') == []
    assert seaweed.parse_copies(lookup) == 2
    assert seaweed.parse_copies(b'{"error":"volume id not found"}') == 0


def test_volume_servers_are_counted_over_all_racks() -> None:
    node = '{"Url":"127.0.0.1:1"}'
    rack = f'{{"DataNodes":[{node},{node}]}}'
    status = f'{{"Topology":{{"DataCenters":[{{"Racks":[{rack},{rack}]}}]}}}}'

    assert seaweed.parse_servers(status.encode()) == 4
    assert seaweed.parse_servers(b'{"Topology":{"DataCenters":null}}') == 0


# --- what is not measured -------------------------------------------------------------------------


@pytest.mark.parametrize("peer", UNMEASURED)
def test_a_peer_without_an_adapter_is_skipped_in_words_whether_or_not_it_is_there(
    peer: Unmeasured,
) -> None:
    absent = skip(peer, lambda _binary: None)
    present = skip(peer, lambda binary: f"/opt/{binary}")

    assert absent.why.startswith(f"no `{peer.binary}` on PATH, and no adapter")
    assert present.why.startswith(f"/opt/{peer.binary} is there, but no adapter")


def test_an_unknown_system_is_refused_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["peers", "--only", "put-1k"])
    output = capsys.readouterr()

    assert stopped.value.code == 2
    assert output.out == ""
    assert "seaweedfs" in output.err
    assert len(set(KEYS)) == len(KEYS) == 6


def test_the_machine_is_named_with_what_a_figure_depends_on(tmp_path: Path) -> None:
    words = machine_words(tmp_path)

    assert "cores" in words
    assert "GiB of memory" in words
    assert "Linux" in words


def test_holdfast_says_with_what_it_was_started(tmp_path: Path) -> None:
    plain = holdfast(Plan(tmp_path))
    told = holdfast(Plan(tmp_path, serve_arguments=("--store", "memory")))

    assert "`holdfast serve` with its defaults" in plain.door
    assert "`holdfast serve` with --store memory" in told.door


# --- traffic, against the bare handler ------------------------------------------------------------


def test_every_form_of_request_reaches_the_bare_handler(tmp_path: Path) -> None:
    bare = bare_handler(Plan(tmp_path))
    with bare.running(Deadline(30)) as door, closing(Payload(100_000)) as payload:
        paths = traffic.stock(door, "stock", 120, Deadline(20))
        target, path = door.large_paths("large", payload)
        with pytest.raises(RowFailed, match="reads as other bytes"):
            traffic.check_small(door, "stock", 1)

    assert len(paths) == len(set(paths)) == 120
    assert target == "/v1/blobs/any"
    assert path == "/stream?bytes=100000"
    with pytest.raises(RowFailed, match="got no answer"):
        traffic.put_one(door, "late", 1)
