"""What the tasks of every DAG share: their retries, connections, destination, and short errors."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
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
    from engagement.catalog import Catalog
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

# A person gives up long before the library does.
_WAITED_FOR: Plain = {
    "connect_timeout": 3,
    "read_timeout": 15,
    "retries": {"total_max_attempts": 2, "mode": "standard"},
}


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


def s3_client(settings: Settings, options: Mapping[str, Any] | None = None) -> S3Client:
    """A client of the S3 connection that the settings name; `options` go before its own."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from botocore.config import Config

    hook = S3Hook(aws_conn_id=settings.s3_connection)
    own = hook.conn_config.botocore_config or Config()
    config = own.merge(Config(**options)) if options else own
    client: S3Client = hook.get_client_type(hook.region_name, config)
    return client


def destination(settings: Settings, prefix: str | None = None) -> Destination:
    """Where reports are published; raises UsageError or ConfigurationError for what cannot be."""
    from engagement.destinations import open_destination

    return open_destination(settings, prefix, lambda: s3_client(settings))


def catalog(settings: Settings) -> Catalog:
    """What is published, for somebody who waits for it; raises UsageError or ConfigurationError."""
    from engagement.destinations import open_catalog

    return open_catalog(settings, lambda: s3_client(settings, _WAITED_FOR))
