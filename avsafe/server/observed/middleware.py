"""Each request: its id, its span, its line, its numbers. Plain ASGI, around everything else."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from avsafe.server.observed import context, events, metrics, traces

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger("avsafe.server")
_HEADER = "X-Request-Id"
_SILENT = ("/healthz", "/readyz", "/static")  # asked all day long


class Observed:
    """Answers with X-Request-Id, and tells route, status and seconds: never a path, a query, a
    header or an address."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = context.named(Headers(scope=scope).get(_HEADER, ""))
        began, status = time.monotonic(), 0

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                MutableHeaders(scope=message)[_HEADER] = request_id
            await send(message)

        method = metrics.method(scope["method"])
        with (
            context.held(context.request_id, request_id),
            traces.span(method, {"http.request.method": method}, kind="SERVER") as span,
        ):
            try:
                await self._app(scope, receive, sent)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                status = status or 500
                events.failed("request", error)
                raise
            finally:
                route, seconds = _route(scope), time.monotonic() - began
                if (numbers := metrics.now()) is not None:
                    numbers.requests.labels(method, route, _class(status)).inc()
                    numbers.request_seconds.labels(route).observe(seconds)
                if span is not None:
                    span.update_name(f"{method} {route}")
                    span.set_attributes({"http.route": route, "http.response.status_code": status})
                level = logging.DEBUG if route in _SILENT else logging.INFO
                _log.log(level, "request", extra={
                    "method": method, "route": route, "status": status,
                    "seconds": round(seconds, 3),
                })  # fmt: skip


def _route(scope: Scope) -> str:
    """The route as it is declared: the template, never what stands in its place."""
    route = scope.get("route")
    if route is None:
        return "none"
    return getattr(route, "path_format", "") or getattr(route, "path", "") or "none"


def _class(status: int) -> str:
    """
    >>> _class(204), _class(0)
    ('2xx', 'none')
    """
    return f"{status // 100}xx" if status else "none"
