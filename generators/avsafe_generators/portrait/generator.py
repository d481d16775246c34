"""The ``portrait`` generator: text -> an illustrated face of somebody who does not exist."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from avsafe.errors import Cancelled as Stopped
from avsafe.types import (
    Cancelled,
    Frame,
    GenerationRequest,
    GeneratorInfo,
    Kind,
    Progress,
    RawMedia,
    Task,
    never_cancelled,
    no_progress,
)
from avsafe_generators import asking

SIDE = 512
SIDES = (128, 1024)

INFO = GeneratorInfo(
    name="portrait",
    version="1",
    tasks=(Task.TEXT_TO_IMAGE,),
    kind=Kind.IMAGE,
    licence="Apache-2.0",
    commercial_ok=True,
    realism="stylised",
    max_duration_s=0.0,
    max_pixels=SIDES[1] ** 2,
    # IPTC: "created purely by an algorithm not based on any sampled training data"
    digital_source_type="http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicMedia",
    summary="Illustrated portraits of adults who do not exist, drawn by formulas from a closed "
    "vocabulary; no real person's face or photograph is behind them.",
    card="cards/portrait.md",
)


class Portrait:
    """Faces computed from surfaces, light and a seed: no weights, no photographs, no names.

    ``RawMedia.details``: ``caption`` (what is really shown), ``understood``, ``unused``,
    ``ignored`` and ``n_ignored`` words, ``landmarks`` (pixels x, y of ``left_eye``, ``right_eye``,
    ``nose``, ``mouth_left``, ``mouth_right``; left and right as in the picture) and ``parameters``
    (the whole person as plain data).

    Raises NotUnderstood when no word is known, UsageError when a child is asked for or a size is
    out of range.

    >>> from avsafe.types import GenerationRequest, Principal, Task
    >>> me = Principal("me")
    >>> request = GenerationRequest(me, Task.TEXT_TO_IMAGE, "portrait", "a woman with glasses")
    >>> Portrait().generate(request).details["parameters"]["glasses"]
    'round'
    """

    @property
    def info(self) -> GeneratorInfo:
        return INFO

    def generate(
        self,
        request: GenerationRequest,
        *,
        progress: Progress = no_progress,
        cancelled: Cancelled = never_cancelled,
    ) -> RawMedia:
        from avsafe_generators.portrait import describe, landmarks
        from avsafe_generators.portrait.person import cast
        from avsafe_generators.portrait.reading import read
        from avsafe_generators.portrait.trace import Camera, World

        asking.refuse_other_tasks(request, INFO)
        asking.parameters(request)
        width, height = asking.size(
            request, default=(SIDE, SIDE), low=SIDES[0], high=SIDES[1], max_pixels=SIDES[1] ** 2
        )
        progress(0.0, "plan")
        reading = read(request.prompt, request.negative_prompt)
        person = cast(reading.wish, request.seed % 2**63)
        points = landmarks.five(person, World(person), Camera(width, height))
        details: dict[str, Any] = {
            "caption": describe.caption(person),
            "understood": reading.understood,
            "unused": reading.unused,
            "ignored": reading.ignored,
            "n_ignored": reading.n_ignored,
            "landmarks": points,
            "parameters": describe.as_json(person),
        }
        return RawMedia(
            Kind.IMAGE,
            frames=_Picture(person, width, height, progress, cancelled),
            frame_count=1,
            width=width,
            height=height,
            details=details,
        )


class _Picture(Iterable[Frame]):
    """Draws the picture anew in every iteration."""

    def __init__(
        self, person: Any, width: int, height: int, progress: Progress, cancelled: Cancelled
    ) -> None:
        self._person, self._size = person, (width, height)
        self._progress, self._cancelled = progress, cancelled

    def __iter__(self) -> Iterator[Frame]:
        from avsafe_generators.portrait.render import picture

        def poll(share: float) -> None:
            if self._cancelled():
                raise Stopped(
                    "The portrait generator was asked to stop before the picture was done."
                )
            self._progress(share, "picture")

        poll(0.02)
        yield picture(self._person, *self._size, poll)
