"""What the tasks of every DAG share: their retries, connections, destination, and short errors."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Connection, ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.exceptions import AirflowNotFoundException

from engagement.errors import ConfigurationError, EngagementError, TemporaryError, one_line
from engagement.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from engagement.app_database import Address
    from engagement.publish import Destination

log = logging.getLogger(__name__)

Plain = dict[str, Any]

DEFAULT_ARGS: Plain = {
    "owner": "engagement-reports",
    "retries": 2,
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": 3.0,
    "retry_policy": ExceptionRetryPolicy(
        rules=[
            RetryRule(exception=TemporaryError, action=RetryAction.DEFAULT),
            RetryRule(exception=EngagementError, action=RetryAction.FAIL),
        ]
    ),
}
"""Only what may pass is tried again."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Logs an error that was foreseen as one line, and lets Airflow see nothing but that line."""
    try:
        yield
    except EngagementError as error:
        message = one_line(error)
        log.error("%s", message)  # noqa: TRY400  the traceback tells nothing that this does not
        raise type(error)(message).with_traceback(None) from None


def app_database(connection_id: str) -> Address:
    """The Airflow connection to the app's database; raises ConfigurationError without one."""
    from engagement.app_database import Address, variable

    try:
        connection = Connection.get(connection_id)
    except AirflowNotFoundException:
        raise ConfigurationError(
            f"there is no connection {connection_id} to the app's database: add it in Airflow "
            f"under Admin, Connections (type Postgres), or set {variable(connection_id)}"
        ) from None
    if connection.conn_type not in {"postgres", "postgresql"}:
        raise ConfigurationError(
            f"the connection {connection_id} is of the type {connection.conn_type!r}: expected "
            "postgres"
        )
    return Address.of_parts(
        host=connection.host,
        port=connection.port,
        user=connection.login,
        password=connection.password,
        database=connection.schema,
        options=connection.extra_dejson,
        connection_id=connection_id,
    )


def s3_client(settings: Settings) -> S3Client:
    """A client of the S3 connection that the settings name."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    client: S3Client = S3Hook(aws_conn_id=settings.s3_connection).get_conn()
    return client


def destination(settings: Settings, prefix: str | None = None) -> Destination:
    """Where reports are published; raises UsageError or ConfigurationError for what cannot be."""
    from engagement.destinations import open_destination

    return open_destination(settings, prefix, lambda: s3_client(settings))
