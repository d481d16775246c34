"""SIGTERM in a server process: no new upload, not ready; what runs is finished."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from types import FrameType

_log = logging.getLogger(__name__)


class Draining:
    """``begun`` from the signal on. The server below closes its port ``drain_s`` later, so that a
    balancer that asks /readyz sees it first; a second signal closes it at once."""

    def __init__(self, drain_s: float) -> None:
        self.begun = False
        self._drain_s = drain_s

    def install(self) -> None:
        """In the main thread, after the server has set its own handler; elsewhere nothing."""
        if threading.current_thread() is not threading.main_thread():
            return
        close = signal.getsignal(signal.SIGTERM)
        if not callable(close):
            return
        loop = asyncio.get_running_loop()

        def begin(number: int, frame: FrameType | None) -> None:
            wait_s = 0.0 if self.begun else self._drain_s
            self.begun = True
            loop.call_soon_threadsafe(loop.call_later, wait_s, close, number, None)

        signal.signal(signal.SIGTERM, begin)
