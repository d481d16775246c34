"""Sign a media file: embedded where the container allows it, else a sidecar next to it.

One signing, in numbered steps:
1. check the manifest and the container; 2. build the claim with the ingredients' own credentials;
3. sign: in place (``direct``), or the library writes a hidden file in the destination's folder;
4. time-stamp, or say why not; 5. read it back with the signer's own anchors: it must be trusted;
6. make it durable and rename.
A failure at any step leaves neither destination nor sidecar.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsafe.errors import (
    AvsafeError,
    CredentialInvalid,
    SigningFailed,
    UnsupportedMedia,
)
from avsafe.provenance import direct, formats, settings, stamp, stores, tsa
from avsafe.provenance import manifest as manifests
from avsafe.provenance.lint import require_claim_signer
from avsafe.provenance.read import read
from avsafe.provenance.report import CredentialReport, CredentialStatus
from avsafe.provenance.signer import Signer, checked
from avsafe.provenance.staged import Staged, staged

if TYPE_CHECKING:
    import c2pa

    from avsafe.types import Manifest

_log = logging.getLogger(__name__)

NOT_STAMPED = (
    "Signed without a time stamp: when the certificate expires, the file will read as expired. "
    "Stamp it before then with `avsafe keys stamp FILE --tsa URL`."
)


class Way(StrEnum):
    """How a credential came into its file."""

    IN_PLACE = "in-place"  # ``direct``: the media data are hashed once and not copied
    LIBRARY = "library"  # the C2PA library writes a new file
    SIDECAR = "sidecar"


@dataclass(frozen=True)
class Signed:
    """What came out of one signing."""

    manifest_id: str  # urn:c2pa:...
    manifest_bytes: bytes  # the whole manifest store (JUMBF), as a resolver hands it out
    sidecar: Path | None
    timestamped: bool  # a valid time stamp is in it (its authority may be unknown here)
    warnings: tuple[str, ...] = ()
    way: Way = Way.LIBRARY
    way_reason: str = ""  # why not in place; "" when it was


def sign_file(
    source: Path,
    destination: Path,
    manifest: Manifest,
    signer: Signer,
    *,
    timestamp_url: str | None = None,
    consume: bool = False,
    in_place: bool = True,
) -> Signed:
    """Sign ``source`` into ``destination``, which appears complete and verified or not at all.

    ``timestamp_url`` is an RFC 3161 authority. When it does not answer, the file is signed without
    a time stamp and a warning says so: stamp it later (``stamp.stamp_file``), before the
    certificate expires. ``consume``: the source is a private file that nobody needs any more; it is
    signed where it stands and moved. MP4, MOV and M4A are signed by ``direct``; ``in_place=False``
    leaves them to the library, as happens to files and libraries that ``direct`` does not know.

    Raises SigningFailed (key, certificate, callback), CredentialInvalid (it does not read back as
    trusted), UnsupportedMedia, UsageError (the manifest contradicts itself).
    """
    # 1
    container = formats.sniff(source)
    if container is None:
        raise UnsupportedMedia(
            f"{source.name}: cannot sign this container. Signed inside the file: "
            f"{', '.join(sorted(formats.EMBEDDED))}; with a sidecar: "
            f"{', '.join(sorted(formats.SIDECAR))}."
        )
    job = _Job(
        manifest,
        manifests.definition(manifest) | {"format": container.mime},
        container,
        signer,
        timestamp_url,
    )
    require_claim_signer(signer.chain_pem)
    if timestamp_url is not None:
        tsa.check_url(timestamp_url)
    sidecar = None if container.embedded else formats.sidecar_path(destination)

    with staged(destination, sidecar) as staging:
        # 2-5
        done, reason = None, "it was not asked for"
        if in_place and container.embedded:
            try:
                done = _in_place(source, staging.media, job, consume=consume)
            except direct.Unsuited as error:
                reason = str(error)
                _log.info("%s is signed by the library: %s", destination.name, reason)
        if done is None:
            done = _by_library(source, staging, job)
        # 6
        if done.path != staging.media:
            _moved(done.path, staging.media, signer)
        staging.commit()
    warnings = [*getattr(signer, "warnings", ()), *_stamp_warnings(done.report, done.problem)]
    for warning in warnings:
        _log.info("%s: %s", destination.name, warning)  # the caller shows them
    return Signed(
        done.report.manifest_id or "",
        done.store,
        sidecar,
        done.report.timestamp_authority is not None,
        tuple(warnings),
        done.way if sidecar is None else Way.SIDECAR,
        "" if done.way is Way.IN_PLACE else reason if sidecar is None else "it has a sidecar",
    )


@dataclass(frozen=True)
class _Job:
    manifest: Manifest
    definition: dict[str, Any]
    container: formats.Container
    signer: Signer
    timestamp_url: str | None


@dataclass(frozen=True)
class _Done:
    path: Path
    store: bytes
    report: CredentialReport
    problem: str | None  # with the time stamp
    way: Way


def _in_place(source: Path, spare: Path, job: _Job, *, consume: bool) -> _Done:
    """Raises Unsuited when the library shall try; the source is a media file then as before."""
    ours = consume and source.stat().st_dev == spare.parent.stat().st_dev
    with _failures() as failures:

        def builder(held: ExitStack) -> c2pa.Builder:
            return _builder(job, _native_signer(job.signer, failures, held), held)

        path, store = direct.sign(source, spare, job.container, builder, consume=ours)
    try:
        return _finished(path, None, store, job, Way.IN_PLACE)
    except _ReadsBack as error:
        if error.status in _ABOUT_THE_SIGNER:
            raise
        _log.warning("%s: signing in place went wrong, so the library signs it", source.name)
        if path == source:
            direct.blank(source)
        raise direct.Unsuited(f"it read back as {error.status}") from error


def _by_library(source: Path, staging: Staged, job: _Job) -> _Done:
    store = _sign(source, staging.media, job)
    if staging.sidecar is not None:
        staging.sidecar.write_bytes(store)
    return _finished(staging.media, staging.sidecar, store, job, Way.LIBRARY)


def _finished(path: Path, sidecar: Path | None, store: bytes, job: _Job, way: Way) -> _Done:
    """Time-stamp, then read back: one pass over the file."""
    problem = None
    if job.timestamp_url is not None:
        try:
            name = stores.active_manifest(store)
            _, fill = stamp.apply(sidecar or path, name, job.timestamp_url)
            store = fill(store)
        except (SigningFailed, UnsupportedMedia) as error:
            problem = f"{error} {NOT_STAMPED}"
    return _Done(path, store, _verified(path, job.signer, sidecar), problem, way)


def _moved(path: Path, target: Path, signer: Signer) -> None:
    try:
        os.replace(path, target)
    except OSError as error:  # one device, but two mounts of it
        if error.errno != errno.EXDEV:
            raise
        shutil.copyfile(path, target)
        _verified(target, signer, None)


def _stamp_warnings(report: CredentialReport, problem: str | None) -> list[str]:
    if problem:
        return [problem]
    if report.timestamp_authority is None:
        return [NOT_STAMPED]
    if not report.timestamped:
        return [
            f"The time stamp of {report.timestamp_authority} is in the file, but the root of that "
            "authority is on none of your lists: it will not count here. Add it with "
            "`avsafe keys trust add`."
        ]
    return []


# What a second signing of the same file would not change.
_ABOUT_THE_SIGNER = (
    CredentialStatus.INTACT_UNKNOWN_SIGNER,
    CredentialStatus.EXPIRED,
)


class _ReadsBack(CredentialInvalid):
    status = CredentialStatus.DAMAGED


def _verified(path: Path, signer: Signer, sidecar: Path | None) -> CredentialReport:
    """Read back what was just written; CredentialInvalid unless it is trusted with the signer's
    own anchors."""
    report = read(path, anchors=signer.anchors_pem, sidecar=sidecar)
    if report.status is not CredentialStatus.TRUSTED:
        codes = ", ".join(report.failures) or "none"
        error = _ReadsBack(
            f"The signed file reads back as {report.status}, not trusted ({report.reason}) "
            f"Failure codes: {codes}. Nothing was written. Check that the signer's anchors hold "
            "the root of its chain, and the certificate with `avsafe keys lint`."
        )
        error.status = report.status
        raise error
    return report


def _sign(source: Path, target: Path, job: _Job) -> bytes:
    """Write the signed media (or a copy, when the store stands beside it); returns the store."""
    with _failures() as failures, ExitStack() as held:
        builder = _builder(job, _native_signer(job.signer, failures, held), held)
        readable = held.enter_context(source.open("rb"))
        if job.container.embedded:
            writable = held.enter_context(target.open("w+b"))
            return bytes(builder.sign(job.container.mime, readable, writable))
        builder.set_no_embed()
        with open(os.devnull, "w+b") as nowhere:
            store = bytes(builder.sign(job.container.mime, readable, nowhere))
        shutil.copyfile(source, target)
        return store


@contextmanager
def _failures() -> Iterator[list[AvsafeError]]:
    """What the signer raised, which the library replaces by an error of its own, raised again."""
    import c2pa

    failures: list[AvsafeError] = []
    try:
        yield failures
    except (c2pa.C2paError, SigningFailed, direct.Unsuited) as error:
        if failures:
            raise failures[0] from failures[0].__cause__
        if not isinstance(error, c2pa.C2paError):
            raise
        raise SigningFailed(
            f"The file could not be signed: {_short(error)}. "
            "Check the certificate with `avsafe keys lint` and that the file plays."
        ) from error


def _native_signer(signer: Signer, failures: list[AvsafeError], held: ExitStack) -> c2pa.Signer:
    import c2pa

    def callback(data: bytes) -> bytes:
        try:
            return checked(signer, data)
        except AvsafeError as error:
            failures.append(error)
            return b""  # the library makes its own error of this; ours is raised instead

    return held.enter_context(
        c2pa.Signer.from_callback(callback, _algorithm(signer.algorithm), signer.chain_pem)
    )


def _builder(job: _Job, native: c2pa.Signer, held: ExitStack) -> c2pa.Builder:
    import c2pa

    chosen = settings.signing(job.signer.anchors_pem)
    context = held.enter_context(settings.context(chosen, native))
    builder = held.enter_context(c2pa.Builder(job.definition, context=context))
    _add_ingredients(builder, job.manifest)
    return builder


def _add_ingredients(builder: c2pa.Builder, manifest: Manifest) -> None:
    """Each with its own credential, when it carries one (that is what keeps the chain whole)."""
    import c2pa

    for ingredient in manifest.ingredients:
        described = manifests.ingredient_definition(ingredient)
        container = formats.sniff(ingredient.path)
        mime = container.mime if container else ingredient.mime
        try:
            with ingredient.path.open("rb") as file:
                builder.add_ingredient(described, mime, file)
        except c2pa.C2paError as error:
            raise SigningFailed(
                f"Input {ingredient.title!r} cannot be recorded as an ingredient: {_short(error)}."
            ) from error


def _algorithm(name: str) -> c2pa.C2paSigningAlg:
    import c2pa

    try:
        return c2pa.C2paSigningAlg[name.upper()]
    except KeyError:
        known = ", ".join(item.name.lower() for item in c2pa.C2paSigningAlg)
        raise SigningFailed(f"Unknown signing algorithm {name!r}. Expected {known}.") from None


def _short(error: Exception) -> str:
    """One line of the library's message."""
    return " ".join(str(error).split())[:300].rstrip(".")
