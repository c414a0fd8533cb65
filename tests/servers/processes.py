"""Server processes that cannot outlive the tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_START_SECONDS = 60.0
_STOP_SECONDS = 10.0

# On Linux the kernel ends a server when the tests are killed and cannot do it themselves.
_LAUNCHER = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
os.execv(sys.argv[1], sys.argv[1:])
"""


def free_port() -> int:
    """A TCP port of the loopback interface that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    """Whether something listens on the port of the loopback interface."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def running(
    commands: Sequence[Sequence[str]],
    ready: Callable[[], bool],
    folder: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run `commands`, each in a process group of its own, once `ready`; then stop all of them.

    Their output goes to files in `folder`.
    """
    processes: list[subprocess.Popen[bytes]] = []
    logs = [
        folder / f"{number}-{Path(command[0]).name}.log" for number, command in enumerate(commands)
    ]
    try:
        for command, log in zip(commands, logs, strict=True):
            with log.open("wb") as output:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-c", _LAUNCHER, *command],
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        cwd=folder,
                        env=environment,
                        start_new_session=True,
                    )
                )
        deadline = time.monotonic() + _START_SECONDS
        while not ready():
            ended = [
                log
                for process, log in zip(processes, logs, strict=True)
                if process.poll() is not None
            ]
            if ended or time.monotonic() > deadline:
                what = "ended" if ended else "not ready in time"
                told = "\n".join(f"{log.name}: {log.read_text()[-2000:]}" for log in ended or logs)
                raise RuntimeError(f"servers {what}\n{told}")
            time.sleep(0.05)
        yield processes
    finally:
        stop(processes)


def stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End the processes and the groups they lead: asked first, killed if they do not."""
    for process in processes:
        _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
