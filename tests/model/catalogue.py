"""All scenarios: three nodes, each enough for one way to lose or to revive a blob."""

from __future__ import annotations

from typing import Any, Final

from tests.model.scenario import LARGE, OTHER, Built, Plan, Scenario, four_nodes
from tests.model.state import Faults

PAIRS: Final = ((0, 1), (0, 2), (1, 2))  # ack sets


def put_delete() -> Built:
    plan = Plan(3, 3)
    plan.put()
    plan.delete()
    plan.read()
    return plan.built()


def puts_delete() -> Built:
    plan = Plan(3, 3)
    plan.put()
    plan.put()
    plan.delete()
    return plan.built()


def put_deletes() -> Built:
    plan = Plan(3, 3)
    plan.put()
    plan.delete()
    plan.delete()
    plan.duty("repair", times=1, whole=True)
    return plan.built()


def repaired() -> Built:
    plan = Plan(3, 3)
    plan.put()
    plan.delete()
    plan.duty("repair", 0, times=1)
    plan.duty("repair", 1, times=1)
    return plan.built()


def late_put() -> Built:
    plan = Plan(3, 3)
    put = plan.put()
    plan.delete()
    plan.duty("collect", times=2, in_peace=True)
    plan.duty("repair", 0, times=1, in_peace=True)
    return plan.built(holding=[(0, 1)], acked=put)


def put_again() -> Built:
    plan = Plan(3, 3)
    put = plan.put()
    delete = plan.delete()
    plan.put(after=delete)
    plan.duty("collect", times=2, whole=True)
    return plan.built(holding=PAIRS, acked=put)


def purge() -> Built:
    plan = Plan(3, 3)
    put = plan.put()
    plan.delete()
    plan.duty("collect", 0, 1, times=2, whole=True)
    plan.duty("collect", 2, times=2)
    return plan.built(holding=PAIRS, acked=put)


def pull() -> Built:
    plan = Plan(3, 3)
    put = plan.put()
    plan.delete()
    plan.duty("collect", times=2, in_peace=True)
    plan.duty("repair", 2, times=1)
    return plan.built(holding=[(0, 1)], acked=put, late=False)


def pull_foreign() -> Built:
    plan = Plan(3, 3)
    put = plan.put()
    plan.delete()
    plan.duty("collect", times=2, in_peace=True)
    plan.duty("repair", 2, times=1)
    return plan.built(holding=[(0, 1)], acked=put, late=False, floor=1)


def pull_unheard() -> Built:
    plan = Plan(3, 3)
    put = plan.put()
    plan.delete()
    plan.duty("collect", 0, 1, times=2, in_peace=True)
    plan.duty("repair", 2, times=1)
    return plan.built(holding=[(0, 1)], acked=put, late=False)


def wiped_put() -> Built:
    plan = Plan(3, 3)
    plan.put()
    plan.read()
    plan.duty("rejoin", 0, times=1, whole=True)
    return plan.built(Faults(wiped=(0,)))


def wiped_rejoin() -> Built:
    plan = Plan(3, 3)
    plan.put()
    plan.duty("rejoin", 0, times=1)
    return plan.built(Faults(wiped=(0,)))


def wiped_purge() -> Built:
    plan = Plan(3, 3)
    put = plan.put()
    plan.delete()
    plan.duty("rejoin", 2, times=1, in_peace=True)
    plan.duty("collect", times=2, in_peace=True)
    plan.duty("repair", 0, 2, times=1, in_peace=True)
    return plan.built(Faults(wiped=(2,)), holding=[(0, 1)], acked=put)


def wiped_late() -> Built:
    plan = Plan(3, 3)
    put = plan.put()
    delete = plan.delete()
    plan.duty("collect", times=2, in_peace=True)
    plan.duty("rejoin", 2, times=1, in_peace=True)
    built = plan.built(Faults(wiped=(2,)), holding=[(0, 1)], acked=put)
    return built.delivered(delete, 0, 1, 0, 1)


def wiped_partly() -> Built:
    plan = Plan(3, 3)
    put = plan.put()
    plan.read()
    plan.duty("rejoin", 2, times=1, whole=True)
    return plan.built(Faults(wiped=(2,)), holding=[(0, 2), (1, 2)], acked=put)


def wiped_confirming() -> Built:
    plan = Plan(3, 3)
    put = plan.put()
    plan.delete()
    plan.duty("rejoin", 2, times=1, whole=True)
    plan.duty("collect", 0, times=2)
    plan.duty("collect", 1, times=2, whole=True)
    return plan.built(Faults(wiped=(2,)), holding=[(0, 1)], acked=put)


def spare_put() -> Built:
    plan = Plan(3, 2)
    plan.put()
    plan.read()
    plan.duty("repair", times=1, whole=True)
    plan.duty("handoff", times=1)
    return plan.built(Faults(losses=2))


def spare_late() -> Built:
    plan = Plan(3, 2)
    plan.put()
    plan.delete()
    plan.read()
    return plan.built(Faults(lates=2))


def spare_delete() -> Built:
    plan = Plan(3, 2)
    put = plan.put()
    plan.delete()
    plan.duty("repair", times=1, whole=True)
    plan.duty("handoff", times=1, whole=True)
    plan.duty("collect", times=2, whole=True)
    return plan.built(Faults(losses=1), holding=PAIRS, acked=put)


def upload() -> Built:
    plan = Plan(3, 3, [LARGE])
    plan.put(LARGE)
    plan.duty("collect", 0, times=2)
    plan.duty("collect", 1, times=1, whole=True)
    return plan.built()


def upload_pardoned() -> Built:
    plan = Plan(3, 3, [LARGE])
    put = plan.put(LARGE)
    plan.duty("collect", 0, times=1)
    return plan.built().delivered(put, 0, 1).delivered(1, 1)


def upload_put_again() -> Built:
    plan = Plan(3, 3, [LARGE])
    put = plan.put(LARGE)
    plan.duty("collect", 0, times=1)
    return plan.built().delivered(put, 0, 1).delivered(1, 1, 2, -1, 1, 2).delivered(put, 1, 2)


def upload_condemned() -> Built:
    plan = Plan(3, 3, [LARGE])
    put = plan.put(LARGE)
    plan.duty("collect", times=1, whole=True)
    return plan.built().delivered(put, 0, 1)


def uploads() -> Built:
    plan = Plan(3, 3, [LARGE, OTHER])
    put = plan.put(LARGE)
    other = plan.put(OTHER)
    plan.duty("collect", 0, 1, times=1, whole=True)
    return plan.built().delivered(put, 0, 1).delivered(other, 0, 1)


def upload_again() -> Built:
    plan = Plan(3, 3, [LARGE])
    put = plan.put(LARGE)
    delete = plan.delete(LARGE, after=put)
    plan.put(LARGE, after=delete)
    plan.duty("collect", times=1, whole=True)
    return plan.built()


def layout_joint() -> Built:
    plan = Plan(4, 3, layouts=[four_nodes(1, 0, 1, 2), four_nodes(2, 0, 1, 3)])
    plan.put()
    plan.read()
    plan.duty("repair", times=1, whole=True)
    return plan.built(Faults(lessons=((1, 2),)))


def layout_joint_delete() -> Built:
    plan = Plan(4, 3, layouts=[four_nodes(1, 0, 1, 2), four_nodes(2, 0, 1, 3)])
    put = plan.put()
    plan.delete()
    plan.duty("repair", 0, 3, times=1, whole=True)
    plan.duty("collect", times=1, whole=True)
    return plan.built(Faults(lessons=((1, 2),)), holding=[(0, 2)], acked=put)


def layout_left() -> Built:
    layouts = [four_nodes(1, 0, 1, 2), four_nodes(2, 0, 1, 3)]
    plan = Plan(4, 3, layouts=layouts, epochs=(2,), hinted=True)
    put = plan.put()
    plan.delete()
    plan.duty("collect", 0, 1, 3, times=2, in_peace=True)
    plan.duty("handoff", 2, times=1, in_peace=True)
    plan.duty("repair", 0, 1, times=1, in_peace=True)
    return plan.built(Faults(lessons=((2,),)), holding=[(0, 1, 3)], acked=put, behind=2, late=False)


def layout_retired() -> Built:
    layouts = [four_nodes(1, 0, 1, 2), four_nodes(2, 0, 1, 3, retired=2)]
    plan = Plan(4, 3, layouts=layouts, epochs=(2,), hinted=True)
    put = plan.put()
    plan.delete()
    plan.duty("collect", 0, 1, 3, times=2, in_peace=True)
    plan.duty("handoff", 2, times=1, in_peace=True)
    plan.duty("repair", 0, 1, times=1, in_peace=True)
    return plan.built(holding=[(0, 1, 3)], acked=put, behind=2, late=False)


QUICK: Final[Any] = {"is_quick": True, "seconds": 120.0}  # a bound, not what they take

SCENARIOS: Final = (
    Scenario("put-delete", "a put, a delete, a read", put_delete, rest_every=50, **QUICK),
    Scenario("puts-delete", "two puts, a delete", puts_delete, rest_every=50),
    Scenario("put-deletes", "a put, two deletes", put_deletes, rest_every=50),
    Scenario("repaired", "a put, a delete, two pulls under way", repaired, rest_every=50),
    Scenario("late-put", "purged everywhere, a put arrives", late_put, rest_every=50, **QUICK),
    Scenario("put-again", "purged, put again", put_again, rest_every=50),
    Scenario("purge", "an acked put, a delete, a purge step by step", purge, rest_every=50),
    Scenario("pull", "a pull under way while its node purges", pull, rest_every=50),
    Scenario("pull-foreign", "likewise, and no floor moves", pull_foreign),
    Scenario("pull-unheard", "a pull by a node that heard of no delete", pull_unheard, **QUICK),
    Scenario("wiped-put", "a put, a disk lost", wiped_put, rest_every=50, **QUICK),
    Scenario("wiped-rejoin", "a put while a node rejoins step by step", wiped_rejoin, **QUICK),
    Scenario("wiped-purge", "a disk lost among purges", wiped_purge, rest_every=50),
    Scenario("wiped-late", "a late put at a receiver, after a purge", wiped_late, **QUICK),
    Scenario("wiped-partly", "a node rejoins, another is silent", wiped_partly, **QUICK),
    Scenario("wiped-confirming", "a confirmed tombstone lost with its disk", wiped_confirming),
    Scenario("spare-put", "a put on a spare, handed over", spare_put, rest_every=50),
    Scenario("spare-late", "clients that become impatient", spare_late, rest_every=50),
    Scenario("spare-delete", "a spare's copy and a delete", spare_delete, rest_every=50),
    Scenario("layout-joint", "a put while nodes learn a second layout", layout_joint),
    Scenario("layout-joint-delete", "a delete, likewise", layout_joint_delete),
    Scenario("layout-left", "purged while a node that owns no more is away", layout_left),
    Scenario("layout-retired", "purged past a retired node", layout_retired),
    Scenario("upload-pardoned", "a chunk condemned and put again", upload_pardoned, rest_every=50),
    Scenario("upload-put-again", "likewise, from the recipe on", upload_put_again, rest_every=50),
    Scenario("upload-condemned", "two collectors at one chunk", upload_condemned, rest_every=50),
    Scenario("upload", "a large blob and the collector", upload, rest_every=50),
    Scenario("uploads", "two large blobs that share a chunk", uploads, rest_every=50),
    Scenario("upload-again", "a large blob, deleted and put again", upload_again, rest_every=50),
)
