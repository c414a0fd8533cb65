"""Where a run keeps what it extracted and computed until it has published.

A folder for each snapshot: `snapshot.json`, `tables/` with the extracted Parquet files, and a
folder for each format with the datasets and the archive. The staging area is a local folder, or a
prefix of an S3 bucket as fsspec reaches it; its files appear whole or not at all. Local folders
that are made here are open to nobody else.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

from upath import UPath

from engagement.errors import (
    EngagementError,
    TemporaryError,
    explain_os_error,
    one_line,
)
from engagement.s3_errors import S3Errors, no_client, told_endpoint

log = logging.getLogger(__name__)

_RUN_DIGITS = 16
# The period, the run, and what tells the snapshots of a run from each other.
_SNAPSHOT_NAME = re.compile(
    r"\d{4}-\d{2}-\d{2}_to_\d{4}-\d{2}-\d{2}_"
    rf"(?P<run>[0-9a-f]{{{_RUN_DIGITS}}})[0-9a-f]{{16}}",
    re.ASCII,
)


def local_path(path: UPath) -> Path | None:
    """The path on this machine's own disk, or None where `path` is elsewhere."""
    return Path(path.path) if path.protocol in {"", "file", "local"} else None


@contextmanager
def fetched(folder: UPath, names: Iterable[str]) -> Iterator[Path]:
    """A local folder that holds the files `names` of `folder`; raises EngagementError.

    An EngagementError of the block names the files where they stay, not where they were fetched.
    """
    wanted = sorted(set(names))
    with _told(folder, "read"):
        _forget_listings(folder)
        missing = [name for name in wanted if not (folder / name).exists()]
    if missing:
        raise EngagementError(
            f"the staging folder {folder} lacks {', '.join(missing)}: it was removed after the "
            "run published, or swept; run again from the extract (clear the task extract and all "
            "after it)"
        )
    local = local_path(folder)
    if local is not None:
        yield local
        return
    with tempfile.TemporaryDirectory(prefix="engagement-fetched-") as temporary:
        with _told(folder, "read"):
            for name in wanted:
                with (
                    (folder / name).open("rb") as source,
                    (Path(temporary) / name).open("wb") as target,
                ):
                    shutil.copyfileobj(source, target, 1 << 20)
        try:
            yield Path(temporary)
        except EngagementError as error:
            raise type(error)(str(error).replace(temporary, str(folder))) from None


@contextmanager
def written(folder: UPath) -> Iterator[Path]:
    """A local folder whose files move to `folder` at the end of the block, each in one step.

    Raises EngagementError where they cannot; what the block raises leaves none of them.
    """
    local = local_path(folder)
    if local is None:
        with tempfile.TemporaryDirectory(prefix="engagement-written-") as temporary:
            yield Path(temporary)
            with _told(folder, "write"):
                for path in sorted(Path(temporary).iterdir()):
                    folder.fs.put_file(str(path), (folder / path.name).path)
        return
    with _told(folder, "write"):
        _make_private(local)
        unfinished = tempfile.TemporaryDirectory(prefix=".unfinished-", dir=local)
    with unfinished as temporary:
        yield Path(temporary)
        with _told(folder, "write"):
            for path in sorted(Path(temporary).iterdir()):
                path.replace(local / path.name)


@dataclass(frozen=True, slots=True)
class StagingArea:
    """The folder `base`, shared by all workers, with a folder for each owner (a DAG)."""

    base: UPath

    def check(self) -> None:
        """Raises EngagementError unless files can be written, read, listed and removed here."""
        probe = self.base / f".check-{secrets.token_hex(16)}"
        with _told(self.base, "use"), written(probe) as local:
            (local / "probe").touch()
        with fetched(probe, ["probe"]):
            _listed(self.base)
        remove(probe)

    def new_folder(self, owner: str, label: str, run: str | None = None) -> UPath:
        """A new folder for one snapshot of `owner` in its run; no two calls give the same.

        `label` is the period's. Without a `run`, the snapshot is the only one of its run.
        """
        if run is None:
            key = secrets.token_hex(_RUN_DIGITS // 2)
        else:
            key = hashlib.sha256(run.encode()).hexdigest()[:_RUN_DIGITS]
        return self.base / owner / f"{label}_{key}{secrets.token_hex(8)}"

    def sweep(self, now: datetime, keep_days: int) -> list[str]:
        """Removes what failed runs left more than `keep_days` before `now`; returns the names.

        What cannot be removed stays, and is told in the log. Raises EngagementError where the
        area cannot be listed.
        """
        oldest = (now - timedelta(days=keep_days)).timestamp()
        swept = []
        for owner in _listed(self.base):
            snapshots: list[UPath] = []
            with _warned():
                snapshots = [one for one in _listed(owner) if _SNAPSHOT_NAME.fullmatch(one.name)]
            for snapshot in snapshots:
                with _warned():
                    if _changed_before(snapshot, oldest):
                        remove(snapshot)
                        swept.append(f"{owner.name}/{snapshot.name}")
        return sorted(swept)


def remove(folder: UPath) -> None:
    """Removes a folder and all in it; one that is not there is fine.

    Raises EngagementError where something of it stays.
    """
    with _told(folder, "remove"):
        local = local_path(folder)
        if local is not None:
            while local.is_symlink() or local.exists():
                # What is missing on the way, another worker has removed.
                with suppress(FileNotFoundError):
                    if local.is_symlink():
                        local.unlink()
                    else:
                        shutil.rmtree(local)
            return
        with suppress(FileNotFoundError):
            folder.fs.rm(folder.path, recursive=True)
        # S3 tells what it refused to delete in an answer that s3fs does not read.
        _forget_listings(folder)
        stays = folder.exists()
    if stays:
        raise EngagementError(
            f"the staging folder {folder} could not be removed: give the user of its connection "
            "the right to delete objects"
        )


def remove_run(folder: UPath) -> None:
    """Removes every snapshot that the run of the snapshot `folder` has taken.

    Others than the last one are of attempts that were killed or cleared. Raises EngagementError
    where something of them stays.
    """
    name = _SNAPSHOT_NAME.fullmatch(folder.name)
    if name is not None:
        for other in _listed(folder.parent):
            found = _SNAPSHOT_NAME.fullmatch(other.name)
            if found is not None and found["run"] == name["run"]:
                remove(other)
    remove(folder)


def discard(folder: UPath) -> None:
    """Removes a folder of no more use; where it cannot be, the log says so."""
    with _warned():
        remove(folder)


def _make_private(folder: Path) -> None:
    """Makes `folder` and those above it that are missing, for nobody but their owner."""
    if not folder.is_dir():
        _make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _listed(folder: UPath) -> list[UPath]:
    """The folders in `folder`; none where it is not there. Symbolic links are not followed."""
    with _told(folder, "list"):
        _forget_listings(folder)
        try:
            found = list(folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            # On S3, what is not there is no folder either.
            _forget_listings(folder)
            if folder.exists():
                raise
            return []
        return [path for path in found if path.is_dir() and not _is_link(path)]


def _is_link(path: UPath) -> bool:
    local = local_path(path)
    return local is not None and local.is_symlink()


def _changed_before(folder: UPath, instant: float) -> bool:
    """Whether the folder is there and no file of it was written since; S3 has no times of folders.

    Another run sweeps at the same time, or works in what it has just begun.
    """
    with _told(folder, "read"), suppress(FileNotFoundError):
        changes = [path.stat().st_mtime for path in folder.rglob("*") if _is_file(path)]
        return max(changes, default=folder.stat().st_mtime) < instant
    return False


def _is_file(path: UPath) -> bool:
    return path.is_file() and not _is_link(path)


def _forget_listings(folder: UPath) -> None:
    """Lets fsspec ask again what is there: other workers write and remove, too."""
    folder.fs.invalidate_cache()


@contextmanager
def _warned() -> Iterator[None]:
    """Logs an error of the block as one line, and goes on."""
    try:
        yield
    except EngagementError as error:
        log.warning("%s", one_line(error))


@contextmanager
def _told(folder: UPath, doing: str) -> Iterator[None]:
    """Tells in one line what the disk or the S3 server refuses while `doing` a folder.

    Raises TemporaryError where it may pass, else another EngagementError.
    """
    doing = f"{doing} the staging folder {folder}"
    server = nullcontext() if local_path(folder) is not None else _server_told(folder, doing)
    try:
        with server:
            yield
    except OSError as error:
        raise EngagementError(f"cannot {doing}: {explain_os_error(error)}") from None


@contextmanager
def _server_told(folder: UPath, doing: str) -> Iterator[None]:
    """The same of the S3 server alone; what this machine's disk refuses stays an OSError."""
    from botocore.exceptions import BotoCoreError, ClientError
    from s3fs.core import S3_RETRYABLE_ERRORS  # type: ignore[import-untyped]

    passing = (*S3_RETRYABLE_ERRORS, ConnectionError)
    try:
        yield
    except (OSError, ValueError, BotoCoreError, ClientError, *passing) as error:
        # s3fs makes a Python error of an answer, and keeps the answer as its cause.
        answer = error.__cause__ or error
        if isinstance(answer, ClientError | BotoCoreError):
            _explain(answer, folder, doing)
        if isinstance(error, passing):
            raise TemporaryError(
                f"cannot {doing}: the S3 server did not answer or broke off "
                f"({type(error).__name__}); try again later"
            ) from None
        if isinstance(error, ValueError):
            raise no_client(f"cannot {doing}: {_connection(folder)}", error) from None
        raise


def _explain(error: Any, folder: UPath, doing: str) -> NoReturn:
    """Raises what S3 answered, or that it did not, as an EngagementError."""
    bucket = folder.path.partition("/")[0]
    endpoint = told_endpoint(folder.fs.endpoint_url or "https://s3.amazonaws.com")
    with S3Errors(bucket, "ENGAGEMENT_STAGING", endpoint, _connection(folder)).during(doing):
        raise error


def _connection(folder: UPath) -> str:
    name = getattr(folder, "conn_id", None)
    if name:
        return f"the connection {name} (AIRFLOW_CONN_{name.upper()}, ENGAGEMENT_STAGING)"
    return "the S3 login of this machine (ENGAGEMENT_STAGING names no connection)"
