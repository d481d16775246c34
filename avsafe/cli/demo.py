"""What ``avsafe demo`` shows: one released clip, and what becomes of it in the world."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from avsafe import gate, media, testing
from avsafe.cli.shell import console, progress_bar
from avsafe.errors import Denied, UsageError
from avsafe.home import Home
from avsafe.policy import local_principal
from avsafe.types import GenerationRequest, Label, Task, Verdict
from avsafe.verify import verify
from avsafe.workspace import Lookup, Workspace, open_workspace

PROMPT = "a red metal ball bouncing on grass and a blue glass cube, at sunset"
DENIED_PROMPT = "deepfake of the president announcing that the election is cancelled"


@dataclass(frozen=True)
class Step:
    """One row of the demo's table."""

    what: str
    file: str
    result: str
    why: str
    ok: bool  # the result is the one that the demo promises


def run(out: Path, *, show: bool) -> list[Step]:
    """Run the demo into ``out``; returns its steps, and prints them as a table when ``show``."""
    made_by_demo = (state := out / "state") / "made-by-avsafe-demo"
    if state.exists():
        if not made_by_demo.exists():
            raise UsageError(
                f"{state} is not the demo's own. Remove it, or choose another folder with --out."
            )
        shutil.rmtree(state)  # from an earlier run
    state.mkdir(parents=True, mode=0o700)
    made_by_demo.touch()
    home = Home(state.resolve())
    steps: list[Step] = []
    with open_workspace(home) as workspace, progress_bar("demo", show=show) as progress:
        lookup = Lookup(home)
        released = out / "1-released.mp4"
        released.unlink(missing_ok=True)
        request = _request(PROMPT)
        result = gate.generate(request, released, workspace, progress=progress)
        quality = next((f"{m.psnr_db:.1f} dB" for m in result.marks if m.psnr_db), "")
        steps.append(
            Step(
                "generate through the gate",
                released.name,
                "released",
                f"{result.details['caption']} | mark at PSNR {quality}, signed, logged",
                released.exists(),
            )
        )
        progress(0.4, "verify")
        steps.append(_verified("verify it", released, lookup, Label.SYNTHETIC_DECLARED))
        uploaded = out / "2-uploaded.mp4"
        _as_a_platform_would(released, uploaded)
        progress(0.6, "verify after an upload")
        steps.append(
            _verified("re-encoded, credential gone", uploaded, lookup, Label.SYNTHETIC_RECOVERED)
        )
        altered = out / "3-altered.mp4"
        testing.flip_media_byte(released, altered)
        progress(0.8, "verify after tampering")
        steps.append(_verified("one byte of picture changed", altered, lookup, Label.ALTERED))
        other = out / "4-unrelated.mp4"
        media.encode(testing.textured_clip(2.0, 320, 240), other)
        progress(0.9, "verify something else")
        steps.append(_verified("somebody else's clip", other, lookup, Label.INCONCLUSIVE))
        steps.append(_denied(out / "never.mp4", workspace))
        checked = workspace.ledger.verify()
        told = f"{checked.size} entries in order, signed by {checked.checkpoints} checkpoints"
        steps.append(Step("audit the ledger", "state/ledger.db", "verifies", told, checked.ok))
    if show:
        _print(steps, out)
    return steps


def _request(prompt: str) -> GenerationRequest:
    return GenerationRequest(
        principal=local_principal(),
        task=Task.TEXT_TO_VIDEO,
        generator="world",
        prompt=prompt,
        seed=7,
        duration_s=4.0,
    )


def _verified(what: str, path: Path, lookup: Lookup, expected: Label) -> Step:
    verdict = verify(path, lookup)
    return Step(what, path.name, verdict.label, _because(verdict), verdict.label is expected)


def _because(verdict: Verdict) -> str:
    """The evidence behind the label: the first one that found something, or the first of all."""
    telling = [e for e in verdict.evidence if e.status in {"present", "invalid", "failed"}]
    return (telling or list(verdict.evidence))[0].summary


def _denied(target: Path, workspace: Workspace) -> Step:
    try:
        gate.generate(_request(DENIED_PROMPT), target, workspace)
    except Denied as error:
        decision = error.decision
        why = f"{' '.join(decision.reasons)} ({', '.join(decision.rules)})"
        return Step("ask for a forged statement", "no file", "denied", why, not target.exists())
    return Step("ask for a forged statement", target.name, "released", "should be denied", False)


def _as_a_platform_would(source: Path, destination: Path) -> None:
    """Re-encode at CRF 28, as an upload does: the credential is lost on the way."""
    raw = media.decode(source, trusted=True)
    media.encode(raw, destination, media.EncodeSpec(crf=28))


def _print(steps: Iterable[Step], out: Path) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"avsafe demo: files in {out}/", title_justify="left", show_lines=True)
    table.add_column("step", overflow="fold", max_width=17)
    table.add_column("result", no_wrap=True)
    table.add_column("why", overflow="fold", min_width=34)  # the longest rule id fits
    for step in steps:
        colour = "green" if step.ok else "red"
        what = f"{escape(step.what)}\n[dim]{escape(step.file)}[/]"
        table.add_row(what, f"[{colour}]{step.result}[/]", escape(step.why))
    console().print(table)
    console().print(f"Try: AVSAFE_HOME={out}/state avsafe verify {out}/*.mp4")
