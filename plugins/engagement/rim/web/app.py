"""The application that Airflow's API server mounts under `/engagement`.

Every route names its right; what only looks is answered to whoever may read the DAGs. No script
runs in any page but the view's own, whatever text got into it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any

from airflow.api_fastapi.app import get_auth_manager
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import RedirectResponse
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException as StarletteHTTPException

from engagement import __version__
from engagement.rim.web import api, policies, view
from engagement.rim.web.guard import MAY_READ

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger(__name__)

HEADERS = {
    "Content-Security-Policy": policies.ANSWER,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}
"""On every answer; a route may set its own in their place."""


READ_AHEAD_SECONDS = 5.0
"""So long, at most, a start waits for what is read ahead."""
RENEW_SECONDS = 3600.0
"""So often the events are counted anew, whether somebody asks or not."""


class _SecurityHeaders:
    """Adds the headers to whatever is answered, errors and redirects included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, sending)


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Reads ahead what takes its time, so that the first to ask is answered at once, too.

    Airflow's pages and API wait for it, but only so long: then it goes on beside them.
    """
    threads = [
        Thread(target=_read_ahead, args=[warm], daemon=True) for warm in (view.warm, api.warm)
    ]
    for thread in threads:
        thread.start()
    deadline = monotonic() + READ_AHEAD_SECONDS
    for thread in threads:
        await run_in_threadpool(thread.join, max(0.0, deadline - monotonic()))
    stopped = Event()
    Thread(target=_count_anew, args=[stopped], daemon=True).start()
    yield
    stopped.set()


def _count_anew(stopped: Event) -> None:
    while not stopped.wait(RENEW_SECONDS):
        _read_ahead(api.renew)


def _read_ahead(warm: Callable[[], None]) -> None:
    """Whatever fails here fails again for whoever asks, who is told then."""
    try:
        warm()
    except Exception:
        log.exception("nothing was read ahead by %s.%s", warm.__module__, warm.__qualname__)


def create_app() -> FastAPI:
    """The application; it reads no setting and opens no connection before it is served."""
    app = FastAPI(
        title="Engagement",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=_lifespan,
    )
    app.add_middleware(_SecurityHeaders)
    app.add_exception_handler(StarletteHTTPException, _refused)
    app.include_router(view.router)
    app.include_router(api.router, prefix="/api")
    api.install_error_handlers(app)

    @app.get("/api/openapi.json", dependencies=[MAY_READ], include_in_schema=False)
    def description(request: Request) -> dict[str, Any]:
        return {**app.openapi(), "servers": [{"url": request.scope["root_path"]}]}

    return app


async def _refused(request: Request, error: Exception) -> Response:
    """A page for whoever looks at pages, JSON for every other client."""
    assert isinstance(error, HTTPException | StarletteHTTPException)  # noqa: S101  registered so
    if not view.wants_page(request):
        return await http_exception_handler(request, error)
    if error.status_code == HTTPStatus.UNAUTHORIZED:
        return RedirectResponse(get_auth_manager().get_url_login(next_url=str(request.url)), 307)
    return view.error_page(request, error.status_code, str(error.detail))
