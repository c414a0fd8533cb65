"""OpenStack Swift as an S3 server: it verifies signatures and checksums, and lacks If-Match."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.processes import accepts, free_port, running
from tests.servers.s3 import S3Server

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements-swift.txt"
ENVIRONMENT = ROOT / ".venv-swift"

_KINDS = ("account", "container", "object")
_PIPELINE = (
    "catch_errors gatekeeper healthcheck proxy-logging cache listing_formats bulk s3api tempauth "
    "slo dlo versioned_writes symlink copy proxy-server"
)
_FILTERS = {"proxy-logging": "proxy_logging", "cache": "memcache"}
_OPTIONS = {
    # Nothing listens there: Swift then does without a cache.
    "cache": "memcache_servers = 127.0.0.1:1\n",
    "tempauth": "user_test_tester = testing .admin\n",
    "s3api": "s3_acl = false\nlocation = us-east-1\n",
}
# As `swift-ring-builder` does it, in one process where that would take nine.
_MAKE_RINGS = """
import sys
from swift.common.ring import RingBuilder
for argument in sys.argv[1:]:
    path, port = argument.rsplit("=", 1)
    builder = RingBuilder(8, 1, 1)
    builder.add_dev(dict(region=1, zone=1, ip="127.0.0.1", port=int(port), device="d1", weight=1.0))
    builder.rebalance()
    builder.get_ring().save(path + ".ring.gz")
"""


def install() -> Path:
    """The programs of Swift, installed as locked where they are missing or older than the lock."""
    complete = ENVIRONMENT / ".complete"
    with REQUIREMENTS.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists() or complete.stat().st_mtime < REQUIREMENTS.stat().st_mtime:
            uv = str(Path(sys.executable).with_name("uv"))
            python = str(ENVIRONMENT / "bin" / "python")
            for command in (
                [uv, "venv", "--clear", "--python", sys.executable, str(ENVIRONMENT)],
                [uv, "pip", "sync", "--python", python, "--require-hashes", str(REQUIREMENTS)],
            ):
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
            complete.touch()
    return ENVIRONMENT / "bin"


@contextmanager
def swift(folder: Path) -> Iterator[S3Server]:
    """Swift on the loopback interface with its data under `folder`."""
    programs = install()
    ports = {kind: free_port() for kind in (*_KINDS, "proxy")}
    data = folder / "data"
    (data / "d1").mkdir(parents=True)
    rings = [f"{folder / kind}={ports[kind]}" for kind in _KINDS]
    subprocess.run([str(programs / "python"), "-c", _MAKE_RINGS, *rings], check=True)
    (folder / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_prefix = a\nswift_hash_path_suffix = b\n\n"
        "[storage-policy:0]\nname = gold\npolicy_type = replication\ndefault = yes\n"
    )
    for kind, port in ports.items():
        (folder / f"{kind}.conf").write_text(_configuration(folder, data, kind, port))
    commands = [
        [str(programs / f"swift-{kind}-server"), str(folder / f"{kind}.conf")] for kind in ports
    ]
    with running(commands, lambda: all(map(accepts, ports.values())), folder):
        yield S3Server(f"http://127.0.0.1:{ports['proxy']}", "test:tester", "testing")


def _configuration(folder: Path, data: Path, kind: str, port: int) -> str:
    import getpass

    default = (
        f"[DEFAULT]\ndevices = {data}\nmount_check = false\nbind_ip = 127.0.0.1\n"
        f"bind_port = {port}\nworkers = 0\nuser = {getpass.getuser()}\nswift_dir = {folder}\n"
    )
    if kind != "proxy":
        return (
            f"{default}\n[pipeline:main]\npipeline = {kind}-server\n\n"
            f"[app:{kind}-server]\nuse = egg:swift#{kind}\n"
        )
    filters = "".join(
        f"\n[filter:{name}]\nuse = egg:swift#{_FILTERS.get(name, name)}\n{_OPTIONS.get(name, '')}"
        for name in _PIPELINE.split()
        if name != "proxy-server"
    )
    return (
        f"{default}\n[pipeline:main]\npipeline = {_PIPELINE}\n\n"
        f"[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n{filters}"
    )
