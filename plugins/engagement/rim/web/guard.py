"""Who may see what: Airflow guards no route of a plugin by itself, so that each names its right."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends

REPORTS = "engagement_on_demand"
"""The DAG whose rights stand for all reports."""
EVENTS = "fast_events"

_RUN = DagAccessEntity.RUN

MAY_READ: Any = Depends(requires_access_dag("GET", _RUN, param_dag_id=REPORTS))
"""Counts, charts and data quality."""
MAY_TRIGGER: Any = Depends(requires_access_dag("POST", _RUN, param_dag_id=REPORTS))
"""Whatever holds personal data: archives, events, users."""
MAY_TRIGGER_EVENTS: Any = Depends(requires_access_dag("POST", _RUN, param_dag_id=EVENTS))
"""Starting a run that writes into the app's database."""
