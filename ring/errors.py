"""Every way Holdfast can say no: one hierarchy, three facts about each error.

A class carries its `code` (what crosses the wire and stands in problem+json), the HTTP `status`
that a gateway answers, and whether trying again can help (`retryable`).  The code is decoded to the
same class on the other side; an unknown code becomes `PeerProtocol`.

Rule: third-party exceptions are translated at the seam that meets them and nowhere else.
"""

from __future__ import annotations

from typing import ClassVar

_by_code: dict[str, type[HoldfastError]] = {}


class HoldfastError(Exception):
    """Base of all errors; never raised itself.

    `detail` is one sentence for a person.  `facts` are machine-readable values (str, int, bytes)
    that cross the wire with the error.
    """

    code: ClassVar[str] = ""
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, /, **facts: str | int | bytes) -> None:
        assert self.code, "HoldfastError is abstract"
        super().__init__(detail)
        self.detail = detail
        self.facts = facts

    def __init_subclass__(cls, *, code: str, status: int, retryable: bool) -> None:
        assert code not in _by_code, code
        cls.code, cls.status, cls.retryable = code, status, retryable
        _by_code[code] = cls


class InvalidDigest(HoldfastError, code="invalid_digest", status=400, retryable=False):
    """A text is not a digest; the subclass says which rule it breaks."""


class MissingSeparator(InvalidDigest, code="missing_separator", status=400, retryable=False):
    """There is no `:` between algorithm and hex."""


class UnsupportedAlgorithm(
    InvalidDigest, code="unsupported_algorithm", status=400, retryable=False
):
    """The text before the first `:` names no algorithm that is served here."""


class BadLength(InvalidDigest, code="bad_length", status=400, retryable=False):
    """The hex part has the wrong number of bytes for its algorithm."""


class BadHex(InvalidDigest, code="bad_hex", status=400, retryable=False):
    """The hex part has a character outside [0-9a-fA-F]."""


class BadRequest(HoldfastError, code="bad_request", status=400, retryable=False):
    """A request that no server state could make valid."""


class InvalidManifest(BadRequest, code="invalid_manifest", status=400, retryable=False):
    """A text is not a manifest that can be restored, or a tree has none; facts: line or path."""


class UnsafePath(InvalidManifest, code="unsafe_path", status=400, retryable=False):
    """A path would leave the directory that it is restored into; facts: line or path."""


class LocalFault(HoldfastError, code="local_fault", status=500, retryable=False):
    """The file system of whoever runs the command refused, or a file changed under the reading."""


class DigestMismatch(HoldfastError, code="digest_mismatch", status=422, retryable=False):
    """The bytes hash to something else than was promised; nothing was stored."""


class TooLarge(HoldfastError, code="too_large", status=413, retryable=False):
    """More bytes than the limit that the detail names."""


class NotFound(HoldfastError, code="not_found", status=404, retryable=False):
    """A cover of nodes said that the blob is not there."""


class NoSuchRoute(HoldfastError, code="no_such_route", status=404, retryable=False):
    """The path is none of the API; says nothing about any blob."""


class PreconditionFailed(HoldfastError, code="precondition_failed", status=412, retryable=False):
    """A condition that the client set (If-Match, If-None-Match) does not hold."""


class ExpectationFailed(HoldfastError, code="expectation_failed", status=417, retryable=False):
    """The client expects something that is not understood."""


class RangeNotSatisfiable(HoldfastError, code="range_not_satisfiable", status=416, retryable=False):
    """The range starts beyond the end; facts: size_bytes."""


class MethodNotAllowed(HoldfastError, code="method_not_allowed", status=405, retryable=False):
    """The path exists, the method does not; facts: allow."""


class RequestTimeout(HoldfastError, code="request_timeout", status=408, retryable=True):
    """The client sent too slowly or stopped sending."""


class StorageFault(HoldfastError, code="storage_fault", status=503, retryable=True):
    """The disk failed (EIO, read-only, closed); says nothing about what is stored."""


class DiskFull(HoldfastError, code="disk_full", status=507, retryable=True):
    """There is no room for more bytes; reads and deletes go on."""


class Internal(HoldfastError, code="internal", status=500, retryable=True):
    """A bug in the process that answers; its log has the details, nobody else does."""


class Corrupt(HoldfastError, code="corrupt", status=503, retryable=True):
    """A copy does not match its digest; it is never served and never counted."""


class Unavailable(HoldfastError, code="unavailable", status=503, retryable=True):
    """Too few nodes answered to decide; says nothing about what is stored."""


class Busy(HoldfastError, code="busy", status=503, retryable=True):
    """A bound on work in flight was reached."""


class Unreachable(HoldfastError, code="unreachable", status=503, retryable=True):
    """No connection to a node, or it broke before the answer."""


class DeadlineExceeded(HoldfastError, code="deadline_exceeded", status=503, retryable=True):
    """The answer did not come in time; the work may or may not have been done."""


class WrongEpoch(HoldfastError, code="wrong_epoch", status=503, retryable=True):
    """The asker's layouts are older than the node's; facts: layouts (encoded)."""


class LayoutUnknown(HoldfastError, code="layout_unknown", status=503, retryable=True):
    """The asker's layouts are newer than the node's, which must be taught them first."""


class Fenced(HoldfastError, code="fenced", status=503, retryable=True):
    """A peer remembers a later life of this node; facts: incarnation, boot."""


class NotAdmitted(HoldfastError, code="not_admitted", status=503, retryable=True):
    """The data directory is not this node's to write: no marker, or another cluster's."""


class Unauthenticated(HoldfastError, code="unauthenticated", status=401, retryable=False):
    """The cluster secret was not proven."""


class Unsupported(HoldfastError, code="unsupported", status=501, retryable=False):
    """The peer does not know this message or version."""


class PeerProtocol(HoldfastError, code="peer_protocol", status=502, retryable=True):
    """The peer broke the protocol, or sent an error code that this release does not know."""


def error_class(code: str) -> type[HoldfastError]:
    """The class of a wire code; `PeerProtocol` for one this release does not know."""
    return _by_code.get(code, PeerProtocol)


def every_error() -> list[type[HoldfastError]]:
    """All classes, by code: the table that documentation and golden files print."""
    return [_by_code[code] for code in sorted(_by_code)]
