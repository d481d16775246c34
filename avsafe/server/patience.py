"""Connections that say nothing, or their headers drop by drop, are closed.

uvicorn waits for a request's headers without end, and each such connection holds a file of the
process until there are none left. Bodies have their own pace (``avsafe.server.uploads``).
"""

from __future__ import annotations

from asyncio import TimerHandle, Transport

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS_S = 20.0  # from the first byte that is awaited to the last header


class Impatient(H11Protocol):
    """uvicorn's protocol on h11 (which bounds headers to 64 kB), with an end to its waiting."""

    _waiting: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _watch(self) -> None:
        # A client that is idle for h11 has not sent all headers of its next request. Between two
        # requests uvicorn's own limit (5 s) comes first.
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(HEADERS_S, self._leave)

    def _stop(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _leave(self) -> None:
        self._waiting = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()
