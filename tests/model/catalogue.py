"""All scenarios."""

from __future__ import annotations

from typing import Final

from tests.model.scenario import Built, Plan, Scenario


def put_delete() -> Built:
    plan = Plan(3, 3)
    plan.put()
    plan.delete()
    plan.read()
    return plan.built()


def purge() -> Built:
    plan = Plan(3, 3)
    put = plan.put()
    plan.delete()
    plan.duty("collect", times=2, whole=True)
    plan.duty("repair", 2, times=1)
    return plan.built(holding=[(0, 1), (0, 2), (1, 2)], acked=put)


SCENARIOS: Final = (
    Scenario("put-delete", "a put, a delete and a read", put_delete, rest_every=50),
    Scenario("purge", "an acked put, a delete, purge, a pull", purge, rest_every=50),
)
