"""``avsafe registry``: what was released from this installation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avsafe.cli.shell import Json, console, print_json

if TYPE_CHECKING:
    from avsafe.registry import Registry, ReleaseRecord
    from avsafe.types import Mark

app = typer.Typer(
    help="What was released from this installation: releases, marks, fingerprints.",
    no_args_is_help=True,
)
_Id = Annotated[str, typer.Argument(metavar="ID", help="A release id; its first letters will do.")]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 50,
    offset: Annotated[int, typer.Option(min=0, help="How many of the newest to pass over.")] = 0,
    as_json: Json = False,
) -> None:
    """List releases, the newest first."""
    with _open() as registry:
        records = registry.list(limit=limit, offset=offset)
        total = registry.count()
    if as_json:
        print_json([_plain(record) for record in records])
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table("release", "released (UTC)", "task", "generator", "marks", "state")
    table.columns[0].no_wrap = table.columns[2].no_wrap = True
    for record in records:
        table.add_row(
            record.release_id[:8],
            f"{record.created_at:%Y-%m-%d %H:%M}",
            record.task,
            escape(record.generator),
            ", ".join(mark.modality for mark in record.marks),
            record.state,
        )
    console().print(table)
    console(stderr=True).print(f"{len(records)} of {total} releases")


@app.command()
def show(release_id: _Id, as_json: Json = False) -> None:
    """Show everything that is kept of one release."""
    with _open() as registry:
        record = registry.resolve(release_id)
    if as_json:
        print_json(_plain(record))
    else:
        _print(record)


@app.command()
def find(
    file: Annotated[
        Path, typer.Argument(help="Any media file.", exists=True, dir_okay=False, readable=True)
    ],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many matches.")] = 5,
    as_json: Json = False,
) -> None:
    """Find the releases that a file is, or looks or sounds like.

    First by the file's hash, then by fingerprint, which survives re-encoding, scaling and
    trimming. A likeness alone does not make a file a release: its unmarked source looks the same.
    """
    from avsafe import media
    from avsafe.registry import fingerprint

    with _open() as registry:
        same = registry.by_sha256(media.sha256_of(file))
        extractor = {"fingerprint": "avsafe.registry.fingerprint:FingerprintExtractor"}
        features = media.analyse(file, extractor)["fingerprint"]
        matches = registry.nearest(fingerprint.from_features(features), limit=limit)
    found = [
        {
            "release_id": match.release_id,
            "same_file": same is not None and same.release_id == match.release_id,
            "similarity": round(match.similarity, 4),
            "reason": match.reason,
        }
        for match in matches
    ]
    if same is not None and not any(item["same_file"] for item in found):
        found.insert(
            0,
            {
                "release_id": same.release_id,
                "same_file": True,
                "similarity": 1.0,
                "reason": "the file's hash is registered",
            },
        )
    if as_json:
        print_json(found)
        return
    if not found:
        console().print("It looks and sounds like nothing that was released here.")
    for item in found:
        same_file = " (this very file)" if item["same_file"] else ""
        console().print(f"{item['release_id']}{same_file}: {item['reason']}", markup=False)


@app.command()
def forget(
    release_id: _Id,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Erase what points to a person in a release: user, purpose, prompt hash, risk scores, salt.

    The ledger stays whole: it holds salted hashes only, and their salt is erased here. The mark,
    the manifest and the fingerprint stay, so the media is still recognised as released here.
    """
    with _open() as registry:
        record = registry.resolve(release_id)
        if not yes:
            typer.confirm(
                f"Erase the personal fields of {record.release_id}?", abort=True, err=True
            )
        registry.forget(record.release_id)
        record = registry.resolve(record.release_id)
    if as_json:
        print_json({"release_id": record.release_id, "forgotten_at": record.forgotten_at})
    else:
        console().print(f"{record.release_id}: personal fields erased")


@app.command()
def index(
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Leave what there is, and write all anew.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the index by which a likeness is found among very many releases in milliseconds.

    Needs FAISS: pip install 'avsafe[index]'. Worth it from some thousand releases on; workers of
    the service then keep it up to date. It is a cache in index/ of the state folder: releases that
    it does not know yet are read from the database, and it may be deleted at any time.
    """
    with _open() as registry:
        known = registry.index
        assert known is not None  # noqa: S101 - _open gives its folder
        written = known.update(registry.database, rebuild=rebuild)
        counts = known.counts()
    if as_json:
        print_json({"written": written} | counts)
        return
    out = console()
    out.print("Written." if written else "Nothing to do: it knows every release.")
    for name, value in counts.items():
        out.print(f"{name:>22}  {value:,}")


@contextmanager
def _open() -> Iterator[Registry]:
    from avsafe.errors import RegistryError
    from avsafe.home import Home
    from avsafe.registry import Registry

    home = Home.default()
    if not Registry.exists(home.database):
        raise RegistryError(f"There is no registry in {home.root} yet: release something first.")
    with Registry.open(home.database, index=home.index) as registry:
        yield registry


def _plain(record: ReleaseRecord) -> dict[str, Any]:
    """Without bulk, and without the salt: whoever reads a listing needs neither."""
    fields = {k: v for k, v in vars(record).items() if k not in ("manifest", "fingerprint", "salt")}
    fields["marks"] = [vars(mark) | {"payload": _number(mark)} for mark in record.marks]
    fields["manifest_bytes"] = len(record.manifest)
    fingerprint = record.fingerprint
    fields["fingerprint"] = fingerprint and {
        "frames": fingerprint.n_frames,
        "sound_items": fingerprint.n_sound,
        "sound_missing": fingerprint.sound_missing or None,
        "duration_s": fingerprint.duration_s,
    }
    return fields


def _number(mark: Mark) -> str:
    return f"{mark.payload:0{mark.payload_bits // 4}x}"


def _words(record: ReleaseRecord) -> dict[str, Any]:
    """The fields for a person: those that hold several values in a few words each."""
    fields = _plain(record)
    fields["created_at"] = f"{record.created_at:%Y-%m-%d %H:%M:%S} UTC"
    if record.forgotten_at:
        fields["forgotten_at"] = f"{record.forgotten_at:%Y-%m-%d %H:%M:%S} UTC"
    decision = record.decision
    fields["decision"] = f"{decision.get('effect')} ({', '.join(decision.get('rules', ()))})"
    scores = sorted(decision.get("risk", {}).items(), key=lambda item: -item[1])
    fields["highest risks"] = ", ".join(f"{name} {score}" for name, score in scores[:3] if score)
    fields["cost"] = ", ".join(f"{name} {value}" for name, value in record.cost.items())
    if print_ := record.fingerprint:
        fields["fingerprint"] = (
            f"{print_.n_frames} pictures, {print_.n_sound} items of sound, "
            f"{print_.duration_s:.1f} s"
        ) + (f" ({print_.sound_missing})" if print_.sound_missing else "")
    return fields


def _print(record: ReleaseRecord) -> None:
    out = console()
    for name, value in _words(record).items():
        if name == "marks":
            for mark in record.marks:
                quality = mark.psnr_db if mark.psnr_db is not None else mark.snr_db
                decibels = f", {quality:.1f} dB" if quality is not None else ""
                out.print(f"{'mark':>22}  {mark.algorithm} {_number(mark)}{decibels}", markup=False)
        elif value not in (None, "", {}):
            out.print(f"{name.replace('_', ' '):>22}  {value}", markup=False)
