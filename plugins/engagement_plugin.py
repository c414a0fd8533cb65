"""Registers the package with Airflow: its view in the navigation, and tabs on DAGs and runs.

The only file that Airflow loads from this folder; see `.airflowignore`. Every process of Airflow
does, so it imports nothing: the API server alone asks for the application, and gets it then.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin


class EngagementPlugin(AirflowPlugin):
    """Engagement reports."""

    name = "engagement"
    # Relative, so that they stand under whatever address Airflow has.
    external_views = [  # noqa: RUF012  as Airflow declares it
        {
            "name": "Engagement",
            "href": "engagement/",
            "destination": "nav",
            "url_route": "engagement",
            "nav_top_level": True,
        },
        {
            "name": "Reports",
            "href": "engagement/dag?dag_id={DAG_ID}",
            "destination": "dag",
            "url_route": "engagement-reports",
        },
        {
            "name": "Report",
            "href": "engagement/run?dag_id={DAG_ID}&run_id={RUN_ID}",
            "destination": "dag_run",
            "url_route": "engagement-report",
        },
    ]

    @cached_property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        """The application, made where somebody serves it."""
        from engagement.rim.web.app import create_app  # noqa: PLC0415  heavy

        return [{"app": create_app(), "url_prefix": "/engagement", "name": "Engagement"}]
