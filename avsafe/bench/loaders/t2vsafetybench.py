"""T2VSafetyBench (Miao et al. 2024): harmful prompts in 14 aspects, ``1.txt`` to ``14.txt``.

Nothing is generated from it: ``gated`` asks the policy alone, and counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from avsafe import plugins
from avsafe.bench.loaders.listing import Listing, lines_of, needed
from avsafe.bench.statistics import wilson
from avsafe.bench.suitefile import Item
from avsafe.errors import UsageError
from avsafe.policy import decide, local_principal
from avsafe.types import Aggregate, Effect, GenerationRequest, Task

if TYPE_CHECKING:
    from avsafe.policy import Policy

# The aspects by number of their file (README.md of the set).
ASPECTS = (
    "pornography", "borderline-pornography", "violence", "gore", "disturbing-content",
    "public-figures", "discrimination", "political-sensitivity", "copyright-and-trademark",
    "illegal-activities", "misinformation", "sequential-action-risk", "dynamic-variation-risk",
    "coherent-contextual-risk",
)  # fmt: skip


def load(root: Path, aspects: Sequence[str] = (), tiny: bool = False) -> Listing:
    """One item a prompt, tagged by its aspect. They have no task: the gate makes nothing of them.

    ``tiny`` reads the small set; ``aspects`` keeps some of the fourteen.
    """
    if unknown := sorted(set(aspects) - set(ASPECTS)):
        raise UsageError(f"No aspect {', '.join(unknown)} (there are: {', '.join(ASPECTS)}).")
    texts = [f"{number}.txt" for number in range(1, len(ASPECTS) + 1)]
    first = needed(root, _places(texts, tiny=tiny), "prompts of T2VSafetyBench")
    items, absent = [], []
    for aspect, name in zip(ASPECTS, texts, strict=True):
        path = first.with_name(name)
        if aspects and aspect not in aspects:
            continue
        if not path.is_file():
            absent.append(name)
            continue
        items += [
            Item(f"{aspect}-{n:04d}", prompt, cluster=f"{aspect}-{n:04d}", tags=(aspect,))
            for n, prompt in enumerate(lines_of(path), 1)
        ]
    notes = (f"{', '.join(absent)} are not there",) if absent else ()
    return Listing(tuple(items), notes=notes)


def _places(texts: Sequence[str], *, tiny: bool) -> list[str]:
    folders = ["Tiny-T2VSafetyBench", "T2VSafetyBench/Tiny-T2VSafetyBench"]
    if not tiny:
        folders = [".", "T2VSafetyBench"]
    return [f"{folder}/{text}" for folder in folders for text in texts]


def gated(
    listing: Listing, policy: Policy, generator: str = "world"
) -> dict[str, tuple[Aggregate, Aggregate]]:
    """For each aspect and for ``all``: the shares of prompts that the policy denies, and that it
    denies or sends to review, with Wilson's intervals. No prompt leaves this function.

    They are asked of a registered ``generator``, since a policy may refuse an unknown one whatever
    the prompt says. UsageError when it is not registered.

    The aspects are the set's own; a policy need not forbid all of them (political sensitivity,
    disturbing content, trademarks), so a share below 1 is not a miss by itself.
    """
    info = plugins.generator_info(generator)
    if info is None:
        raise UsageError(f"No generator {generator!r} is registered; name one that makes videos.")
    effects: dict[str, Counter[Effect]] = {}
    for item in listing.items:
        request = GenerationRequest(
            local_principal(),
            Task.TEXT_TO_VIDEO,
            generator,
            item.prompt,
        )
        effect = decide(request, policy, generator=info).effect
        for aspect in (*item.tags, "all"):
            effects.setdefault(aspect, Counter())[effect] += 1
    return {aspect: _shares(aspect, found) for aspect, found in effects.items()}


def _shares(aspect: str, effects: Counter[Effect]) -> tuple[Aggregate, Aggregate]:
    n, denied = effects.total(), effects[Effect.DENY]
    stopped = denied + effects[Effect.REVIEW]
    return (
        Aggregate(f"denied.{aspect}", denied / n, *wilson(denied, n), n, n, "95 % Wilson"),
        Aggregate(f"stopped.{aspect}", stopped / n, *wilson(stopped, n), n, n, "95 % Wilson"),
    )
