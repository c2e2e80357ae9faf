"""The benchmark's arithmetic, parsers and output are right.  No test here times anything."""

import hashlib
import json
import subprocess
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from bench import blobs, curl, proc, wrk
from bench.__main__ import main, measure
from bench.bare import running_bare
from bench.budgets import Experiment, experiments
from bench.cluster import roles
from bench.deadline import Deadline
from bench.failure import RowFailed, ToolMissing
from bench.fill import fill
from bench.memory import MemorySampler
from bench.pairs import Pair, measure_pairs, median_pair, spread
from bench.payload import Payload
from bench.plan import GIB, MIB, Plan, quick, size_words
from bench.profile import parse_stacks, top_lines
from bench.rows import Measured, Row, Rule, Spec, as_json, as_text
from bench.scratch import require_room, scratch_folder
from bench.uploads import payload_bytes, run_uploads, stored_digest
from ring.limits import CHUNK_BYTES

RATE = Spec("get", "GET 1 KiB", "requests/s", Rule.SHARE_AT_LEAST, 0.55, due=True)
MEMORY = Spec("memory", "gateway memory", "MiB", Rule.AT_MOST, 1024, due=False)


# --- rows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "measured", "met"),
    [
        (RATE, Measured(5_500, 10_000), True),
        (RATE, Measured(5_499, 10_000), False),
        (RATE, Measured(9_000, 10_000, full_scale=False), None),
        (RATE, Measured(1_000, 10_000, full_scale=False), False),
        (RATE, Measured(1_000, 0), False),
        (MEMORY, Measured(1024, 80), True),
        (MEMORY, Measured(1024.1, 80), False),
        (MEMORY, Measured(80, 80, full_scale=False), None),
        (MEMORY, Measured(2048, 80, full_scale=False), False),
        (MEMORY, None, False),
    ],
)
def test_a_budget_is_met_only_by_a_figure_at_full_scale(
    spec: Spec, measured: Measured | None, met: bool | None
) -> None:
    assert Row(spec, measured).met is met


def test_json_has_the_six_fields_of_each_row_and_nothing_else() -> None:
    rows = [Row(RATE, Measured(6_000.06, 10_000)), Row(MEMORY, None, failure="no disk")]

    assert json.loads(as_json(rows)) == [
        {
            "name": "GET 1 KiB",
            "value": 6000.1,
            "unit": "requests/s",
            "limit": 10_000,
            "budget": 0.55,
            "met": True,
        },
        {
            "name": "gateway memory",
            "value": None,
            "unit": "MiB",
            "limit": None,
            "budget": 1024,
            "met": False,
        },
    ]


def test_the_table_says_in_words_what_was_not_measured_and_why() -> None:
    text = as_text(
        [
            Row(RATE, Measured(6_000, 10_000, note="median of 5 pairs")),
            Row(MEMORY, None, failure="the disk is too small"),
        ]
    )
    _, _, rate, note, memory, failure = text.splitlines()

    assert rate.split("  ")[0] == "GET 1 KiB"
    assert "6,000 requests/s" in rate
    assert "0.600" in rate
    assert note.strip() == "median of 5 pairs"
    assert "not measured" in memory
    assert "not due yet" in memory
    assert failure.strip() == "the disk is too small"


def test_a_failed_experiment_gives_rows_without_figures(tmp_path: Path) -> None:
    def fails(_plan: Plan, _deadline: Deadline) -> list[Measured]:
        raise RowFailed("12 status errors")

    rows = measure(Experiment("x", (RATE, MEMORY), fails), Plan(tmp_path), Deadline(10))

    assert [(row.measured, row.failure, row.met) for row in rows] == [
        (None, "12 status errors", False),
        (None, "12 status errors", False),
    ]


def test_an_experiment_for_which_no_time_is_left_is_not_begun(tmp_path: Path) -> None:
    def must_not_run(_plan: Plan, _deadline: Deadline) -> list[Measured]:
        raise AssertionError

    (row,) = measure(Experiment("x", (RATE,), must_not_run), Plan(tmp_path), Deadline(0))

    assert row.measured is None
    assert "no time left" in row.failure


def test_rows_name_the_sizes_they_were_measured_with(tmp_path: Path) -> None:
    small = {e.key: e.specs for e in experiments(quick(tmp_path, serve_arguments=("--x",)))}
    full = {e.key: e.specs for e in experiments(Plan(tmp_path))}

    assert "1 GiB" in full["get-1g"][0].name
    assert "128 MiB" in small["get-1g"][0].name
    assert "10,000 blobs" in full["node-start"][0].name
    assert "64 uploads of 64 MiB" in full["gateway-memory"][0].name
    assert all("[--x]" in spec.name for specs in small.values() for spec in specs)
    assert len({spec.name for specs in full.values() for spec in specs}) == 8


def test_an_unknown_row_is_refused_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--only", "put-9g"])
    output = capsys.readouterr()

    assert stopped.value.code == 2
    assert output.out == ""
    assert "put-1k" in output.err


# --- pairs ----------------------------------------------------------------------------------------


def test_pairs_change_the_order_so_that_drift_favours_neither_side() -> None:
    order: list[str] = []

    def take(name: str, rate: float) -> float:
        order.append(name)
        return rate

    pairs = measure_pairs(lambda: take("cluster", 4.0), lambda: take("bare", 8.0), 3)

    assert order == ["bare", "cluster", "cluster", "bare", "bare", "cluster"]
    assert pairs == [Pair(4.0, 8.0)] * 3


def test_the_pair_with_the_median_ratio_is_quoted_whole() -> None:
    slow, middle, fast = Pair(900, 3000), Pair(4, 10), Pair(50, 100)

    assert median_pair([fast, slow, middle]) == middle
    assert median_pair([fast, middle]) == middle
    assert spread([fast, slow, middle]) == "median of 3 pairs, ratios 0.300 to 0.500"


# --- wrk ------------------------------------------------------------------------------------------

WRK_OUTPUT = """Running 1s test @ http://127.0.0.1:1234
  1 threads and 64 connections
Requests/sec:   9932.05
bench requests=9940 duration_us=2000000 bytes=11700000 \
connect=0 read=0 write=0 status={status} timeout={timeout}
"""


def test_wrk_is_read_by_the_line_of_our_own_script() -> None:
    load = wrk.parse(WRK_OUTPUT.format(status=0, timeout=0))

    assert load.rate == 4970
    assert load.bytes_received == 11_700_000
    assert load.complaint() == ""


def test_a_load_with_errors_says_which() -> None:
    load = wrk.parse(WRK_OUTPUT.format(status=12, timeout=3))

    assert load.complaint() == "12 status errors, 3 timeout errors"


def test_a_load_without_answers_is_a_complaint_and_one_without_summary_fails() -> None:
    silent = wrk.Load(requests=0, duration_s=1.0, bytes_received=0, errors=())

    assert silent.complaint() == "no answer at all"
    with pytest.raises(RowFailed, match="unable to connect"):
        wrk.parse("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_bodies_have_their_size_and_no_two_are_alike() -> None:
    bodies = [blobs.body(tag, number, 64) for tag in ("a", "b") for number in range(100)]

    assert {len(body) for body in bodies} == {64}
    assert len(set(bodies)) == 200
    assert blobs.body("put1", 2, 10) == b"put1-2-xxx"


# --- curl and payload -----------------------------------------------------------------------------


def test_curl_is_read_in_the_format_it_was_asked_for() -> None:
    transfer = curl.parse("201 1073741824 88 0.500000")

    assert (transfer.status, transfer.bytes_sent, transfer.bytes_received) == (201, GIB, 88)
    assert transfer.rate(10**9) == 2_000
    with pytest.raises(RowFailed, match="nothing readable"):
        curl.parse("")


def test_a_renewed_payload_has_no_chunk_of_the_one_before() -> None:
    with closing(Payload(CHUNK_BYTES * 2 + 100)) as payload:
        before = Path(payload.file).read_bytes()
        payload.renew()
        after = Path(payload.file).read_bytes()

        assert payload.digest("sha256") == f"sha256:{hashlib.sha256(after).hexdigest()}"
        part = hashlib.sha256(after[10:100]).hexdigest()
        assert payload.digest("sha256", 10, 90) == f"sha256:{part}"
    for offset in range(0, len(before), CHUNK_BYTES):
        assert before[offset : offset + CHUNK_BYTES] != after[offset : offset + CHUNK_BYTES]


def test_other_processes_can_read_a_payload_as_a_file() -> None:
    with closing(Payload(1000)) as payload:
        told = subprocess.run(
            ["sha256sum", payload.file], capture_output=True, text=True, check=True
        )
        expected = payload.digest("sha256")

    assert told.stdout.split()[0] == expected.removeprefix("sha256:")


def test_a_payload_that_memory_cannot_hold_is_refused_in_words() -> None:
    with pytest.raises(RowFailed, match="MiB are available"):
        Payload(1 << 50)


# --- the bare server, and the clients against it --------------------------------------------------


def test_the_bare_server_takes_what_the_clients_send(tmp_path: Path) -> None:
    with (
        running_bare(tmp_path, Deadline(30)) as bare,
        closing(Payload(payload_bytes(3, MIB))) as payload,
    ):
        looks: list[int] = []
        answers = run_uploads(
            bare.port,
            payload,
            3,
            MIB,
            Deadline(20),
            watch=lambda: looks.append(1),
            interval_s=0.01,
        )
        fill(bare.port, "test", 100, 1024, Deadline(20))
        memory = proc.rss_anon_bytes(bare.pid)

    assert [stored_digest(answer) for answer in answers] == [f"blake3:{'0' * 64}"] * 3
    assert looks
    assert memory > MIB
    assert proc.stat(bare.pid) is None


def test_an_upload_that_was_refused_or_cut_off_is_not_taken_for_stored() -> None:
    refused = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"

    with pytest.raises(RowFailed, match=r"503.*busy"):
        stored_digest(refused)
    with pytest.raises(RowFailed):
        stored_digest(b"")


def test_filling_a_server_that_is_not_there_fails_in_words() -> None:
    with pytest.raises(RowFailed, match="storing 5 blobs failed"):
        fill(1, "test", 5, 1024, Deadline(5))


# --- processes and memory -------------------------------------------------------------------------


def test_a_process_whose_name_has_blanks_and_brackets_is_read_right() -> None:
    fields = "S 17 40 39 0 -1 0 0 0 0 0 250 50 0 0 20 0 1 0 12345 0 0"
    found = proc.parse_stat(f"42 (a ) (b) {fields}")

    assert (found.pid, found.parent, found.session, found.state) == (42, 17, 39, "S")
    assert found.cpu_s == pytest.approx(300 / 100)
    assert found.start_s == pytest.approx(123.45)


def test_anonymous_memory_is_counted_in_bytes() -> None:
    assert proc.parse_rss_anon_bytes("VmRSS:\t 900 kB\nRssAnon:\t     512 kB\n") == 512 * 1024
    assert proc.parse_rss_anon_bytes("State:\tZ (zombie)\n") == 0


def test_only_listening_sockets_have_a_port_to_ask() -> None:
    text = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt uid timeout "
        "inode\n"
        "   0: 0100007F:1B9E 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 777 1 0\n"
        "   1: 0100007F:1B9F 0100007F:9999 01 00000000:00000000 00:00000000 00000000 0 0 778 1 0\n"
    )

    assert proc.parse_listening(text) == {"777": 7070}


def test_processes_of_a_cluster_are_told_apart_and_workers_follow_their_parent() -> None:
    def member(pid: int, parent: int) -> proc.Stat:
        return proc.Stat(pid, parent, 1, "S", 0.0, 0.0)

    family = [member(10, 1), member(11, 1), member(12, 1), member(20, 10)]
    commands = {
        10: ["python", "-m", "holdfast", "gateway", "--config", "node.toml"],
        11: ["python", "-m", "holdfast", "node", "--config", "x"],
        12: ["python", "-c", "from multiprocessing.resource_tracker import main"],
        20: ["python", "-c", "worker"],
    }

    assert roles(family, commands) == {"gateway": [10, 20], "node": [11]}


def test_a_peak_is_the_largest_sum_over_the_processes_at_one_time() -> None:
    memory = {1: [5, 50, 10, 10], 2: [60, 1, 70, 1]}
    sampler = MemorySampler(lambda: [1, 2], lambda pid: memory[pid].pop(0))
    for _ in range(4):
        sampler.sample()

    assert sampler.peak_bytes == 80
    assert sampler.halves_bytes() == (65, 80)


# --- time and room --------------------------------------------------------------------------------


def test_a_wait_gets_at_most_what_is_left_of_the_whole() -> None:
    now = [100.0]
    deadline = Deadline(10, clock=lambda: now[0])

    assert deadline.share_s(4, "a") == 4
    now[0] = 107.0
    assert deadline.share_s(4, "a") == 3
    now[0] = 200.0
    assert deadline.remaining_s() == 0
    with pytest.raises(RowFailed, match="no time left for a load"):
        deadline.share_s(4, "a load")


def test_a_disk_without_room_is_refused_with_both_numbers(tmp_path: Path) -> None:
    require_room(tmp_path, -(1 << 50), "nothing")
    with pytest.raises(RowFailed, match=r"64 uploads needs .* MiB free"):
        require_room(tmp_path, 1 << 60, "64 uploads")


def test_a_folder_in_memory_is_refused_because_nothing_is_durable_there(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match="--dir"), scratch_folder(tmp_path / "absent"):
        pass
    if proc.file_system(Path("/dev/shm")) == "tmpfs":
        with pytest.raises(ToolMissing, match="in memory"), scratch_folder(Path("/dev/shm")):
            pass


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [(GIB, "1 GiB"), (64 * MIB, "64 MiB"), (1024, "1 KiB"), (1500, "1500 bytes")],
)
def test_sizes_are_named_by_the_largest_unit_that_divides_them(size_bytes: int, words: str) -> None:
    assert size_words(size_bytes) == words


# --- profile --------------------------------------------------------------------------------------


def test_self_time_belongs_to_the_innermost_function() -> None:
    stacks = parse_stacks("run (a.py:1);read (b.py:2) 6\nrun (a.py:1) 2\nrun (a.py:1);x;x 2\n\n")

    assert stacks == Counter(
        {
            ("run (a.py:1)", "read (b.py:2)"): 6,
            ("run (a.py:1)",): 2,
            ("run (a.py:1)", "x", "x"): 2,
        }
    )
    assert [(line.function, line.own_share, line.total_share) for line in top_lines(stacks, 2)] == [
        ("read (b.py:2)", 0.6, 0.6),
        ("run (a.py:1)", 0.2, 1.0),
    ]
