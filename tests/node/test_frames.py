"""The frame parser: the same frames whatever pieces the bytes come in, and no trust."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.frames import WINDOW_BYTES, FrameReader
from ring.codec import HEADER, NO_PAYLOAD, frame
from ring.digest import Buffer
from ring.errors import PeerProtocol
from ring.limits import ENVELOPE_BYTES_MAX, MIB, PAYLOAD_BYTES_MAX, PAYLOAD_SMALL_BYTES_MAX

Frame = tuple[bytes, bytes | None]
LARGE = PAYLOAD_SMALL_BYTES_MAX + 1


class Collector(FrameReader):
    """Keeps what it is handed.

    buffers: how many large payloads may be received before somebody has to wait.
    refuses: the envelope that it cannot stand.
    """

    def __init__(
        self,
        *,
        envelope_bytes_max: int = ENVELOPE_BYTES_MAX,
        payload_bytes_max: int = PAYLOAD_BYTES_MAX,
    ) -> None:
        super().__init__(
            envelope_bytes_max=envelope_bytes_max, payload_bytes_max=payload_bytes_max
        )
        self.frames: list[Frame] = []
        self.faults: list[PeerProtocol] = []
        self.buffers = 1_000
        self.refuses = b"refuse"
        self.hold_after = b"hold"
        self.expected: list[int] = []
        self.window_bytes_most = 0

    def frame_received(self, envelope: memoryview, payload: Buffer | None) -> None:
        if envelope == self.refuses:
            raise PeerProtocol("not this one")
        self.frames.append((bytes(envelope), None if payload is None else bytes(payload)))
        if envelope == self.hold_after:
            self.hold_frames()

    def payload_buffer(self, size_bytes: int) -> memoryview | None:
        if self.buffers == 0:
            self.hold_frames()
            return None
        self.buffers -= 1
        return memoryview(bytearray(b"\xee" * size_bytes))

    def framing_broken(self, error: PeerProtocol) -> None:
        self.faults.append(error)

    def bytes_expected(self, count: int) -> None:
        self.expected.append(count)

    def feed(self, data: bytes, pieces: Iterable[int]) -> None:
        """Receive `data` in reads of those sizes, as far as the parser has room for each."""
        rest = memoryview(data)
        sizes = iter(pieces)
        while rest and not self.frames_held:
            room = self.get_buffer(-1)
            assert len(room) > 0
            self.window_bytes_most = max(self.window_bytes_most, len(room))
            count = min(len(room), len(rest), next(sizes, len(rest)))
            room[:count] = rest[:count]
            rest = rest[count:]
            self.buffer_updated(count)


def encoded(frames: Iterable[Frame]) -> bytes:
    return b"".join(
        frame(envelope, None if payload is None else len(payload)) + (payload or b"")
        for envelope, payload in frames
    )


def ones() -> Iterator[int]:
    while True:
        yield 1


def three_ways(data: bytes, **limits: int) -> Collector:
    """Receive glued together, byte by byte and in odd pieces; all must agree."""
    collectors = []
    for pieces in (iter(()), ones(), iter([1, 7, 8, 9, 4095, 65536, 3] * 100_000)):
        collector = Collector(**limits)
        collector.feed(data, pieces)
        collectors.append(collector)
    whole, *others = collectors
    for other in others:
        assert other.frames == whole.frames
        assert [str(fault) for fault in other.faults] == [str(fault) for fault in whole.faults]
        assert other.mid_frame == whole.mid_frame
    return whole


@pytest.mark.parametrize(
    "frames",
    [
        [(b"e", None)],
        [(b"e", b"")],
        [(b"e", b"x")],
        [(b"first", None), (b"second", b"payload"), (b"third", None)],
        [(b"e" * 300, b"p" * PAYLOAD_SMALL_BYTES_MAX), (b"next", None)],
        [(b"large", b"p" * LARGE), (b"next", b"small"), (b"large again", b"q" * LARGE)],
        [(b"e" * (WINDOW_BYTES + 5), None), (b"next", b"p")],
    ],
    ids=["bare", "empty", "small", "several", "filling", "large", "long envelope"],
)
def test_frames_are_found_however_the_bytes_are_cut(frames: list[Frame]) -> None:
    collector = three_ways(encoded(frames))

    assert collector.frames == frames
    assert not collector.faults
    assert not collector.mid_frame


_sizes = st.one_of(st.integers(0, 40), st.sampled_from([PAYLOAD_SMALL_BYTES_MAX, LARGE, 3 * LARGE]))
_frames = st.lists(
    st.tuples(
        st.integers(1, 3_000).map(lambda size: b"e" * size),
        st.one_of(st.none(), _sizes.map(lambda size: b"p" * size)),
    ),
    max_size=6,
)


@given(_frames, st.lists(st.integers(1, 200_000), max_size=60))
def test_any_frames_in_any_pieces(frames: list[Frame], pieces: list[int]) -> None:
    collector = Collector()
    collector.feed(encoded(frames), pieces)

    assert collector.frames == frames
    assert not collector.faults


@given(st.binary(max_size=600), st.lists(st.integers(1, 50), max_size=60))
def test_garbage_is_refused_once_or_waits_for_more(data: bytes, pieces: list[int]) -> None:
    collector = Collector()
    collector.feed(data, pieces)

    assert len(collector.faults) <= 1
    assert collector.window_bytes_most <= PAYLOAD_BYTES_MAX


@given(_frames.filter(bool), st.data())
def test_a_torn_stream_gives_the_whole_frames_before_the_tear(
    frames: list[Frame], data: st.DataObject
) -> None:
    stream = encoded(frames)
    tear = data.draw(st.integers(0, len(stream)))
    collector = Collector()
    collector.feed(stream[:tear], [])

    whole = len(collector.frames)
    assert collector.frames == frames[:whole]
    assert collector.mid_frame == (encoded(frames[:whole]) != stream[:tear])
    assert not collector.faults


@pytest.mark.parametrize(
    ("envelope_bytes", "payload_bytes", "words"),
    [
        (0, NO_PAYLOAD, "envelope of 0 bytes"),
        (ENVELOPE_BYTES_MAX + 1, NO_PAYLOAD, "envelope of"),
        (0xFFFF_FFFF, 0, "envelope of"),
        (1, PAYLOAD_BYTES_MAX + 1, "payload of"),
        (1, NO_PAYLOAD - 1, "payload of"),
    ],
)
def test_lengths_out_of_bounds_end_it(envelope_bytes: int, payload_bytes: int, words: str) -> None:
    header = HEADER.pack(envelope_bytes, payload_bytes)
    collector = three_ways(encoded([(b"good", None)]) + header + encoded([(b"after", None)]))

    assert collector.frames == [(b"good", None)]
    assert len(collector.faults) == 1
    assert words in collector.faults[0].detail


def test_a_stranger_may_say_little() -> None:
    limits = {"envelope_bytes_max": 10, "payload_bytes_max": 0}

    assert three_ways(encoded([(b"e" * 10, b"")]), **limits).frames == [(b"e" * 10, b"")]
    assert three_ways(encoded([(b"e" * 11, None)]), **limits).faults
    assert three_ways(encoded([(b"e", b"p")]), **limits).faults


def test_limits_can_be_raised_in_the_middle_of_a_read() -> None:
    class Trusting(Collector):
        def frame_received(self, envelope: memoryview, payload: Buffer | None) -> None:
            super().frame_received(envelope, payload)
            self.payload_bytes_max = PAYLOAD_BYTES_MAX

    collector = Trusting(payload_bytes_max=0)
    frames: list[Frame] = [(b"hello", None), (b"put", b"p" * LARGE)]
    collector.feed(encoded(frames), [])

    assert collector.frames == frames


@pytest.mark.parametrize("payload", [None, b"p", b"p" * LARGE], ids=["bare", "small", "large"])
def test_an_envelope_that_makes_no_sense_ends_it(payload: bytes | None) -> None:
    collector = three_ways(encoded([(b"refuse", payload), (b"after", None)]))

    assert not collector.frames
    assert [fault.detail for fault in collector.faults] == ["not this one"]


def test_nothing_is_handed_on_while_frames_are_held() -> None:
    frames: list[Frame] = [(b"one", None), (b"hold", b"p"), (b"two", b"q"), (b"three", None)]
    collector = Collector()
    collector.feed(encoded(frames), [])
    before = list(collector.frames)
    collector.release_frames()

    assert before == frames[:2]
    assert collector.frames == frames


def test_holding_works_behind_a_large_payload_too() -> None:
    frames: list[Frame] = [(b"hold", b"p" * LARGE), (b"two", b"q" * LARGE), (b"three", None)]
    stream = encoded(frames)
    collector = Collector()
    collector.feed(stream, [])
    consumed = collector.received_bytes
    before = list(collector.frames)
    collector.release_frames()
    collector.feed(stream[consumed:], [])

    assert before == frames[:1]
    assert collector.frames == frames


def test_a_large_payload_waits_for_a_buffer() -> None:
    frames: list[Frame] = [(b"one", b"p" * LARGE), (b"two", b"q" * LARGE), (b"three", None)]
    stream = encoded(frames)
    collector = Collector()
    collector.buffers = 1
    collector.feed(stream, [])
    consumed = collector.received_bytes
    before = list(collector.frames)
    collector.buffers = 1
    collector.release_frames()
    collector.feed(stream[consumed:], [])

    assert before == frames[:1]
    assert collector.frames == frames


def test_what_is_still_missing_of_a_large_payload_is_told() -> None:
    collector = Collector()
    collector.feed(encoded([(b"e", b"p" * MIB)]), [1000] * 2000)

    assert collector.expected[0] > collector.expected[1] > 0
    assert collector.expected[-1] == 0


def test_a_long_envelope_leaves_no_large_window_behind() -> None:
    collector = Collector()
    collector.feed(encoded([(b"e" * ENVELOPE_BYTES_MAX, None)]), [])

    assert len(collector.get_buffer(-1)) <= WINDOW_BYTES


def test_nothing_is_parsed_after_the_end() -> None:
    collector = Collector()
    collector.stop_frames()
    collector.feed(encoded([(b"e", None)]), [])

    assert not collector.frames
    assert not collector.faults
