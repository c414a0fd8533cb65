"""moto as an S3 server: it has If-Match, and verifies neither signatures nor checksums."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.servers.s3 import S3Server

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


_PRECONDITION_FAILED = b"<Error><Code>PreconditionFailed</Code><Message>If-Match</Message></Error>"


def _with_if_match_on_complete(app: WSGIApplication) -> WSGIApplication:
    """The application with If-Match on CompleteMultipartUpload, where moto ignores it."""
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    def checked(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        expected = environ.get("HTTP_IF_MATCH")
        if expected and environ["REQUEST_METHOD"] == "POST":
            _, bucket, key = environ["PATH_INFO"].split("/", 2)
            found = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].get_object(bucket, key)
            if found is None or found.etag != expected:
                environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
                start_response("412 Precondition Failed", [("Content-Type", "application/xml")])
                return [_PRECONDITION_FAILED]
        return app(environ, start_response)

    return checked


@contextmanager
def moto() -> Iterator[S3Server]:
    """moto on the loopback interface, answering one request after the other.

    With a thread for each request, another one could come between moto's look at a condition and
    its write, which S3 takes as one step.
    """
    from moto.moto_server.werkzeug_app import (
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
        _with_if_match_on_complete(create_backend_app("s3")),
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
