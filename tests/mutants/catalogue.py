"""All planted bugs."""

from __future__ import annotations

from typing import Final

from tests.mutants.planted import CLUSTER_MUTANTS
from tests.mutants.planted_deletion import DELETION_MUTANTS
from tests.mutants.planted_doors import DOOR_MUTANTS
from tests.mutants.planted_doubt import DOUBT_MUTANTS
from tests.mutants.planted_index import INDEX_MUTANTS
from tests.mutants.planted_mending import MENDING_MUTANTS
from tests.mutants.planted_model import MODEL_MUTANTS
from tests.mutants.planted_operating import OPERATING_MUTANTS
from tests.mutants.planted_pages import PAGE_MUTANTS
from tests.mutants.planted_reading import READING_MUTANTS
from tests.mutants.planted_recordlog import RECORD_LOG_MUTANTS
from tests.mutants.planted_repair import REPAIR_MUTANTS
from tests.mutants.planted_wire import WIRE_MUTANTS

MUTANTS: Final = (
    *CLUSTER_MUTANTS,
    *DELETION_MUTANTS,
    *DOOR_MUTANTS,
    *DOUBT_MUTANTS,
    *INDEX_MUTANTS,
    *MENDING_MUTANTS,
    *MODEL_MUTANTS,
    *OPERATING_MUTANTS,
    *PAGE_MUTANTS,
    *READING_MUTANTS,
    *RECORD_LOG_MUTANTS,
    *REPAIR_MUTANTS,
    *WIRE_MUTANTS,
)
