"""Which report a run has published, as its asset event in Airflow's database tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

# The API server reads its own database; the task SDK has no way to ask it.
from airflow.models.asset import AssetEvent, AssetModel  # noqa: TID251
from sqlalchemy import select

from engagement.rim.names import CADENCE_OF, report_asset

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class PublishedByRun:
    """What a run told when it had published; not `changed` where it was there already."""

    key: str
    address: str
    sha256: str
    revision: int
    changed: bool

    @classmethod
    def of_extra(cls, extra: Mapping[str, Any]) -> Self | None:
        """The same out of an event's extra; None where somebody else made the event."""
        try:
            return cls(
                str(extra["key"]),
                str(extra["address"]),
                str(extra["sha256"]),
                int(extra["revision"]),
                bool(extra["changed"]),
            )
        except (KeyError, TypeError, ValueError):
            return None


def find(session: Session, dag_id: str, run_id: str) -> PublishedByRun | None:
    """What the run told last; None where it has told nothing."""
    asset = report_asset(CADENCE_OF[dag_id])
    extra = session.scalar(
        select(AssetEvent.extra)
        .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        .where(
            AssetModel.name == asset,
            AssetEvent.source_dag_id == dag_id,
            AssetEvent.source_run_id == run_id,
        )
        .order_by(AssetEvent.timestamp.desc(), AssetEvent.id.desc())
        .limit(1)
    )
    return None if extra is None else PublishedByRun.of_extra(extra)
