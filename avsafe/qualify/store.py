"""Detectors that a user has added: private folders under ``$AVSAFE_HOME/detectors``."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from avsafe import plugins
from avsafe.errors import UsageError
from avsafe.home import Home, locked, write_private
from avsafe.qualify import weights
from avsafe.qualify.adapted import Adapted
from avsafe.qualify.adapter import Model, adapter_of
from avsafe.qualify.fields import read_file, shown
from avsafe.qualify.manifest import MANIFEST, PICKLE, Weight, parse, valid_name
from avsafe.types import Detector

_log = logging.getLogger(__name__)
_COPY_BYTES = 1 << 20


def folder_of(home: Home) -> Path:
    return home.root / "detectors"


def names(home: Home) -> list[str]:
    """Names of the detectors that were added, broken ones too; [] where none ever was."""
    try:
        with os.scandir(folder_of(home)) as entries:
            return sorted(
                one.name
                for one in entries
                if valid_name(one.name) and one.is_dir(follow_symlinks=False)
            )
    except FileNotFoundError:
        return []


def installed(home: Home) -> Mapping[str, Detector]:
    """The user's own detectors by name. Reads no weights, and nothing at all where there are none.

    One that takes the name of an installed detector is left out: it would speak in its place.
    """
    found: dict[str, Detector] = {}
    own = names(home)
    taken = plugins.catalogue("detectors") if own else {}
    for name in own:
        if name in taken:
            _log.warning("%s in %s has the name of another detector", name, folder_of(home))
        else:
            found[name] = Adapted(name, folder_of(home) / name)
    return found


def get(home: Home, name: str) -> Adapted:
    """One that was added. Raises UsageError when there is none of that name."""
    known = names(home)
    if name not in known:
        raise UsageError(
            f"No detector {shown(name)!r} was added (found: {', '.join(known) or 'none'}). Add one "
            "with: avsafe detectors add FOLDER."
        )
    return Adapted(name, folder_of(home) / name)


def add(home: Home, source: Path, *, replace: bool = False) -> Adapted:
    """Copy a detector into the state folder, checked on the way; whole or not at all.

    ``source`` is the folder with ``manifest.json``, or that file. With ``replace``, one of the same
    name goes, and its qualification with it. Raises UsageError for a manifest or weights that are
    not as they should be, MissingExtra when the adapter needs a package that is not installed.
    """
    if source.is_file() and source.name != MANIFEST and source.suffix != ".json":
        said = (
            PICKLE
            if source.suffix.lower() in (".pth", ".pt", ".ckpt", ".bin", ".pkl")
            else (
                f"is no manifest. Put the weights into a folder and write {MANIFEST} beside them "
                "(docs/detectors-plugins.md)."
            )
        )
        raise UsageError(f"{source.name} {said}")
    file = source if source.is_file() else source / MANIFEST
    text = read_file(file, file.name)
    model = Model(parse(text), file.parent)
    name = model.manifest.name
    if name in plugins.catalogue("detectors"):
        raise UsageError(f"{name!r} is the name of an installed detector. Choose another name.")
    adapter_of(model)
    with _changing(home) as folder:
        target = folder / name
        if target.exists() and not replace:
            raise UsageError(
                f"A detector {name!r} was added before. Replace it with --replace (its "
                "qualification goes too), or choose another name."
            )
        staged = folder / f".adding-{secrets.token_hex(8)}"
        try:
            staged.mkdir(mode=0o700)
            for weight in model.manifest.weights.values():
                _copy(model.folder, staged, weight)
            write_private(staged / MANIFEST, text)
            if target.exists():
                _discard(folder, target)
            staged.rename(target)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
    return Adapted(name, target)


def remove(home: Home, name: str) -> None:
    """Raises UsageError when no detector of that name was added."""
    get(home, name)
    with _changing(home) as folder:
        _discard(folder, folder / name)


def _discard(folder: Path, target: Path) -> None:
    gone = folder / f".gone-{secrets.token_hex(8)}"
    target.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


@contextmanager
def _changing(home: Home) -> Iterator[Path]:
    """The folder, held by one process at a time; what an interrupted one left is cleared."""
    home.ensure()
    folder = folder_of(home)
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    with locked(folder / ".lock", timeout_s=600.0):
        for left in (*folder.glob(".adding-*"), *folder.glob(".gone-*")):
            shutil.rmtree(left, ignore_errors=True)
        yield folder


def _copy(source: Path, target: Path, weight: Weight) -> None:
    """One file of weights, its digest and format checked on the bytes that were written."""
    written = target / weight.path
    written.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest = hashlib.sha256()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with weights.opened(source, weight.path) as file:
        size = os.fstat(file.fileno()).st_size
        weights.check_size(size, weight)
        if shutil.disk_usage(target).free < size + (64 << 20):
            raise UsageError(
                f"{weight.path} has {size} bytes, for which there is no room in {target.parent}."
            )
        with os.fdopen(os.open(written, flags, 0o600), "wb") as out:
            while block := file.read(_COPY_BYTES):
                digest.update(block)
                out.write(block)
            out.flush()
            os.fsync(out.fileno())
    if digest.hexdigest() != weight.sha256:
        raise weights.another_digest(weight, digest.hexdigest())
    weights.read(target, weight)
