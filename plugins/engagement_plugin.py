"""Registers the package with Airflow: Admin, Plugins shows that it is there.

The only file that Airflow loads from this folder; see `.airflowignore`.
"""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class EngagementPlugin(AirflowPlugin):
    """Engagement reports."""

    name = "engagement"
