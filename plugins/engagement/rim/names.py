"""The names of the DAGs and of their assets; a DAG file or a plugin may import this."""

from __future__ import annotations

from engagement.period import Cadence

FAST_EVENTS = "fast_events"


def report_dag_id(cadence: Cadence) -> str:
    """The DAG whose runs each publish one report of `cadence`."""
    return f"engagement_{cadence}".replace("-", "_")


def report_asset(cadence: Cadence) -> str:
    """The name of the asset on which that DAG's runs tell what they have published."""
    return f"engagement_report_{cadence}".replace("-", "_")


CADENCE_OF = {report_dag_id(cadence): cadence for cadence in Cadence}
"""The cadence of each DAG of reports."""
