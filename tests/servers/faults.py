"""A proxy before an S3 server that fails in the ways networks and servers do."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer with an S3 error instead of asking the server.

    `around` is the element that the answer to a request for several things has around its errors.
    """

    status: int
    code: str
    around: str = ""


@dataclass(frozen=True, slots=True)
class Cut:
    """Break off both connections when half of the body has gone to the server."""


@dataclass(frozen=True, slots=True)
class CutAnswer:
    """Let the server do what is asked, then break off before its answer comes back."""


@dataclass(frozen=True, slots=True)
class Corrupt:
    """Change one byte of the body on its way."""


Fault = Answer | Cut | CutAnswer | Corrupt


@dataclass(frozen=True, slots=True)
class Request:
    """A request that came to the proxy."""

    method: str
    target: str
    headers: Mapping[str, str]


@dataclass(slots=True)
class _Planned:
    fault: Fault
    method: str
    part: str
    skip: int
    times: int


@dataclass(slots=True)
class Proxy:
    """The proxy as a test sees it: what to fail next, and what was asked."""

    endpoint: str
    requests: list[Request] = field(default_factory=list)
    _planned: list[_Planned] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(
        self, fault: Fault, method: str, part: str = "", *, skip: int = 0, times: int = 1_000_000
    ) -> None:
        """Let requests of `method` with `part` in the target fail, after `skip` that do not."""
        self._planned.append(_Planned(fault, method, part, skip, times))

    def heal(self) -> None:
        """Let nothing fail any more and forget what was asked."""
        self._planned.clear()
        self.requests.clear()

    def asked(self, method: str, part: str = "") -> list[Request]:
        """The requests of `method` with `part` in the target."""
        return [r for r in self.requests if r.method == method and part in r.target]

    def take(self, request: Request) -> Fault | None:
        """Note `request`, and how it is to fail."""
        with self._lock:
            self.requests.append(request)
            for planned in self._planned:
                if request.method != planned.method or planned.part not in request.target:
                    continue
                if planned.skip:
                    planned.skip -= 1
                elif planned.times:
                    planned.times -= 1
                    return planned.fault
            return None


@contextmanager
def proxy(upstream: str) -> Iterator[Proxy]:
    """A proxy on the loopback interface before the server at `upstream`."""

    class Handler(_Handler):
        server_address = urlsplit(upstream).netloc

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.proxy = Proxy(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield Handler.proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    proxy: Proxy
    server_address: str

    def handle_request(self) -> None:
        fault = self.proxy.take(Request(self.command, self.path, dict(self.headers)))
        # One request a connection: a client that breaks off leaves no thread waiting.
        self.close_connection = True
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        match fault:
            case Answer(status, code, around):
                error = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>"
                whole = f"<{around}>{error}</{around}>" if around else error
                self._answer(status, {"Content-Type": "application/xml"}, whole.encode())
            case Cut():
                self._ask(body[: len(body) // 2]).close()
                self._reset()
            case CutAnswer():
                upstream = self._ask(body)
                upstream.getresponse().read()
                upstream.close()
                self._reset()
            case _:
                if isinstance(fault, Corrupt):
                    body = bytes([body[0] ^ 1]) + body[1:]
                upstream = self._ask(body)
                response = upstream.getresponse()
                self._answer(response.status, dict(response.headers), response.read())
                upstream.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_request  # noqa: N815

    def _ask(self, body: bytes) -> http.client.HTTPConnection:
        upstream = http.client.HTTPConnection(self.server_address, timeout=20)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in {"expect", "connection"}:
                upstream.putheader(name, value)
        upstream.putheader("Connection", "close")
        upstream.endheaders(body or None)
        return upstream

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in {"connection", "content-length", "transfer-encoding"}:
                self.send_header(name, value)
        length = headers.get("Content-Length") if self.command == "HEAD" else str(len(body))
        self.send_header("Content-Length", length or "0")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass
