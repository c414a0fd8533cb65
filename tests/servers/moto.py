"""moto as an S3 server: it has If-Match, and verifies neither signatures nor checksums."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers.s3 import S3Server


@contextmanager
def moto() -> Iterator[S3Server]:
    """moto on the loopback interface, answering one request after the other.

    With one thread a request moto looks at the condition and writes in two steps, which another
    request can come between; S3 itself takes them as one.
    """
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    class Quiet(MotoRequestHandler):
        def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002
            pass

    server = make_server(
        "127.0.0.1",
        0,
        DomainDispatcherApplication(create_backend_app),
        threaded=False,
        request_handler=Quiet,
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield S3Server(f"http://127.0.0.1:{server.server_port}", "key", "secret")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
