"""Read a credential: what it says, and how far it holds. Cheap: the C2PA library and json, no more.

A credential that is there is never reported as none: when the library finds nothing it can use, the
bytes are searched for the marks of one before the answer is "none".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsafe.provenance import content, coverage, formats, settings
from avsafe.provenance.classify import Codes
from avsafe.provenance.report import CredentialReport, CredentialStatus
from avsafe.provenance.traces import has_traces

if TYPE_CHECKING:
    import c2pa

    from avsafe.media import Limits


_MAX_SIDECAR = 64 << 20  # bytes; ours are 14 KB, with many inputs some 100 KB


def read(
    path: Path,
    *,
    anchors: str,
    own: str = "",
    sidecar: Path | None = None,
    include_personal: bool = False,
) -> CredentialReport:
    """The credential of a file, in this process: for files that we wrote. Uploads go through
    ``read_sandboxed``.

    ``anchors`` are trusted roots (PEM; empty trusts nobody), ``own`` those of them that are ours,
    which ``trust_list`` of the report tells from the others. A sidecar next to the file
    (``clip.webm.c2pa`` or ``clip.c2pa``) is found when the file itself carries nothing. Names and
    places are left out unless ``include_personal`` is set. Never raises for what is in the file;
    FileNotFoundError when there is none.
    """
    return _read(path, anchors, sidecar, formats.find_sidecar(path), include_personal, own)


def read_json(
    path: str,
    anchors: str,
    sidecar: str | None = None,
    beside: str | None = None,
    include_personal: bool = False,
    own: str = "",
) -> dict[str, Any]:
    """``read`` with JSON in and out, as the sandbox calls it. ``beside`` is a sidecar that merely
    lies next to the file: the process in the sandbox may not look for one itself."""
    report = _read(
        Path(path),
        anchors,
        Path(sidecar) if sidecar else None,
        Path(beside) if beside else None,
        include_personal,
        own,
    )
    return report.to_json()


def read_sandboxed(
    path: Path,
    *,
    anchors: str,
    own: str = "",
    sidecar: Path | None = None,
    include_personal: bool = False,
    limits: Limits | None = None,
) -> CredentialReport:
    """The same for a file of unknown origin: pre-scanned, then read in a limited process without
    network. Raises the typed errors of ``avsafe.media`` when the file is refused or a limit hit.
    """
    from avsafe.media import Limits as DefaultLimits
    from avsafe.media import prescan, sandbox

    limits = limits or DefaultLimits()
    prescan(path, limits)
    sidecar = sidecar or formats.find_sidecar(path)  # the child may open only the files named to it
    found = sandbox.call(
        "avsafe.provenance.read:read_json",
        {
            "path": str(path.resolve()),
            "anchors": anchors,
            "own": own,
            "sidecar": str(sidecar.resolve()) if sidecar else None,
            "include_personal": include_personal,
        },
        limits=limits,
    )
    return CredentialReport.from_json(found)


def has_credential(path: Path) -> bool:
    """Whether a file carries any trace of a credential, intact or not; parses nothing."""
    return has_traces(path)


def _read(
    path: Path,
    anchors: str,
    named: Path | None,
    beside: Path | None,
    include_personal: bool,
    own: str = "",
) -> CredentialReport:
    import c2pa

    if not path.is_file():
        raise FileNotFoundError(path)
    try:
        with settings.context(settings.reading(anchors, own)) as context:
            reader, used = _open(path, named, beside, context)
            if reader is None:
                return _nothing(path)
            with reader:
                return _report(reader, path, used, include_personal)
    except c2pa.C2paError as error:
        return _unusable(path, named or beside, str(error))


def _open(
    path: Path, named: Path | None, beside: Path | None, context: c2pa.Context
) -> tuple[c2pa.Reader | None, Path | None]:
    """A reader, and the sidecar that it used. A sidecar that was named goes first; one that merely
    lies there only counts when the file carries nothing."""
    import c2pa

    container = formats.sniff(path)
    mime = container.mime if container else None
    if named is None and (container is None or container.embedded):
        with path.open("rb") as file:
            reader = c2pa.Reader.try_create(mime, file, None, context)
        if reader is not None:
            return reader, None
        if has_traces(path):
            return None, None  # its own broken credential outweighs one that lies beside it
    sidecar = named or beside
    if sidecar is None:
        return None, None
    if sidecar.stat().st_size > _MAX_SIDECAR:
        raise c2pa.C2paError(f"Other: the sidecar is larger than {_MAX_SIDECAR >> 20} MB")
    with path.open("rb") as file:
        return c2pa.Reader(mime, file, sidecar.read_bytes(), context), sidecar


def _report(
    reader: c2pa.Reader, path: Path, sidecar: Path | None, include_personal: bool
) -> CredentialReport:
    raw = _raw_manifests(reader)
    updates = frozenset(label for label, item in raw.items() if item.get("isUpdateManifest"))
    store = content.Store(json.loads(reader.json()), updates)
    status, reason = content.status_of(store)
    described = content.describe(store, include_personal=include_personal)
    binding = raw.get(described.manifest_id or "", {})
    assertions = binding.get("assertions") or {}
    active = Codes.of(store.results.get("activeManifest"))
    trusted = status is CredentialStatus.TRUSTED
    return CredentialReport(
        status=status,
        reason=reason,
        uncovered=coverage.uncovered(path, assertions, sidecar=sidecar),
        sidecar=sidecar.name if sidecar else None,
        remote_url=reader.get_remote_url(),
        successes=tuple(code for code, _ in active.success),
        informational=tuple(code for code, _ in active.informational),
        failures=active.failures,
        state=store.data.get("validation_state"),
        certificate=content.certificate(binding, store, trusted=trusted),
        **vars(described),
    )


def _raw_manifests(reader: c2pa.Reader) -> dict[str, Mapping[str, Any]]:
    """Label -> manifest with all assertions, the hashes included (only this form has them)."""
    import c2pa

    try:
        manifests = json.loads(reader.crjson()).get("manifests") or ()
    except (c2pa.C2paError, ValueError):
        return {}
    return {str(item.get("label")): item for item in manifests}


def _nothing(path: Path) -> CredentialReport:
    """The library found no credential: none, or one so damaged that it went unnoticed."""
    if has_traces(path):
        return CredentialReport(
            CredentialStatus.DAMAGED,
            "the marks of a credential are in the file, but no complete one can be read.",
        )
    return CredentialReport(CredentialStatus.NONE, "no credential in the file or next to it.")


def _unusable(path: Path, sidecar: Path | None, message: str) -> CredentialReport:
    """The library raised: which state is it?"""
    kind, _, text = message.partition(":")
    text = " ".join(text.split())[:200]
    if kind == "RemoteManifest" or "must fetch" in message:
        return CredentialReport(
            CredentialStatus.REMOTE_ONLY,
            "only an address is in the file, and nothing is fetched for an upload.",
            remote_url=_url_in(message),
        )
    if has_traces(path) or sidecar is not None:
        return CredentialReport(
            CredentialStatus.DAMAGED, f"it cannot be read ({kind}{': ' if text else ''}{text})."
        )
    if kind == "ManifestNotFound":
        return CredentialReport(CredentialStatus.NONE, "no credential in the file or next to it.")
    return CredentialReport(CredentialStatus.UNREADABLE, f"{kind}{': ' if text else ''}{text}.")


def _url_in(message: str) -> str | None:
    words = [word for word in message.split() if word.startswith(("http://", "https://"))]
    return words[0].rstrip(".,)") if words else None
