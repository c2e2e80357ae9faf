"""A gateway without HTTP: the `BlobStore` over many nodes; no state that a restart could lose."""

from __future__ import annotations

from gateway.calls import CallSettings
from gateway.chunked import Chunked
from gateway.cluster import Cluster
from gateway.hashing import Hashing, Offload, inline
from gateway.hints import Hints
from gateway.operator_views import OperatorViews
from gateway.replicated import ReplicatedRecords
from ring.layout import Layout
from ring.seams import Transport


class Coordinator(Chunked):
    """See BlobStore.  Must be made inside a running loop.

    offload: where large values are hashed; inline in the simulator.
    """

    def __init__(
        self,
        transport: Transport,
        first_layout: Layout,
        settings: CallSettings | None = None,
        offload: Offload = inline,
    ) -> None:
        settings = settings or CallSettings()
        hashing = Hashing(offload)
        self.cluster = Cluster(transport, first_layout)
        self.hints = Hints(self.cluster, transport)
        self.records = ReplicatedRecords(self.cluster, settings, hashing)
        self.views = OperatorViews(self.cluster, self.records.reader)
        super().__init__(self.records, hashing, settings)

    def close(self) -> None:
        """Cancel what goes on in the background."""
        self.hints.close()
        self.cluster.vigil.close()
        self.records.close()
