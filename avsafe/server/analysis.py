"""Uploads are analysed a few at a time; the others wait in order, and are told how many are first.

An analysis runs ``avsafe.verify.verify`` in a thread: hostile bytes are decoded in its limited
process, never here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from avsafe.server.draining import Draining
from avsafe.server.observed import events, traces
from avsafe.server.settings import Settings
from avsafe.server.stills import stills
from avsafe.server.turns import Turns
from avsafe.server.uploads import BadUpload, Upload
from avsafe.types import Verdict
from avsafe.verify import verify
from avsafe.workspace import Lookup

if TYPE_CHECKING:
    from avsafe.media import Limits

_LOOK_S = 1.0  # between two looks at a waiting or running analysis


@dataclass(frozen=True)
class Step:
    """Where an analysis is: ``ahead`` uploads are before it, 0 when it runs; or its verdict, with
    stills of what detectors saw by source, where they were asked for."""

    ahead: int = 0
    verdict: Verdict | None = None
    stills: Mapping[str, bytes] = field(default_factory=dict)


class Analyses:
    """Of one process. ``full`` before an upload is read; ``follow`` afterwards."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turns = Turns(settings.home.root, settings.at_once)
        self._inside = 0
        self._line: list[object] = []  # who waits, first come first
        self.draining = Draining(settings.drain_s)

    @property
    def inside(self) -> int:
        """Uploads that are received, wait or are analysed."""
        return self._inside

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place for one upload, from before its body is read until it is answered.

        Raises BadUpload (503) when there is none.
        """
        if self.draining.begun:
            raise BadUpload(503, "busy", "The service is being restarted. Try again in a minute.")
        if self._inside >= self._settings.at_once + self._settings.waiting:
            raise BadUpload(503, "busy", "Too many files are waiting. Try again in a minute.")
        self._inside += 1
        try:
            with events.counted("uploads_inside"):
                yield
        finally:
            self._inside -= 1

    async def follow(
        self,
        upload: Upload,
        detectors: tuple[str, ...] | None = None,
        *,
        with_stills: bool = False,
    ) -> AsyncIterator[Step]:
        """Steps while it waits and runs, about one a second; the last one has the verdict."""
        me = object()
        self._line.append(me)
        try:
            with events.counted("uploads_waiting"):
                taking = asyncio.ensure_future(self._turns.take())
                try:
                    while not taking.done():
                        yield Step(ahead=self._line.index(me) + 1)
                        await asyncio.wait((taking,), timeout=_LOOK_S)
                    turn = taking.result()
                except BaseException:
                    if not taking.cancel() and taking.exception() is None:
                        Turns.give_back(taking.result())
                    raise
        finally:
            self._line.remove(me)
        asked = detectors or tuple(self._settings.detectors.split(","))
        lookup, limits = Lookup(self._settings.home), self._settings.limits

        def examine() -> Step:
            verdict = verify_upload(upload, lookup, asked, limits)
            return Step(
                verdict=verdict,
                stills=stills(verdict, upload.path, limits) if with_stills else {},
            )

        work = asyncio.ensure_future(asyncio.to_thread(examine))
        # A thread cannot be stopped: the turn is given back when it ends, whoever still listens.
        work.add_done_callback(lambda done: _ended(done, turn))
        while not work.done():
            yield Step()
            await asyncio.wait((work,), timeout=_LOOK_S)
        yield work.result()

    async def verdict(self, upload: Upload, detectors: tuple[str, ...] | None = None) -> Verdict:
        """The verdict on an upload."""
        async for step in self.follow(upload, detectors):
            if step.verdict is not None:
                return step.verdict
        raise AssertionError("an analysis ends with a verdict")


def _ended(work: asyncio.Future[Step], turn: int) -> None:
    Turns.give_back(turn)
    if not work.cancelled() and (error := work.exception()) is not None:
        events.failed("analysis", error)


def verify_upload(
    upload: Upload, lookup: Lookup, detectors: tuple[str, ...], limits: Limits
) -> Verdict:
    """Verify, in a thread of its own."""
    began = time.monotonic()
    with (
        events.counted("analyses_running"),
        traces.span("verify"),
        events.Stages("verify") as stages,
    ):
        found = verify(upload.path, lookup, detectors=detectors, limits=limits, progress=stages)
    events.verdict(found, time.monotonic() - began)
    return found
