"""A node's parts in the eyes of a duty that is replayed: everything it learns of them is written
down, and told it again when the same duty is run once more up to the same point.

Rules:
1.  What is read takes no time.  What changes the store or the right to vote is a step of its own
    (`DEFERRED`): anything may happen before it.
2.  Reading twice without a step between gives the same and is written down once.
3.  What Membership does by messages (`introduce_to`) is run as it stands, over a view of itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Final, Protocol

from node.fact_reader import FactReader
from node.membership import Membership
from node.memory_store import MemoryRecordStore
from node.node_layouts import NodeLayouts
from node.record_disposal import Condemned, RecordDisposal
from ring.errors import HoldfastError
from ring.life import NodeId
from tests.model.frozen import freeze
from tests.model.real_node import RealNode

DEFERRED: Final = frozenset(
    "absorb drop raise_floor hold settle purge discard condemn collect promote confirm".split()
)
_CHANGING: Final = frozenset(
    "hear pardon verify _remember _become_receiver learn_earlier learn_layouts".split()
)


class Outcome:
    """What came of a call: a value or an error of ours."""

    __slots__ = ("error", "value")

    def __init__(self, value: Any = None, error: HoldfastError | None = None) -> None:
        self.value = value
        self.error = error

    def get(self) -> Any:
        """The value; raises the error, as a new one."""
        if self.error is not None:
            raise type(self.error)(self.error.detail, **self.error.facts)
        return self.value

    @property
    def frozen(self) -> Hashable:
        """For comparison."""
        return ("error", freeze(self.error)) if self.error else ("value", freeze(self.value))


class Recorder(Protocol):
    """Who writes down, or reads out."""

    def told(self, key: Hashable, look: Callable[[], Any], *, changes: bool) -> Any:
        """What `look` returns, or returned at this point of an earlier run."""

    def deferred(self, name: str, work: Callable[[], Any]) -> Any:
        """An awaitable for a step of its own."""


class View:
    """One part.  kind: its class.  real: the part of the node as it is now.

    parts: views of its attributes, and what else stands in their place.
    """

    def __init__(
        self,
        recorder: Recorder,
        path: str,
        kind: type,
        real: Callable[[], Any],
        parts: dict[str, Any] | None = None,
    ) -> None:
        self._facts = (recorder, path, kind, real)
        self._parts = parts or {}

    def __setattr__(self, name: str, value: Any) -> None:
        if name in {"_facts", "_parts"}:
            object.__setattr__(self, name, value)
        # Else it is a word for operators.

    def __getattr__(self, name: str) -> Any:
        if name in self._parts:
            return self._parts[name]
        recorder, path, kind, real = self._facts
        found = inspect.getattr_static(kind, name, None)
        if inspect.iscoroutinefunction(found):
            return self._method(name, is_async=True)
        if inspect.isfunction(found):
            return self._method(name, is_async=False)
        return recorder.told((path, name), lambda: getattr(real(), name), changes=False)

    def _method(self, name: str, *, is_async: bool) -> Callable[..., Any]:
        recorder, path, _, real = self._facts

        def sync(*args: Any, **named: Any) -> Any:
            key = (path, name, freeze(args))
            return recorder.told(
                key, lambda: getattr(real(), name)(*args, **named), changes=name in _CHANGING
            )

        if not is_async:
            return sync

        def deferred(*args: Any, **named: Any) -> Any:
            return recorder.deferred(name, lambda: getattr(real(), name)(*args, **named))

        async def at_once(*args: Any, **named: Any) -> Any:
            key = (path, name, freeze(args), freeze(named))
            return recorder.told(
                key, lambda: getattr(real(), name)(*args, **named), changes=name in _CHANGING
            )

        return deferred if name in DEFERRED else at_once


class OwnNode:
    """The parts of a node that its duties are made over."""

    def __init__(self, recorder: Recorder, node: RealNode, transport: Any) -> None:
        def disposal() -> Any:
            return node.store.disposal

        condemned = View(
            recorder, "condemned", Condemned, lambda: node.store.disposal.condemned
        )
        self.store: Any = View(
            recorder,
            "store",
            MemoryRecordStore,
            lambda: node.store,
            {
                "facts": View(recorder, "facts", FactReader, lambda: node.store.facts),
                "disposal": View(
                    recorder, "disposal", RecordDisposal, disposal, {"condemned": condemned}
                ),
            },
        )
        parts: dict[str, Any] = {
            "node": node.node,
            "layouts": View(
                recorder, "layouts", NodeLayouts, lambda: node.service.layouts
            ),
            "settled": _Settled(),
            "_transport": transport,
            "_lost_disk": False,
            "_last_heard": _NeverMindWhen(),
        }
        self.membership: Any = View(
            recorder, "membership", Membership, lambda: node.service.membership, parts
        )
        seen: Any = self.membership
        parts["votes"] = lambda partition: Membership.votes(seen, partition)
        parts["introduce_to"] = lambda peer: Membership.introduce_to(seen, peer)
        parts["_introduce"] = partial(vars(Membership)["_introduce"], seen)
        self.clock = node.clock


class _Settled:
    """Images are of nodes that have introduced themselves."""

    def is_set(self) -> bool:
        return True


class _NeverMindWhen:
    """When a peer was heard last is no part of an image."""

    def note(self, node: NodeId) -> None:
        del node
