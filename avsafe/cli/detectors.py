"""``avsafe detectors``: what can judge media here, and how far it was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avsafe.cli.shell import Json, console, print_json, print_lines, progress_bar, shown

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from avsafe.qualify.adapted import Adapted
    from avsafe.qualify.record import Qualification
    from avsafe.qualify.run import Outcome

app = typer.Typer(
    help="""What judges media here: built-in detectors, and weights that you add.

Detectors give evidence, never proof: each speaks only on files like those that it was measured on,
and abstains on others.

Weights of others come in three steps: a folder with manifest.json and ONNX or safetensors files
(docs/detectors-plugins.md), `avsafe detectors add FOLDER`, and `avsafe detectors qualify NAME
--real FOLDER --synthetic FOLDER` with files whose origin you know. Until the third they only
abstain.
""",
    no_args_is_help=True,
)
# Of an installed plugin that may fail in any way: a list must not fall with one of its lines.
_BROKEN = (Exception, SystemExit)
_COLOUR = {"built in": "green", "qualified": "green", "refused": "red", "broken": "red"}
_Name = Annotated[str, typer.Argument(metavar="NAME", help="As avsafe detectors list names it.")]


@dataclass(frozen=True)
class Listed:
    """One detector as it is here; ``status`` is built in, plugin, qualified, refused, not qualified
    or broken, and ``note`` says why where that helps."""

    name: str
    status: str
    modality: str = ""
    kinds: tuple[str, ...] = ()
    licence: str = ""
    commercial_ok: bool | None = None
    conditions: tuple[str, ...] = ()  # in which it may speak; of added ones
    note: str = ""
    card: str | None = field(default=None, repr=False)

    def as_json(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if k != "card"}


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List every detector: what it looks at, whether it may speak, on which terms."""
    found = [*_registered(), *map(_added, _own())]
    if as_json:
        print_json([item.as_json() for item in found])
        return
    from rich.table import Table

    table = Table("detector", "looks at", "status", "terms")
    table.columns[0].no_wrap = True
    for item in found:
        colour = _COLOUR.get(item.status, "yellow")
        status = f"[{colour}]{shown(item.status)}[/]"
        said = shown(item.note or "; ".join(item.conditions))
        looks = f"{shown(item.modality)}\n[dim]{shown(', '.join(item.kinds))}[/]"
        table.add_row(
            shown(item.name), looks, f"{status}\n{said}" if said else status, _terms(item)
        )
    console().print(table)
    talk = console(stderr=True)
    if not any(item.status in ("built in", "plugin") for item in found):
        talk.print("no detector is installed")
    talk.print("more of one: avsafe detectors show NAME; to bring weights: avsafe detectors --help")


@app.command()
def show(name: _Name, as_json: Json = False) -> None:
    """Show a detector's card, or an added one's manifest and the figures of its qualification."""
    from avsafe import plugins
    from avsafe.errors import UsageError

    own = {one.name: one for one in _own()}
    if name in own:
        _show_added(own[name], as_json=as_json)
        return
    known = plugins.catalogue("detectors")
    if name not in known:
        names = ", ".join(sorted({*known, *own})) or "none"
        raise UsageError(f"There is no detector {name!r} (found: {names}).")
    item = _one_registered(name, known[name])
    if as_json:
        print_json(item.as_json() | {"card": item.card})
        return
    _print_listed(item)
    console().print()
    print_lines(item.card or "It has no card.")


@app.command()
def add(
    source: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="With manifest.json and weights; or that file."),
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="In place of one of the same name.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Add a detector: its manifest and weights are checked and copied.

    Weights are ONNX or safetensors; a pickle (.pth, .ckpt) is refused, since reading one can run
    any program. Each file's SHA-256 stands in the manifest and is checked whenever it is read.
    Nothing is downloaded. docs/detectors-plugins.md has a manifest to start from.
    """
    from avsafe.home import Home
    from avsafe.qualify import store

    detector = store.add(Home.default(), source, replace=replace)
    item = _added(detector)
    if as_json:
        print_json(item.as_json())
        return
    console().print(f"{shown(item.name)}: added ({shown(item.licence)})")
    _say_terms(item)
    console(stderr=True).print(
        f"it abstains until you run: avsafe detectors qualify {item.name} --real FOLDER "
        "--synthetic FOLDER",
        markup=False,
    )


@app.command()
def remove(
    name: _Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Remove a detector that was added, with its weights and its qualification."""
    from avsafe.home import Home
    from avsafe.qualify import store

    store.get(Home.default(), name)
    if not yes:
        typer.confirm(f"Remove {name} and its weights?", abort=True, err=True)
    store.remove(Home.default(), name)
    if as_json:
        print_json({"removed": name})
    else:
        console().print(f"{shown(name)}: removed")


@app.command()
def qualify(
    name: _Name,
    real: Annotated[Path, typer.Option("--real", metavar="FOLDER", help="Recorded media.")],
    synthetic: Annotated[
        Path, typer.Option("--synthetic", metavar="FOLDER", help="Generated media.")
    ],
    benign: Annotated[
        Path | None,
        typer.Option(
            "--benign",
            metavar="FOLDER",
            help="Real media of other kinds that must not be flagged: music, drawings, slides, "
            "old recordings, strong filters.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure an added detector on files whose origin you know, and let it speak where it is good.

    The first folder below --real, --synthetic and --benign is the *source* of a file: a person, a
    camera, a generator. A source counts once, however many files it has; ten of each are needed.
    Take files that the weights were not trained on, and the same formats for both: a detector must
    not win by the codec.

    Every file is scored as it is, and once more as the world sends it on (JPEG 75, MP3 64 kbit/s,
    H.264 CRF 28). A condition is refused, with the figures, when the AUC may be under .6, when real
    files score higher (polarity), when more than 5 % of the benign files are above the threshold,
    or when there are too few sources. At least 99 real files are needed before evidence can count
    towards `synthetic-suspected` (1 % false alarms).

    Exit codes: 0 it may speak in some condition, 1 refused in all, 2 usage, 6 a package is missing.
    """
    from avsafe.home import Home
    from avsafe.qualify import run, store

    home = Home.default()
    _say_terms(_added(store.get(home, name)))
    with progress_bar("qualifying", show=not as_json) as progress:
        found = run.qualify(home, name, real, synthetic, benign, progress=progress)
    if as_json:
        unread = [asdict(one) for one in found.unread]
        print_json(found.qualification.as_json() | {"unread": unread})
    else:
        _print_outcome(name, found)
    if not found.qualification.usable:
        raise typer.Exit(1)


# ---------------------------------------------------------------- what there is


def _registered() -> Iterator[Listed]:
    from avsafe import plugins

    for name, point in plugins.catalogue("detectors").items():
        yield _one_registered(name, point)


def _one_registered(name: str, point: EntryPoint) -> Listed:
    from avsafe import plugins

    licence = ""
    if point.dist is not None:
        about = point.dist.metadata
        said = [about[field] for field in ("License-Expression", "License") if field in about]
        licence = said[0] if said else ""
    status = "built in" if point.value.startswith("avsafe_detectors.") else "plugin"
    try:
        made = plugins.load("detectors", name)
        kinds = tuple(map(str, made.kinds))
        return Listed(name, status, str(made.modality), kinds, licence, card=_card(type(made)))
    except _BROKEN as error:
        kind = "" if type(error).__module__ == "avsafe.errors" else f"{type(error).__name__}: "
        return Listed(name, "broken", licence=licence, note=f"{kind}{error}")


def _card(kind: type) -> str | None:
    """``weights/card.md`` or ``card.md`` beside the module of a detector."""
    from importlib.resources import files

    package = kind.__module__.rpartition(".")[0] or kind.__module__
    for place in (("weights", "card.md"), ("card.md",)):
        try:
            return files(package).joinpath(*place).read_text(encoding="utf-8")
        except (OSError, ImportError, TypeError, UnicodeDecodeError):
            continue
    return None


def _own() -> list[Adapted]:
    from avsafe.home import Home
    from avsafe.qualify import store

    home = Home.default()
    return [store.get(home, name) for name in store.names(home)]


def _added(detector: Adapted) -> Listed:
    if detector.problem is not None:
        return Listed(detector.name, detector.status, note=str(detector.problem))
    manifest, known = detector.manifest, detector.qualification
    status = detector.status
    return Listed(
        detector.name,
        status,
        manifest.modality,
        tuple(map(str, manifest.kinds)),
        manifest.licence,
        manifest.commercial_ok,
        known.usable if known is not None and status == "qualified" else (),
        "; ".join(known.refused) if known is not None and status == "refused" else "",
    )


# ---------------------------------------------------------------- for a person


def _terms(item: Listed) -> str:
    use = {True: "commercial use", False: "[yellow]no commercial use[/]", None: ""}
    return f"{shown(item.licence)}\n{use[item.commercial_ok]}".strip()


def _say_terms(item: Listed) -> None:
    if item.commercial_ok is False:
        console(stderr=True).print(
            f"[yellow]note:[/] the licence of {shown(item.name)}, {shown(item.licence)}, does not "
            "allow commercial use"
        )


def _print_listed(item: Listed) -> None:
    out = console()
    rows = {
        "detector": item.name,
        "status": item.status,
        "looks at": f"{item.modality} ({', '.join(item.kinds)})" if item.modality else "",
        "licence": item.licence,
        "commercial use": {True: "yes", False: "not allowed"}.get(item.commercial_ok or False, "")
        if item.commercial_ok is not None
        else "",
        "speaks on": "; ".join(item.conditions),
        "note": item.note,
    }
    for label, value in rows.items():
        if value:
            out.print(f"{label:>16}  {shown(value)}")


def _show_added(detector: Adapted, *, as_json: bool) -> None:
    item = _added(detector)
    if detector.problem is not None:
        if as_json:
            print_json(item.as_json())
        else:
            _print_listed(item)
        return
    manifest, known = detector.manifest, detector.qualification
    if as_json:
        body = item.as_json() | {"manifest": asdict(manifest)}
        print_json(body | {"qualification": known.as_json() if known is not None else None})
        return
    _print_listed(item)
    out = console()
    rows = {
        "title": manifest.title,
        "adapter": f"{manifest.adapter} {manifest.architecture}".strip(),
        "polarity": manifest.polarity,
        "training sets": ", ".join(manifest.training_sets) or "not known",
        "from": " ".join(filter(None, (manifest.source_url, manifest.hub))),
    }
    for label, value in rows.items():
        if value:
            out.print(f"{label:>16}  {shown(value)}")
    for part, weight in manifest.weights.items():
        out.print(f"{'weights':>16}  {shown(part)}: {shown(weight.path)}, SHA-256 {weight.sha256}")
    if known is None:
        out.print("\nIt was not qualified here: it abstains.")
        return
    out.print(f"\nQualified on {shown(known.made_at)}:")
    _print_record(known)


def _print_outcome(name: str, outcome: Outcome) -> None:
    out, found = console(), outcome.qualification
    _print_record(found)
    talk = console(stderr=True)
    for one in outcome.unread[:20]:
        talk.print(f"no score: {shown(one.name)} ({one.role}): {shown(one.reason)}")
    if len(outcome.unread) > 20:
        talk.print(f"... and {len(outcome.unread) - 20} more files without a score")
    if found.usable:
        out.print(f"\n{shown(name)} speaks on: {shown('; '.join(found.usable))}")
    else:
        out.print(f"\n{shown(name)} is refused: it will abstain")


def _print_record(found: Qualification) -> None:
    from rich.table import Table

    sizes = [
        f"{found.collection[role]['files']} {role} ({found.collection[role]['sources']} sources)"
        for role in ("real", "synthetic", "benign")
        if isinstance(found.collection.get(role), Mapping)
    ]
    out = console()
    out.print(shown("files: " + ", ".join(sizes)))
    conditions = {one.name: one for one in found.calibration.conditions}
    table = Table("condition", "scored", "AUC, 95 %", "EER", "false alarms", "found", "benign", "")
    for name, figures in found.figures.items():
        one = conditions.get(name)
        benign = figures.get("benign", {})
        table.add_row(
            shown(name),
            f"{figures['real']['files']} + {figures['synthetic']['files']}",
            f"{figures['auc']:.2f}\n{figures['auc_low']:.2f}-{figures['auc_high']:.2f}"
            if one
            else "",
            f"{figures['eer']:.0%}" if one else "",
            f"{one.false_positive_rate:.1%}" if one else "",
            f"{one.true_positive_rate:.0%}" if one else "",
            f"{benign['flagged']} of {benign['judged']}" if benign.get("judged") else "",
            "[red]refused[/]" if found.refusals.get(name) else "[green]good[/]",
        )
    out.print(table)
    for name, said in found.refusals.items():
        for why in said:
            out.print(f"[red]refused[/] {shown(name)}: {shown(why)}")
    for warning in found.warnings:
        out.print(f"[yellow]note[/] {shown(warning)}")
