"""Sign a media file: embedded where the container allows it, else a sidecar next to it.

One signing, in numbered steps:
1. check the manifest and the container; 2. build the claim with the ingredients' own credentials;
3. sign into a hidden file in the destination's folder; 4. time-stamp, or say why not;
5. read it back with the signer's own anchors: it must be trusted; 6. make it durable; 7. rename.
A failure at any step leaves neither destination nor sidecar.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from avsafe.errors import CredentialInvalid, SigningFailed, UnsupportedMedia, UsageError
from avsafe.provenance import formats, settings
from avsafe.provenance import manifest as manifests
from avsafe.provenance.lint import require_claim_signer
from avsafe.provenance.read import read
from avsafe.provenance.report import CredentialReport, CredentialStatus
from avsafe.provenance.signer import Signer, checked

if TYPE_CHECKING:
    import c2pa

    from avsafe.types import Manifest

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Signed:
    """What came out of one signing."""

    manifest_id: str  # urn:c2pa:...; the active manifest
    manifest_bytes: bytes  # the whole manifest store (JUMBF), as a resolver hands it out
    sidecar: Path | None
    timestamped: bool
    warnings: tuple[str, ...] = ()


def sign_file(
    source: Path,
    destination: Path,
    manifest: Manifest,
    signer: Signer,
    *,
    timestamp_url: str | None = None,
) -> Signed:
    """Sign ``source`` into ``destination``, which appears complete and verified or not at all.

    ``timestamp_url`` is an RFC 3161 authority. When it does not answer, the file is signed without
    a time stamp and a warning says so: stamp it later (``stamp.stamp_file``), before the
    certificate expires.

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
    definition = manifests.definition(manifest)
    definition["format"] = container.mime
    require_claim_signer(signer.chain_pem)
    _check_url(timestamp_url)
    warnings: list[str] = list(getattr(signer, "warnings", ()))
    sidecar = None if container.embedded else formats.sidecar_path(destination)

    with _staged(destination, sidecar) as staged:
        # 2-4
        manifest_bytes, problem = _sign_with_fallback(
            source, staged.media, manifest, definition, container, signer, timestamp_url
        )
        if problem:
            warnings.append(problem)
        if staged.sidecar is not None:
            staged.sidecar.write_bytes(manifest_bytes)
        # 5
        report = verify_own(staged.media, signer, staged.sidecar)
        if not report.timestamped and not problem:
            warnings.append(NOT_STAMPED)
        # 6-7
        staged.commit()
    for warning in warnings:
        _log.warning("%s: %s", destination.name, warning)
    return Signed(
        manifest_id=report.manifest_id or "",
        manifest_bytes=manifest_bytes,
        sidecar=sidecar,
        timestamped=report.timestamped,
        warnings=tuple(warnings),
    )


NOT_STAMPED = (
    "Signed without a time stamp: when the certificate expires, the file will read as expired. "
    "Stamp it before then with `avsafe keys stamp FILE --tsa URL`."
)


def verify_own(path: Path, signer: Signer, sidecar: Path | None) -> CredentialReport:
    """Read back what was just written; CredentialInvalid unless it is trusted with the signer's
    own anchors."""
    report = read(path, anchors=signer.anchors_pem, sidecar=sidecar)
    if report.status is not CredentialStatus.TRUSTED:
        codes = ", ".join(report.failures) or "none"
        raise CredentialInvalid(
            f"The signed file reads back as {report.status}, not trusted ({report.reason}) "
            f"Failure codes: {codes}. Nothing was written. Check that the signer's anchors hold "
            "the root of its chain, and the certificate with `avsafe keys lint`."
        )
    return report


@dataclass
class _Staged:
    media: Path
    sidecar: Path | None
    destination: Path
    final_sidecar: Path | None

    def commit(self) -> None:
        """The sidecar first: media without its sidecar would look unsigned."""
        for path in (self.sidecar, self.media):
            if path is not None:
                _flush(path)
        if self.sidecar is not None and self.final_sidecar is not None:
            os.replace(self.sidecar, self.final_sidecar)
        os.replace(self.media, self.destination)
        _flush(self.destination.parent)


@contextlib.contextmanager
def _staged(destination: Path, sidecar: Path | None) -> Iterator[_Staged]:
    """A hidden file in the destination's folder, so that the rename is atomic."""
    # The destination's name is part of it, so that a cleaner who knows that name finds it.
    stem = destination.stem.lstrip(".")
    media = destination.with_name(f".{stem}.{secrets.token_hex(6)}{destination.suffix}")
    staged = _Staged(
        media,
        media.with_name(media.name + ".c2pa") if sidecar is not None else None,
        destination,
        sidecar,
    )
    try:
        yield staged
    finally:
        media.unlink(missing_ok=True)
        if staged.sidecar is not None:
            staged.sidecar.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sign_with_fallback(
    source: Path,
    target: Path,
    manifest: Manifest,
    definition: dict[str, Any],
    container: formats.Container,
    signer: Signer,
    timestamp_url: str | None,
) -> tuple[bytes, str | None]:
    """The manifest store, and why there is no time stamp although one was asked for."""
    try:
        return _sign(source, target, manifest, definition, container, signer, timestamp_url), None
    except _TimestampRefused as error:
        _log.debug("time stamp authority failed", exc_info=True)
        without = _sign(source, target, manifest, definition, container, signer, None)
        return without, f"No time stamp from {timestamp_url} ({error}). {NOT_STAMPED}"


class _TimestampRefused(Exception):
    pass


def _sign(
    source: Path,
    target: Path,
    manifest: Manifest,
    definition: dict[str, Any],
    container: formats.Container,
    signer: Signer,
    timestamp_url: str | None,
) -> bytes:
    import c2pa

    host = urlsplit(timestamp_url).netloc if timestamp_url else None
    failures: list[SigningFailed] = []
    calls: list[int] = []

    def callback(data: bytes) -> bytes:
        calls.append(len(data))
        try:
            return checked(signer, data)
        except SigningFailed as error:
            failures.append(error)
            return b""  # the library turns this into an error of its own; ours is raised below

    try:
        with (
            settings.context(settings.signing(signer.anchors_pem, timestamp_host=host)) as context,
            c2pa.Signer.from_callback(
                callback, cose_algorithm(signer.algorithm), signer.chain_pem, timestamp_url
            ) as native,
            c2pa.Builder(definition, context=context) as builder,
            source.open("rb") as readable,
        ):
            _add_ingredients(builder, manifest)
            if container.embedded:
                with target.open("w+b") as writable:
                    return bytes(builder.sign(native, container.mime, readable, writable))
            builder.set_no_embed()
            with open(os.devnull, "w+b") as nowhere:
                data = bytes(builder.sign(native, container.mime, readable, nowhere))
            shutil.copyfile(source, target)
            return data
    except c2pa.C2paError as error:
        if failures:
            raise failures[0] from failures[0].__cause__
        if timestamp_url and _is_timestamp_error(str(error)):
            raise _TimestampRefused(_short(str(error))) from error
        raise SigningFailed(
            f"{source.name} could not be signed: {_short(str(error))}. "
            "Check the certificate with `avsafe keys lint` and that the file plays."
        ) from error


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
                f"Input {ingredient.title!r} cannot be recorded as an ingredient: "
                f"{_short(str(error))}."
            ) from error


def cose_algorithm(name: str) -> c2pa.C2paSigningAlg:
    """The library's name of a signing algorithm; SigningFailed for one it does not have."""
    import c2pa

    try:
        return c2pa.C2paSigningAlg[name.upper()]
    except KeyError:
        known = ", ".join(item.name.lower() for item in c2pa.C2paSigningAlg)
        raise SigningFailed(f"Unknown signing algorithm {name!r}. Expected {known}.") from None


def _check_url(url: str | None) -> None:
    if url is not None and urlsplit(url).scheme not in ("http", "https"):
        raise UsageError(f"A time stamp authority is an http or https URL, not {url!r}.")


def _is_timestamp_error(message: str) -> bool:
    lowered = message.lower()
    return any(word in lowered for word in ("timestamp", "time stamp", "tsa", "rfc3161", "http"))


def _short(message: str) -> str:
    """One line without the library's prefix."""
    return " ".join(message.split())[:300].rstrip(".")
