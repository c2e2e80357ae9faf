"""How two processes of one cluster recognise each other before anything else is said.  No I/O.

    asker -> node   HELLO      [magic, 1, versions, features, cluster id, role, name, class, nonce]
    node -> asker   CHALLENGE  [magic, 2, terms, proof]      terms: packed [version, features,
                                                             cluster id, node, life, nonce]
    asker -> node   PROOF      [magic, 3, proof]
    node -> asker   WELCOME    [magic, 4]

or, instead of any of these, an error envelope (ring/codec.py) and the end of the connection.

Rules:
1.  A proof is keyed BLAKE3 over who proves, the HELLO and the terms as they were sent.  So it holds
    for these two nonces, this direction, this node, this name, this class and nothing else: a
    recorded proof cannot be used again, sent back to its maker, or taken to another node.
2.  Another cluster is refused in words before a challenge is made, so that a process with a wrong
    member list hears what is wrong.
3.  The node proves first; whoever dials gives no proof to something that does not know the secret.
4.  What an unproven peer says of errors is believed only as far as a refusal goes.

The secret should be random: whoever sees a challenge can test guesses of it at leisure.  Without
TLS a connection is authenticated at its beginning only.
"""

from __future__ import annotations

import enum
import hmac
from dataclasses import dataclass, field
from typing import Final

from blake3 import blake3

from ring.codec import PROTOCOL_VERSION, decode_reply, encode_error, pack, unpack
from ring.control import pack_life, parse_life
from ring.errors import (
    BadRequest,
    Busy,
    HoldfastError,
    NotAdmitted,
    PeerProtocol,
    Unauthenticated,
    Unsupported,
)
from ring.fields import integer, items, octets, row, text
from ring.life import Life, NodeId
from ring.limits import KIB

HANDSHAKE_BYTES_MAX: Final = 4 * KIB
NONCE_BYTES: Final = 32
_PROOF_BYTES: Final = 32
_MAGIC: Final = "holdfast"
_VERSIONS: Final = (PROTOCOL_VERSION, PROTOCOL_VERSION)  # oldest and newest that are spoken here
_FEATURES: Final[tuple[str, ...]] = ()  # none yet; what both sides list is in use
_KEY_CONTEXT: Final = "holdfast node protocol 1: proofs of the cluster secret"
_REFUSALS: Final = (Unauthenticated, NotAdmitted, Unsupported, Busy, PeerProtocol)


class _Step(enum.IntEnum):
    HELLO = 1
    CHALLENGE = 2
    PROOF = 3
    WELCOME = 4


class ConnectionClass(enum.IntEnum):
    """What travels on a connection, so that small things never wait behind large ones."""

    CONTROL = 1  # questions, and values of at most PAYLOAD_SMALL_BYTES_MAX
    BULK = 2  # larger values of clients
    BACKGROUND = 3  # repair and the like


class Role(enum.IntEnum):
    """What an asker is."""

    GATEWAY = 1
    NODE = 2


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who this process is, in which cluster, and what proves it.

    name: the node id; "gateway" for a gateway.  secret: the cluster's; never empty.
    """

    cluster_id: str
    role: Role
    name: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not self.secret:
            raise BadRequest("the cluster secret is empty; every process needs the same one")

    @classmethod
    def of_node(cls, cluster_id: str, node: NodeId, secret: bytes) -> Credentials:
        """Of a node, as server and as asker."""
        return cls(cluster_id, Role.NODE, node, secret)

    @classmethod
    def of_gateway(cls, cluster_id: str, secret: bytes) -> Credentials:
        """Of a gateway."""
        return cls(cluster_id, Role.GATEWAY, "gateway", secret)


class AskerHandshake:
    """The side that dialled `node`.  nonce: NONCE_BYTES fresh random bytes."""

    def __init__(
        self, credentials: Credentials, node: NodeId, kind: ConnectionClass, nonce: bytes
    ) -> None:
        assert len(nonce) == NONCE_BYTES, len(nonce)
        self._credentials = credentials
        self._node = node
        self.hello = pack(
            (
                _MAGIC,
                _Step.HELLO,
                _VERSIONS,
                _FEATURES,
                credentials.cluster_id,
                credentials.role,
                credentials.name,
                kind,
                nonce,
            )
        )

    def prove(self, challenge: bytes) -> tuple[bytes, Life]:
        """The PROOF that answers a CHALLENGE, and the life of the node that made it.

        Raises the node's refusal; Unauthenticated when it did not prove the secret; NotAdmitted
        when it is another node than was dialled; PeerProtocol.
        """
        terms, proof = (octets(field) for field in _step(challenge, _Step.CHALLENGE, 2))
        version, _, cluster_id, node, life, nonce = row(unpack(terms), 6)
        secret = self._credentials.secret
        if not hmac.compare_digest(proof, _proof(secret, "node", self.hello, terms)):
            raise Unauthenticated(f"node {self._node} did not prove that it knows our secret")
        if cluster_id != self._credentials.cluster_id:
            raise NotAdmitted(f"node {self._node} belongs to cluster {cluster_id!r}, not to ours")
        if node != self._node:
            raise NotAdmitted(f"dialled node {self._node}, but node {node!r} answers there")
        if version != PROTOCOL_VERSION or len(octets(nonce)) != NONCE_BYTES:
            raise PeerProtocol(f"node {self._node} offers version {version!r}")
        answer = _proof(secret, "asker", self.hello, terms)
        return pack((_MAGIC, _Step.PROOF, answer)), parse_life(life)

    def welcomed(self, welcome: bytes) -> None:
        """Read the WELCOME; raises the node's refusal or PeerProtocol."""
        _step(welcome, _Step.WELCOME, 0)


class NodeHandshake:
    """The side that was dialled.  nonce: NONCE_BYTES fresh random bytes.

    After `admit`: `role`, `name` and `kind` are what the asker proved.
    """

    def __init__(self, credentials: Credentials, life: Life, nonce: bytes) -> None:
        assert len(nonce) == NONCE_BYTES, len(nonce)
        assert credentials.role is Role.NODE
        self._credentials = credentials
        self._life = life
        self._nonce = nonce
        self._expected = b""
        self.role = Role.GATEWAY
        self.name = ""
        self.kind = ConnectionClass.CONTROL

    def challenge(self, hello: bytes) -> bytes:
        """The CHALLENGE that answers a HELLO.

        Raises NotAdmitted for another cluster, Unsupported for versions that are not spoken here,
        PeerProtocol for anything else.
        """
        versions, features, cluster_id, role, name, kind, nonce = _step(hello, _Step.HELLO, 7)
        own = self._credentials
        if text(cluster_id, 64) != own.cluster_id:
            raise NotAdmitted(
                f"node {own.name} belongs to cluster {own.cluster_id}, you to {cluster_id!r}: "
                "member list, replicas or seed differ"
            )
        oldest, newest = (integer(version) for version in row(versions, 2))
        if not oldest <= _VERSIONS[1] or not _VERSIONS[0] <= newest:
            raise Unsupported(
                f"node {own.name} speaks versions {_VERSIONS[0]} to {_VERSIONS[1]} of the node "
                f"protocol, you speak {oldest} to {newest}"
            )
        if len(octets(nonce)) != NONCE_BYTES:
            raise PeerProtocol(f"a nonce has {NONCE_BYTES} bytes")
        offered = items(features)
        shared = [feature for feature in _FEATURES if feature in offered]
        self.role = Role(_number(role, Role))
        self.name = text(name, 64)
        self.kind = ConnectionClass(_number(kind, ConnectionClass))
        terms = pack(
            (
                min(newest, _VERSIONS[1]),
                shared,
                own.cluster_id,
                own.name,
                pack_life(self._life),
                self._nonce,
            )
        )
        self._expected = _proof(own.secret, "asker", hello, terms)
        return pack((_MAGIC, _Step.CHALLENGE, terms, _proof(own.secret, "node", hello, terms)))

    def admit(self, proof: bytes) -> bytes:
        """The WELCOME that answers a PROOF; raises Unauthenticated or PeerProtocol."""
        assert self._expected, "challenge first"
        (given,) = _step(proof, _Step.PROOF, 1)
        if not hmac.compare_digest(octets(given), self._expected):
            raise Unauthenticated(f"the secret of cluster {self._credentials.cluster_id} differs")
        return pack((_MAGIC, _Step.WELCOME))


def refusal(error: HoldfastError) -> bytes:
    """The envelope that ends a handshake in words."""
    return encode_error(0, error)


def _proof(secret: bytes, prover: str, hello: bytes, terms: bytes) -> bytes:
    key = blake3(secret, derive_key_context=_KEY_CONTEXT).digest()
    proof: bytes = blake3(pack((prover, hello, terms)), key=key).digest(_PROOF_BYTES)
    return proof


def _step(envelope: bytes, step: _Step, least: int) -> list[object]:
    """The fields of a step after magic and number; raises the refusal that came instead."""
    fields = items(unpack(envelope))
    if fields and fields[0] == 0:
        error = decode_reply(envelope).outcome
        if isinstance(error, _REFUSALS):
            raise type(error)(error.detail)
        raise PeerProtocol("refused without a known reason")
    if not fields or fields[0] != _MAGIC:
        raise PeerProtocol("this is not the node protocol of Holdfast")
    if list(fields[1:2]) != [step]:
        raise PeerProtocol(f"expected step {step.name} of the handshake")
    return list(row(fields[2:], least))


def _number(value: object, kind: type[enum.IntEnum]) -> int:
    number = integer(value, max(kind))
    if number < min(kind):
        raise PeerProtocol(f"{number} is no {kind.__name__}")
    return number
