"""Publishing to a folder of the file system."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from engagement.errors import ConfigurationError, PublishError, TemporaryError, UsageError
from engagement.publish import (
    LATEST,
    Archive,
    Published,
    Stored,
    naming_kept_archive,
    next_record,
    outcome,
    read_blocks,
)
from engagement.published_record import Record, from_json, to_json

LOCK_SECONDS = 300.0


class FolderDestination:
    """A folder: its own lock keeps publishers apart, a rename makes each file visible whole.

    New files and folders are as private as the folder `base`; where that is made here, nobody
    else may read it.
    """

    def __init__(self, base: Path, prefix: str) -> None:
        self.base = base
        self.prefix = prefix

    def check(self) -> None:
        """Raise ConfigurationError unless files can be written under the prefix."""
        with self._errors():
            probe = self._make(self.prefix) / f".check-{os.getpid()}.tmp"
            probe.touch(mode=0o600)
            probe.unlink(missing_ok=True)

    def publish(self, archive: Archive, *, replace: bool) -> Published:
        """Publish `archive`; with `replace` also over content that has more activities."""
        key = self.prefix + archive.folder + archive.name
        with naming_kept_archive(archive), self._errors():
            folder = self._make(self.prefix + archive.folder)
            with self._locked(folder):
                for leftover in folder.glob(".*.tmp"):
                    leftover.unlink()
                path, latest = folder / archive.name, folder / LATEST
                stored = self._stored(path)
                before = _load(latest)
                known = _load(_sidecar(path))
                record = next_record(archive, key, stored, (before, known), replace)
                changed = stored is None or record is not stored.record
                if changed:
                    self._write(_pending(path), [to_json(record)])
                    self._write(path, read_blocks(archive, 2**20))
                    _rename(_pending(path), _sidecar(path))
                moved = before is None or record.order > before.order
                if moved:
                    self._write(latest, [to_json(record)])
        return outcome(record, str(path), path.as_uri(), changed=changed, latest_moved=moved)

    def put_document(self, name: str, content: bytes) -> str:
        """Put a small JSON document under the prefix in place of any before; returns its path."""
        with self._errors():
            folder = self._make(self.prefix)
            with self._locked(folder):
                self._write(folder / name, [content])
        return str(folder / name)

    def presign(self, published: Published, seconds: int) -> str:
        """Raise UsageError: only S3 has presigned URLs."""
        del seconds
        raise UsageError(
            f"no presigned URL for {published.address}: the destination is a folder; expected an "
            "s3:// address in ENGAGEMENT_DESTINATION"
        )

    def _stored(self, path: Path) -> Stored | None:
        """What stands at `path`, by the record whose checksum its content has.

        The new record is written before the archive is renamed and becomes the sidecar after it:
        whatever moment a publisher died in, one of the two is that of the content.
        """
        try:
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return None
        sidecar, pending = _sidecar(path), _pending(path)
        record = _load(sidecar)
        if record is None or record.sha256 != sha256:
            record = _load(pending)
            if record is None or record.sha256 != sha256:
                return Stored(None, sha256)
            _rename(pending, sidecar)
        return Stored(record, sha256)

    def _make(self, below: str) -> Path:
        """The folder `below` the base, made where it is missing."""
        self.base.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder, root = self.base, self.base.resolve()
        for part in below.split("/")[:-1]:
            folder /= part
            if not folder.resolve().is_relative_to(root):
                raise UsageError(
                    f"s3_prefix {self.prefix!r} leads out of the destination {self.base} through "
                    "a symbolic link: expected a prefix that stays under it"
                )
            folder.mkdir(mode=self._mode & 0o777, exist_ok=True)
        return folder

    @property
    def _mode(self) -> int:
        return self.base.stat().st_mode

    def _write(self, path: Path, blocks: Iterable[bytes]) -> None:
        """Write `path` whole and to the disk, or leave it as it was."""
        temporary = path.with_name(f".{path.name}.tmp")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        try:
            with open(os.open(temporary, flags, self._mode & 0o666), "wb") as file:  # noqa: PTH123
                file.writelines(blocks)
                file.flush()
                os.fsync(file.fileno())
            _rename(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    @contextmanager
    def _locked(self, folder: Path) -> Iterator[None]:
        """Hold the folder's lock; raises TemporaryError if others hold it for too long."""
        lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, self._mode & 0o666)
        try:
            deadline = time.monotonic() + LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise TemporaryError(
                            f"another publisher has held the lock of {folder} for more than "
                            f"{LOCK_SECONDS:.0f} seconds: try again when it is done"
                        ) from None
                    time.sleep(0.02)
            yield
        finally:
            os.close(lock)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise failures of the file system as errors that say what to do."""
        try:
            yield
        except OSError as error:
            where = f"the destination {self.base} (ENGAGEMENT_DESTINATION)"
            reason = error.strerror or type(error).__name__
            if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
                raise PublishError(f"{where} is full ({reason}): make room and try again") from None
            if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT}:
                raise ConfigurationError(
                    f"{where} cannot be written ({reason}): expected a folder that this user may "
                    "write to"
                ) from None
            if isinstance(error, NotADirectoryError | FileExistsError):
                raise ConfigurationError(
                    f"{where} is not a folder, or a file stands where it needs one: expected a "
                    "folder"
                ) from None
            if error.errno == errno.ENAMETOOLONG:
                raise UsageError(
                    f"{where} with the prefix {self.prefix!r} is too long a path: expected a "
                    "shorter s3_prefix"
                ) from None
            raise PublishError(f"{where} failed ({reason}): repair it and try again") from None


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _pending(path: Path) -> Path:
    return path.with_name(f".{path.name}.json.pending")


def _load(path: Path) -> Record | None:
    """The record in the file `path`; None where there is no such file."""
    try:
        return from_json(path.read_bytes(), str(path))
    except FileNotFoundError:
        return None


def _rename(source: Path, target: Path) -> None:
    """Rename within a folder, so that the disk has it when this returns."""
    os.replace(source, target)  # noqa: PTH105
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
