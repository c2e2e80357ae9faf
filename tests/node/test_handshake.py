"""The handshake without sockets: who is let in, who is not, and what a thief can do with a tape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from node.handshake import (
    HANDSHAKE_BYTES_MAX,
    NONCE_BYTES,
    AskerHandshake,
    ConnectionClass,
    Credentials,
    NodeHandshake,
    Role,
    refusal,
)
from ring.codec import pack, unpack
from ring.errors import (
    BadRequest,
    Busy,
    HoldfastError,
    NotAdmitted,
    PeerProtocol,
    Unauthenticated,
    Unsupported,
    WrongEpoch,
)
from ring.life import Life, NodeId

NODE = NodeId("n1")
LIFE = Life(2, 5, 77)
OF_NODE = Credentials.of_node("c1", NODE, b"secret")
OF_GATEWAY = Credentials.of_gateway("c1", b"secret")
OF_PEER = Credentials.of_node("c1", NodeId("n2"), b"secret")


def nonce(number: int) -> bytes:
    return bytes([number]) * NONCE_BYTES


def asker(
    credentials: Credentials = OF_GATEWAY,
    node: NodeId = NODE,
    kind: ConnectionClass = ConnectionClass.BULK,
    number: int = 1,
) -> AskerHandshake:
    return AskerHandshake(credentials, node, kind, nonce(number))


def asked(credentials: Credentials = OF_NODE, number: int = 2) -> NodeHandshake:
    return NodeHandshake(credentials, LIFE, nonce(number))


def proven(one: AskerHandshake, other: NodeHandshake) -> bytes:
    proof, _ = one.prove(other.challenge(one.hello))
    return proof


@pytest.mark.parametrize(
    ("credentials", "role", "name"),
    [(OF_GATEWAY, Role.GATEWAY, "gateway"), (OF_PEER, Role.NODE, "n2")],
)
@pytest.mark.parametrize("kind", list(ConnectionClass))
def test_two_who_know_the_secret_recognise_each_other(
    credentials: Credentials, role: Role, name: str, kind: ConnectionClass
) -> None:
    one, other = asker(credentials, kind=kind), asked()
    proof, life = one.prove(other.challenge(one.hello))
    one.welcomed(other.admit(proof))

    assert life == LIFE
    assert (other.role, other.name, other.kind) == (role, name, kind)


def test_every_step_is_small() -> None:
    one, other = asker(), asked()
    challenge = other.challenge(one.hello)
    proof, _ = one.prove(challenge)

    for step in (one.hello, challenge, proof, other.admit(proof), refusal(Busy("x" * 4096))):
        assert len(step) <= 2 * HANDSHAKE_BYTES_MAX


@pytest.mark.parametrize("secret", [b"secret2", b"secre", b"Secret", b"\x00"])
def test_a_node_with_another_secret_is_not_believed(secret: bytes) -> None:
    one, other = asker(), asked(replace(OF_NODE, secret=secret))

    with pytest.raises(Unauthenticated, match="did not prove"):
        one.prove(other.challenge(one.hello))


@pytest.mark.parametrize("secret", [b"secret2", b"secre", b"Secret", b"\x00"])
def test_an_asker_with_another_secret_is_not_admitted(secret: bytes) -> None:
    one, other = asker(), asked()
    other.challenge(one.hello)
    double = NodeHandshake(replace(OF_NODE, secret=secret), LIFE, nonce(2))
    proof = proven(AskerHandshake(replace(OF_GATEWAY, secret=secret), NODE, ConnectionClass.BULK,
                                  nonce(1)), double)

    with pytest.raises(Unauthenticated, match="secret"):
        other.admit(proof)


def test_an_empty_secret_is_refused() -> None:
    with pytest.raises(BadRequest, match="empty"):
        Credentials.of_gateway("c1", b"")


def test_the_secret_is_not_printed() -> None:
    assert "secret" not in repr(replace(OF_NODE, secret=b"sesame")).replace("of_", "")
    assert "sesame" not in repr(replace(OF_NODE, secret=b"sesame"))


def test_another_cluster_is_refused_in_words_before_anything_is_proven() -> None:
    one, other = asker(replace(OF_GATEWAY, cluster_id="c2")), asked()

    with pytest.raises(NotAdmitted, match="belongs to cluster c1, you to 'c2'"):
        other.challenge(one.hello)


def test_a_refusal_reaches_the_asker_in_its_class() -> None:
    one, other = asker(replace(OF_GATEWAY, cluster_id="c2")), asked()
    with pytest.raises(NotAdmitted) as refused:
        other.challenge(one.hello)

    with pytest.raises(NotAdmitted, match="cluster"):
        one.prove(refusal(refused.value))


def test_errors_that_mean_something_are_not_taken_from_a_stranger() -> None:
    with pytest.raises(PeerProtocol, match="refused"):
        asker().prove(refusal(WrongEpoch("learn this", layouts=b"poison")))


def test_facts_are_not_taken_from_a_stranger() -> None:
    with pytest.raises(Busy) as caught:
        asker().prove(refusal(Busy("later", layouts=b"poison")))

    assert not caught.value.facts


def test_a_refusal_in_place_of_the_welcome_is_heard() -> None:
    one, other = asker(), asked()
    proven(one, other)

    with pytest.raises(Unauthenticated, match="differs"):
        one.welcomed(refusal(Unauthenticated("the secret differs")))


def test_another_node_than_was_dialled_is_refused() -> None:
    one, other = asker(node=NodeId("n7")), asked()

    with pytest.raises(NotAdmitted, match="dialled node n7, but node 'n1' answers"):
        one.prove(other.challenge(one.hello))


# --- a recorded proof -----------------------------------------------------------------------------


def test_a_recorded_proof_opens_nothing_later() -> None:
    one, other = asker(), asked()
    taped = proven(one, other)
    later = asked(number=3)
    later.challenge(one.hello)

    with pytest.raises(Unauthenticated):
        later.admit(taped)


def test_a_recorded_challenge_convinces_nobody_later() -> None:
    taped = asked().challenge(asker().hello)

    with pytest.raises(Unauthenticated):
        asker(number=9).prove(taped)


@pytest.mark.parametrize(
    "other_asker",
    [
        asker(OF_PEER),
        asker(kind=ConnectionClass.CONTROL),
        asker(replace(OF_GATEWAY, name="gateway2")),
        asker(number=8),
    ],
    ids=["role", "class", "name", "nonce"],
)
def test_a_proof_holds_for_its_own_hello_only(other_asker: AskerHandshake) -> None:
    other = asked()
    taped = proven(asker(), asked())
    other.challenge(other_asker.hello)

    with pytest.raises(Unauthenticated):
        other.admit(taped)


@pytest.mark.parametrize(
    ("credentials", "life"),
    [(Credentials.of_node("c1", NodeId("n3"), b"secret"), LIFE), (OF_NODE, Life(2, 6, 77))],
    ids=["node", "life"],
)
def test_a_proof_cannot_be_taken_to_another_node(credentials: Credentials, life: Life) -> None:
    taped = proven(asker(), asked())
    other = NodeHandshake(credentials, life, nonce(2))
    other.challenge(asker().hello)

    with pytest.raises(Unauthenticated):
        other.admit(taped)


def test_a_nodes_own_proof_cannot_be_sent_back_to_it() -> None:
    one, other = asker(), asked()
    challenge = unpack(other.challenge(one.hello))
    assert isinstance(challenge, list)

    with pytest.raises(Unauthenticated):
        other.admit(pack(("holdfast", 3, challenge[3])))


# --- nonsense -------------------------------------------------------------------------------------


def hello_with(index: int, value: object) -> bytes:
    fields = unpack(asker().hello)
    assert isinstance(fields, list)
    fields[index] = value
    return pack(fields)


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (0, "hello"),
        (0, 7),
        (1, 2),
        (1, "1"),
        (2, 1),
        (2, [1]),
        (2, ["1", 1]),
        (3, "features"),
        (4, 5),
        (5, 0),
        (5, 3),
        (5, "1"),
        (6, b"gateway"),
        (6, "n" * 65),
        (7, 0),
        (7, 4),
        (7, None),
        (8, b"short"),
        (8, "x" * 32),
    ],
)
def test_a_hello_that_makes_no_sense_is_refused(index: int, value: object) -> None:
    with pytest.raises((PeerProtocol, NotAdmitted)):
        asked().challenge(hello_with(index, value))


@pytest.mark.parametrize("versions", [(2, 9), (0, 0)])
def test_versions_that_do_not_meet_are_refused_in_words(versions: tuple[int, int]) -> None:
    words = f"you speak {versions[0]} to {versions[1]}"
    with pytest.raises(Unsupported, match=words):
        asked().challenge(hello_with(2, versions))


def test_a_later_release_may_offer_more() -> None:
    fields = unpack(asker().hello)
    assert isinstance(fields, list)
    fields[2], fields[3] = [1, 9], ["compression", "signatures"]
    asked().challenge(pack([*fields, "a field of later"]))


Step = Callable[[bytes], object]


@pytest.mark.parametrize(
    "step",
    [
        lambda data: asked().challenge(data),
        lambda data: asker().prove(data),
        lambda data: asker().welcomed(data),
        lambda data: _challenged().admit(data),
    ],
    ids=["hello", "challenge", "welcome", "proof"],
)
@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.one_of(st.none(), st.integers(0, 5), st.binary(max_size=40), st.just("holdfast")),
            lambda inner: st.lists(inner, max_size=9),
            max_leaves=20,
        ).map(pack),
    )
)
def test_whatever_a_stranger_sends_is_refused_in_words(step: Step, data: bytes) -> None:
    assume(b"holdfast\x04" not in data)  # the one word that anybody can say right

    with pytest.raises(HoldfastError):
        step(data)


def _challenged() -> NodeHandshake:
    handshake = asked()
    handshake.challenge(asker().hello)
    return handshake
