"""Where a run keeps what it extracted and computed until it has published.

A folder for each snapshot: `snapshot.json`, `tables/` with the extracted Parquet files, and a
folder for each format with the datasets and the archive. The staging area is a local folder or any
that fsspec reaches; its files appear whole or not at all.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from upath import UPath

from engagement.errors import EngagementError


def local_path(path: UPath) -> Path | None:
    """The path on this machine's own disk, or None where `path` is elsewhere."""
    return Path(path.path) if path.protocol in {"", "file", "local"} else None


@contextmanager
def fetched(folder: UPath, names: Iterable[str]) -> Iterator[Path]:
    """A local folder that holds the files `names` of `folder`; raises EngagementError.

    An EngagementError of the block names the files where they stay, not where they were fetched.
    """
    wanted = sorted(set(names))
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
    """A local folder whose files move to `folder` at the end of the block, each in one step."""
    local = local_path(folder)
    if local is None:
        with tempfile.TemporaryDirectory(prefix="engagement-written-") as temporary:
            yield Path(temporary)
            # Without a transaction, a file that could not be copied to its end appears all the
            # same, cut off.
            with folder.fs.transaction:
                for path in sorted(Path(temporary).iterdir()):
                    with path.open("rb") as source, (folder / path.name).open("wb") as target:
                        shutil.copyfileobj(source, target, 1 << 20)
        return
    local.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=local) as temporary:
        yield Path(temporary)
        for path in sorted(Path(temporary).iterdir()):
            path.replace(local / path.name)


@dataclass(frozen=True, slots=True)
class StagingArea:
    """The folder `base`, shared by all workers, with a folder for each owner (a DAG)."""

    base: UPath

    def new_folder(self, owner: str, label: str) -> UPath:
        """A new folder for one snapshot of `owner`; no two calls give the same."""
        return self.base / owner / f"{label}_{uuid.uuid4().hex}"

    def sweep(self, now: datetime, keep_days: int) -> list[str]:
        """Removes what failed runs left more than `keep_days` before `now`; returns the names."""
        oldest = (now - timedelta(days=keep_days)).timestamp()
        swept = []
        _forget_listings(self.base)
        for owner in _folders(self.base):
            for leftover in _folders(owner):
                # Another run sweeps at the same time, or works in what it has just begun.
                with suppress(FileNotFoundError):
                    if _last_change(leftover) < oldest:
                        remove(leftover)
                        swept.append(f"{owner.name}/{leftover.name}")
        return sorted(swept)


def remove(folder: UPath) -> None:
    """Removes a folder and all in it; one that is not there is fine.

    Raises OSError or EngagementError where something of it stays.
    """
    local = local_path(folder)
    if local is not None:
        while local.exists():
            # What is missing on the way, another worker has removed.
            with suppress(FileNotFoundError):
                shutil.rmtree(local)
        return
    with suppress(FileNotFoundError):
        folder.fs.rm(folder.path, recursive=True)
    # S3 tells what it refused to delete in an answer that s3fs does not read.
    _forget_listings(folder)
    if folder.exists():
        raise EngagementError(
            f"the staging folder {folder} could not be removed: give the user of its connection "
            "the right to delete objects"
        )


def _folders(folder: UPath) -> list[UPath]:
    try:
        return [path for path in folder.iterdir() if path.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        # On S3, what is not there is no folder either.
        _forget_listings(folder)
        if folder.exists():
            raise
        return []


def _last_change(folder: UPath) -> float:
    """When a file of the folder was last written, in seconds; S3 knows no such time of folders."""
    changes = [path.stat().st_mtime for path in folder.rglob("*") if path.is_file()]
    return max(changes, default=folder.stat().st_mtime)


def _forget_listings(folder: UPath) -> None:
    """Lets fsspec ask again what is there: other workers write and remove, too."""
    folder.fs.invalidate_cache()
