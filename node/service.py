"""A node without sockets: every request it serves, behind one `handle`.

Rules:
1.  Nothing about records is said before the data directory is admitted (node/membership.py), and
    every answer says whether this node may vote on the partition it is about.
2.  Requests about records must come from the same live layouts, from their beginning to their end:
    who compares under newer ones must not miss what is acknowledged under older ones meanwhile.
    Control messages come from anybody.
3.  A receiver stores and reports its states as a non-voter; bytes are served by voters only.
4.  `handle_now` answers hot reads on the spot; it never waits and never blocks.

What runs in the background (introductions, node/caretaker.py) belongs to `run`, which the process
awaits.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final

from node.care_settings import CareSettings
from node.caretaker import Caretaker
from node.handler import Asker, Begun, Response
from node.incidents import Incidents
from node.local_store import LocalRecordStore
from node.marker import NO_PARTITIONS, NodeFiles
from node.membership import Membership
from node.node_layouts import NodeLayouts
from node.store_holder import StoreHolder, StoreOpener
from ring import control, listing, messages
from ring.admission import PutAnswer
from ring.codec import Sender
from ring.digest import Buffer, Digest
from ring.errors import BadRequest, HoldfastError, NotAdmitted, StorageFault
from ring.layout import Layout
from ring.life import NodeId
from ring.messages import Reply, Request
from ring.operating import CareReply
from ring.recipe import recipe_bytes
from ring.record import RecordKey, RecordKind, RecordState
from ring.seams import Clock, Disk, Randomness, Transport

_CONTROL: Final = (
    control.Introduce,
    control.FetchLayouts,
    control.TeachLayouts,
    control.GetStatus,
)


class NodeService:
    """One node.  `await start()`, then serve requests while `run()` runs, then `stop()`.

    disk: the data directory.  open_store: opens the record store on it; called once the directory
    is admitted, and again when the store has to be mended.  transport: reaches the peers.
    accept_blank: an empty directory of a node that peers remember may be filled again without an
    operator.  care: how it looks after its records in the background.
    """

    def __init__(
        self,
        *,
        node: NodeId,
        first_layout: Layout,
        disk: Disk,
        open_store: StoreOpener,
        transport: Transport,
        clock: Clock,
        randomness: Randomness,
        accept_blank: bool,
        care: CareSettings | None = None,
    ) -> None:
        self._files = NodeFiles(disk, randomness)
        self._disk = disk
        self._transport = transport
        self._clock = clock
        self._care = care or CareSettings()
        self.layouts = NodeLayouts(first_layout)
        self.membership = Membership(
            node=node,
            layouts=self.layouts,
            files=self._files,
            transport=transport,
            randomness=randomness,
            accept_blank=accept_blank,
        )
        self._holder = StoreHolder(open_store)
        self.counters: Counter[str] = Counter()
        self.incidents = Incidents(clock)
        self._caretaker: Caretaker | None = None
        self._asked = 0  # how often by somebody who is no peer; background work yields to them

    async def start(self) -> None:
        """Read the data directory; raises NotAdmitted, Corrupt or StorageFault."""
        await self.membership.load()
        marker = self.membership.marker
        if marker is not None:
            await self._holder.open()
            assert self._store is not None
            if not self._store.had_state:
                await self.store_is_new()

    async def store_is_new(self) -> None:
        """The store has nothing of an earlier process; a node that voted has lost what it knew.

        Best called before the store begins: a process that dies in between tells nobody else.
        """
        marker = self.membership.marker
        if marker is not None and marker.voting != NO_PARTITIONS:
            await self.membership.forgot()

    async def run(self) -> None:
        """Everything in the background: become admitted, introduce, rejoin; until cancelled.

        Raises Corrupt or StorageFault when the store cannot be mended by this process.
        """
        await self.membership.wait_until_admitted(self._admitted)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.membership.heartbeat())
                group.create_task(self._holder.run(self._look_after))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed

    async def stop(self) -> None:
        """Close the store; `run` must be over."""
        await self._holder.close()

    @property
    def _store(self) -> LocalRecordStore | None:
        return self._holder.store

    def sender(self) -> Sender:
        """See RequestHandler."""
        return self.membership.sender()

    def handle_now(self, request: Request, asker: Asker) -> Response | None:
        """See RequestHandler."""
        store = self._store
        if store is None or not isinstance(request, messages.GetRecord | messages.StatRecords):
            return None
        self._check(asker)
        if isinstance(request, messages.GetRecord):
            key = request.key
            if not request.bytes_max:
                known = store.stat_now((key,))
                return None if known is None else self._record(key, known[0], None)
            found = store.get_now(key)
            if found is None:
                return None
            self.counters["get_total"] += 1
            return self._record(key, found[0], _fitting(found[1], request.bytes_max))
        states = store.stat_now(request.keys)
        return None if states is None else self._states(request.keys, states)

    def begin(self, request: Request, payload: Buffer, asker: Asker) -> Begun | None:
        """See RequestHandler: puts of small blobs."""
        store = self._store
        if store is None or not isinstance(request, messages.PutRecord) or not request.generation:
            return None
        self._check(asker)
        future = store.begin_put_root(
            request.key, request.kind, request.size_bytes, request.generation, payload
        )
        if future is None:
            return None

        def respond(answer: PutAnswer) -> Response:
            self._check(asker)
            return self._put_response(request, len(payload), answer)

        return Begun(future, respond)

    async def handle(self, request: Request, payload: Buffer | None, asker: Asker) -> Response:
        """See RequestHandler."""
        if isinstance(request, _CONTROL):
            return await self._handle_control(request)
        self._check(asker)
        store = self._store
        assert store is not None
        with self._holder.using(store):
            response = await self._handle_records(store, request, payload, asker)
        try:
            self._check(asker)
        except HoldfastError:
            if not isinstance(response.payload, bytes | bytearray | memoryview | None):
                response.payload.close()
            raise
        return response

    async def _handle_records(
        self, store: LocalRecordStore, request: Request, payload: Buffer | None, asker: Asker
    ) -> Response:
        match request:
            case messages.PutRecord():
                return await self._put(store, request, payload)
            case messages.GetRecord(key, bytes_max):
                return await self._get(store, key, bytes_max, spans=asker.takes_spans)
            case messages.StatRecords(keys):
                return self._states(keys, await store.stat(keys))
            case messages.ConfirmChunks(claimant, chunks):
                return await self._confirm(store, claimant, chunks)
            case messages.BuryRecord(key, generation, skips_trash):
                self.counters["bury_total"] += 1
                state = await store.bury(key, generation, keep_value=not skips_trash)
                return Response(messages.RecordReply(state), None, self._votes(key.digest))
            case messages.VerifyRecord(key):
                return await self._verify(store, key, asker)
            case listing.ListRecords() | listing.ListClaims() | control.GetFloors():
                return await self._enumerate(store, request)
        if self._caretaker is None:
            raise NotAdmitted(f"{self.membership.node}: {self.membership.reason}")
        return await self._caretaker.handle(request, asker)

    async def _handle_control(self, request: Request) -> Response:
        match request:
            case control.Introduce():
                return Response(await self.membership.introduced(request))
            case control.TeachLayouts(layouts):
                files = self._files if self.membership.admitted else None
                await self.layouts.learn(layouts, files)
        if isinstance(request, control.GetStatus):
            return Response(await self._status())
        return Response(control.LayoutsReply(self.layouts.live.layouts))

    def _check(self, asker: Asker) -> None:
        self._asked += not asker.is_peer
        if self._holder.trouble:
            raise StorageFault(f"{self.membership.node}: {self._holder.reason}")
        if self._store is None or not self.membership.admitted:
            raise NotAdmitted(f"{self.membership.node}: {self.membership.reason}")
        self.layouts.check(asker)

    def _votes(self, digest: Digest) -> bool:
        return self.membership.votes(digest.partition)

    async def _put(
        self, store: LocalRecordStore, request: messages.PutRecord, payload: Buffer | None
    ) -> Response:
        value = b"" if payload is None else payload
        if request.kind is RecordKind.NONE:
            raise BadRequest("a put needs a kind")
        if request.generation == 0:
            if request.kind is not RecordKind.DATA:
                raise BadRequest("a chunk is data")
            answer = await store.put_chunk(request.key, request.claimant, value)
        else:
            answer = await store.put_root(
                request.key, request.kind, request.size_bytes, request.generation, value
            )
        return self._put_response(request, len(value), answer)

    def _put_response(
        self, request: messages.PutRecord, size_bytes: int, answer: PutAnswer
    ) -> Response:
        self.counters["put_total"] += 1
        self.counters["put_bytes_total"] += size_bytes
        return Response(messages.PutReply(answer), None, self._votes(request.key.digest))

    async def _get(
        self, store: LocalRecordStore, key: RecordKey, bytes_max: int, *, spans: bool
    ) -> Response:
        """Values that are longer than wanted are not even read; large ones go as spans."""
        self.counters["get_total"] += 1
        (state,) = await store.stat([key])
        if not state.held or _value_bytes(state) > bytes_max:
            return self._record(key, state, None)
        opened = await store.open_span(key) if spans else None
        if opened is not None:
            state, span = opened
            if span.size_bytes <= bytes_max and self._votes(key.digest):
                return Response(messages.RecordReply(state), span)
            span.close()
        state, value = await store.get(key)
        return self._record(key, state, _fitting(value, bytes_max))

    def _record(
        self, key: RecordKey, state: RecordState, value: Buffer | None
    ) -> Response:
        voter = self._votes(key.digest)
        return Response(messages.RecordReply(state), value if voter else None, voter)

    def _states(
        self, keys: Sequence[RecordKey], states: Sequence[RecordState]
    ) -> Response:
        votes = [self._votes(key.digest) for key in keys]
        answers = [state if vote else None for state, vote in zip(states, votes, strict=True)]
        return Response(messages.StatesReply(tuple(answers)), None, all(votes))

    async def _confirm(
        self, store: LocalRecordStore, claimant: Digest, chunks: tuple[Digest, ...]
    ) -> Response:
        confirmed = await store.confirm(claimant, chunks)
        votes = [self._votes(chunk) for chunk in chunks]
        flags = [yes and vote for yes, vote in zip(confirmed, votes, strict=True)]
        return Response(messages.FlagsReply(tuple(flags)), None, all(votes))

    async def _verify(
        self, store: LocalRecordStore, key: RecordKey, asker: Asker
    ) -> Response:
        who = f"node {asker.name}" if asker.is_peer else "a gateway"
        with self.incidents.looking(key, f"found when {who} asked for it"):
            verdict = await store.verify(key)
        if verdict is messages.CopyVerdict.QUARANTINED:
            self.counters["reported_copies_quarantined_total"] += 1
        return Response(messages.VerifyReply(verdict), None, self._votes(key.digest))

    async def _enumerate(self, store: LocalRecordStore, request: Request) -> Response:
        """Listings count only from a node that votes everywhere, and still does at their end."""
        reply: Reply
        match request:
            case listing.ListRecords(after, limit, roots_only):
                entries, done = await store.page(after, limit, roots_only=roots_only)
                reply = listing.PageReply(tuple(entries), done)
            case listing.ListClaims(key, after_claim, limit):
                claims, done = await store.claims(key, after_claim, limit)
                reply = listing.ClaimsReply(tuple(claims), done)
            case _:
                reply = control.FloorsReply(tuple(sorted((await store.floors()).items())))
        return Response(reply, None, self.membership.votes_everywhere)

    async def _status(self) -> control.StatusReply:
        records = bytes_stored = quarantined = 0
        if self._store is not None:
            usage = self._store.usage()
            records, bytes_stored = usage.records, usage.bytes_stored
            quarantined = usage.quarantined_total
        holder = self._holder
        report = {} if self._caretaker is None else self._caretaker.report.further_counters()
        counters = {
            **self.counters,
            **report,
            "quarantined_total": quarantined,
            "index_damaged_total": holder.damaged_total,
            "index_mended_total": holder.mended_total,
        }
        return control.StatusReply(
            state=holder.trouble or self.membership.state,
            reason=holder.reason or self.membership.reason,
            records=records,
            bytes_stored=bytes_stored,
            bytes_free=await self._disk.free_bytes(),
            counters=tuple(sorted(counters.items())),
        )

    async def care(self) -> CareReply | None:
        """What goes on in the background; None while nothing does."""
        return None if self._caretaker is None else await self._caretaker.report.care()

    async def _admitted(self) -> None:
        await self.layouts.store(self._files)
        await self._holder.open()

    async def _look_after(self, store: LocalRecordStore) -> None:
        self._caretaker = Caretaker(
            membership=self.membership,
            store=store,
            transport=self._transport,
            clock=self._clock,
            settings=self._care,
            counters=self.counters,
            served=lambda: self._asked,
            incidents=self.incidents,
        )
        try:
            await self._caretaker.run()
        finally:
            self._caretaker = None


def _value_bytes(state: RecordState) -> int:
    """Length of a held value."""
    if state.kind is RecordKind.RECIPE:
        return recipe_bytes(state.size_bytes)
    return state.size_bytes


def _fitting(value: Buffer | None, bytes_max: int) -> Buffer | None:
    return None if value is None or len(value) > bytes_max else value
