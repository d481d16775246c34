"""The published runs of every suite: on our own generators, and on clips of others (figures only).

    python benchmarks/suites.py [--media DIR] [--work build/suites] [--out reports/suites]
                                [--only NAME,...] [--jobs 2] [--index]

Runs go on where they stopped (``--work`` keeps clips, rows and features); what is published is the
page, the figures and the rows. ``--media`` is a folder with ``real_general``, ``real_talking`` and
``synthetic_*``; without it those runs are left as they are. ``--index`` only writes README.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PUBLISHED = ("report.html", "aggregates.json", "aggregates.csv", "run.json", "sets.json",
             "scores.jsonl", "scores.csv")  # fmt: skip
EMBED_MB = "1.5"  # of our own clips in a page
AVSAFE = str(Path(sys.executable).with_name("avsafe"))


@dataclass(frozen=True)
class Run:
    """One run: a suite and the words of its command. ``{media}`` stands for the folder of clips."""

    name: str
    suite: str
    words: tuple[str, ...]
    about: str

    @property
    def needs_media(self) -> bool:
        return any("{media}" in word for word in self.words)


RUNS = (
    Run("t2v", "t2v",
        ("--generator", "world", "--generator", "two-stage", "--limit", "16", "--seconds", "4",
         "--reference", "{media}/real_general"),
        "16 of 47 prompts, two generators of ours; the set distance is to real scenes"),
    Run("i2v", "i2v", ("--generator", "photo-motion"), "24 prompts over 8 pictures of ours"),
    Run("v2a", "v2a", ("--generator", "foley"),
        "16 silent clips of the world; the reference is the world's own sound"),
    Run("talking-head", "talking-head", ("--generator", "talking-head"),
        "4 people who do not exist, 3 lines each"),
    Run("edit", "edit", ("--generator", "edit", "--limit", "20"), "20 of 34 instructions"),
    Run("watermark", "watermark", ("--generator", "world"),
        "10 clips; what attacks do to marks is in reports/watermark"),
    Run("media-t2v", "t2v",
        ("--videos", "real={media}/real_general", "--videos", "lumiere={media}/synthetic_lumiere",
         "--videos", "other={media}/synthetic_other", "--no-safety", "--seconds", "3",
         "--limit", "14", "--reference", "{media}/real_general"),
        "14 clips each: real scenes, Lumiere, and CogVideoX, LaVie and Sora; figures only"),
    Run("media-talking", "talking-head",
        ("--videos", "real={media}/real_talking", "--videos", "loopy={media}/synthetic_loopy",
         "--videos", "omnihuman={media}/synthetic_talking", "--no-safety", "--seconds", "10"),
        "real people, Loopy and OmniHuman, the first 10 s; figures only"),
    Run("media-v2a", "v2a",
        ("--videos", "real={media}/real_general", "--no-safety", "--seconds", "10",
         "--limit", "14"),
        "14 real scenes with their own sound; figures only"),
)  # fmt: skip


def measure(run: Run, media: str | None, work: Path, out: Path, jobs: int) -> None:
    words = [word.format(media=media) for word in run.words]
    folder = work / run.name
    command = [AVSAFE, "bench", "run", run.suite, *words]
    subprocess.run([*command, "--out", str(folder), "--jobs", str(jobs)], check=True)
    publish(run, folder, out)


def publish(run: Run, folder: Path, out: Path) -> None:
    subprocess.run([AVSAFE, "bench", "report", str(folder), "--embed-mb", EMBED_MB], check=True)
    target = out / run.name
    target.mkdir(parents=True, exist_ok=True)
    for name in PUBLISHED:
        shutil.copyfile(folder / name, target / name)


GATED = (("t2v", "world"), ("talking-head", "talking-head"), ("i2v", "photo-motion"))


def gating(work: Path, out: Path) -> None:
    """What gating cost, on clips of the runs: out/gating.json."""
    found = []
    for name, generator in GATED:
        command = [AVSAFE, "bench", "gating", name, "--generator", generator, "--most", "8"]
        said = subprocess.run(
            [*command, "--out", str(work / name), "--json"], check=True, stdout=subprocess.PIPE
        )
        found.append(json.loads(said.stdout))
    (out / "gating.json").write_text(json.dumps(found, indent=1) + "\n")


def gated(out: Path) -> list[str]:
    path = out / "gating.json"
    if not path.exists():
        return []
    lines = [
        "## What gating cost", "",
        "Releases against the same clips, coded alike, without marks (`avsafe bench gating`).", "",
        "| suite | generator | score | without marks | released | cost | n |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for one in json.loads(path.read_text()):
        for name, price in one["scores"].items():
            if price["n"]:
                lines.append(
                    f"| {one['suite']} | {one['generator']} | `{name}` | {price['unmarked']:.4g} | "
                    f"{price['released']:.4g} | {price['cost']:.3g} | {price['n']} of "
                    f"{one['n_expected']} |"
                )
        if one["labelled"]:
            lines.append(f"| | | {one['labelled']} of them with a visible label | | | | |")
    return [*lines, ""]


# ---------------------------------------------------------------- index


def index(out: Path) -> str:
    lines = [
        "# Published runs of the suites", "",
        "Made by `python benchmarks/suites.py --media DIR`; each folder has the page, the figures "
        "and the rows. Mean over clips with its 95 % interval for new prompts or people "
        "(clustered), n scored of n expected. Pictures and sound of others are not published.", "",
    ]  # fmt: skip
    for run in RUNS:
        path = out / run.name / "aggregates.json"
        if path.exists():
            found = json.loads((out / run.name / "run.json").read_text())
            lines += section(run, json.loads(path.read_text()), found)
    return "\n".join([*lines, *gated(out)])


def section(run: Run, figures: dict[str, Any], made: dict[str, Any]) -> list[str]:
    systems = list(figures["systems"])
    scores = [
        name for name in made["headline"]
        if any(figures["systems"][s].get(name, {}).get("value") is not None for s in systems)
    ]  # fmt: skip
    lines = [f"## [{run.name}]({run.name}/report.html)", "", f"{run.about}.", ""]
    lines += [
        "| | clips scored | " + " | ".join(named(name, figures) for name in scores) + " |",
        "|---" * (2 + len(scores)) + "|",
    ]
    for system in systems:
        cells = [cell(figures["systems"][system].get(name)) for name in scores]
        lines.append(f"| {system} | {counted(figures, system)} | {' | '.join(cells)} |")
    missing = sorted(name for name, m in made["metrics"].items() if m["not_computed"])
    if missing:
        lines += ["", f"Not computed, for want of weights: {', '.join(missing)}."]
    return [*lines, ""]


def named(score: str, figures: dict[str, Any]) -> str:
    info = figures["scores"][score]
    arrow = {"higher": " ↑", "lower": " ↓"}.get(info["better"], "")
    unit = f", {info['unit']}" if info["unit"] else ""
    return f"`{score}`{unit}{arrow}"


def cell(figure: dict[str, Any] | None) -> str:
    if figure is None or figure.get("value") is None:
        return "–"
    ends = ""
    if figure.get("low") is not None:
        ends = f" [{figure['low']:.3g}, {figure['high']:.3g}]"
    return f"{figure['value']:.4g}{ends}, n {figure['n_scored']} of {figure['n_expected']}"


def counted(figures: dict[str, Any], system: str) -> str:
    found = [f for f in figures["systems"][system].values() if f.get("n_expected")]
    most = max((f["n_scored"] for f in found), default=0)
    return f"{most} of {max((f['n_expected'] for f in found), default=0)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--media")
    parser.add_argument("--work", type=Path, default=Path("build/suites"))
    parser.add_argument("--out", type=Path, default=Path("reports/suites"))
    parser.add_argument("--only", default="")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--index", action="store_true")
    given = parser.parse_args()
    only = {name for name in given.only.split(",") if name}
    for run in RUNS:
        if given.index or (only and run.name not in only):
            continue
        if run.needs_media and given.media is None:
            print(f"{run.name}: left as it is (no --media)", file=sys.stderr)
            continue
        measure(run, given.media, given.work, given.out, given.jobs)
    given.out.mkdir(parents=True, exist_ok=True)
    if not given.index and (not only or "gating" in only):
        gating(given.work, given.out)
    (given.out / "README.md").write_text(index(given.out), encoding="utf-8")


if __name__ == "__main__":
    main()
