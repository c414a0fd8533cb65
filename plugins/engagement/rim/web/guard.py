"""Who may see what: Airflow guards no route of a plugin by itself, so that each names its right."""

from __future__ import annotations

from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, HTTPException, Request, status

from engagement.period import Cadence
from engagement.rim.names import FAST_EVENTS, report_dag_id

REPORTS = report_dag_id(Cadence.ON_DEMAND)
"""The DAG whose rights stand for all reports."""

_RUN = DagAccessEntity.RUN
_trigger: Any = requires_access_dag("POST", _RUN, param_dag_id=REPORTS)

MAY_READ: Any = Depends(requires_access_dag("GET", _RUN, param_dag_id=REPORTS))
"""Counts, charts and data quality."""
MAY_TRIGGER: Any = Depends(_trigger)
"""Whatever holds personal data: archives, events, users."""
MAY_TRIGGER_EVENTS: Any = Depends(requires_access_dag("POST", _RUN, param_dag_id=FAST_EVENTS))
"""Starting a run that writes into the app's database."""


def _has_right_to_trigger(request: Request, user: GetUserDep) -> bool:
    try:
        _trigger(request, user)
    except HTTPException as error:
        if error.status_code != status.HTTP_403_FORBIDDEN:
            raise
        return False
    return True


HasRightToTrigger = Annotated[bool, Depends(_has_right_to_trigger)]
"""Whether what needs MAY_TRIGGER would be answered; it guards nothing by itself."""
