"""Sign a media file: embedded where the container allows it, else a sidecar next to it.

One signing, in numbered steps:
1. check the manifest and the container; 2. build the claim with the ingredients' own credentials;
3. sign into a hidden file in the destination's folder; 4. time-stamp, or say why not;
5. read it back with the signer's own anchors: it must be trusted; 6. make it durable and rename.
A failure at any step leaves neither destination nor sidecar.
"""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsafe.errors import (
    AvsafeError,
    CredentialInvalid,
    SigningFailed,
    UnsupportedMedia,
)
from avsafe.provenance import formats, settings, stamp, tsa
from avsafe.provenance import manifest as manifests
from avsafe.provenance.lint import require_claim_signer
from avsafe.provenance.read import read
from avsafe.provenance.report import CredentialReport, CredentialStatus
from avsafe.provenance.signer import Signer, checked
from avsafe.provenance.staged import staged

if TYPE_CHECKING:
    import c2pa

    from avsafe.types import Manifest

_log = logging.getLogger(__name__)

NOT_STAMPED = (
    "Signed without a time stamp: when the certificate expires, the file will read as expired. "
    "Stamp it before then with `avsafe keys stamp FILE --tsa URL`."
)


@dataclass(frozen=True)
class Signed:
    """What came out of one signing."""

    manifest_id: str  # urn:c2pa:...
    manifest_bytes: bytes  # the whole manifest store (JUMBF), as a resolver hands it out
    sidecar: Path | None
    timestamped: bool  # a valid time stamp is in it (its authority may be unknown here)
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
    definition = manifests.definition(manifest) | {"format": container.mime}
    require_claim_signer(signer.chain_pem)
    if timestamp_url is not None:
        tsa.check_url(timestamp_url)
    sidecar = None if container.embedded else formats.sidecar_path(destination)

    with staged(destination, sidecar) as staging:
        # 2-3
        store = _sign(source, staging.media, manifest, definition, container, signer)
        if staging.sidecar is not None:
            staging.sidecar.write_bytes(store)
        report = _verified(staging.media, signer, staging.sidecar)
        # 4-5
        problem = None
        if timestamp_url is not None:
            holder = staging.sidecar or staging.media
            try:
                _, fill = stamp.apply(holder, report.manifest_id or "", timestamp_url)
                report = _verified(staging.media, signer, staging.sidecar)
                store = fill(store)
            except (SigningFailed, UnsupportedMedia) as error:
                problem = f"{error} {NOT_STAMPED}"
        # 6
        staging.commit()
    stamped = report.timestamp_authority is not None
    warnings = [*getattr(signer, "warnings", ()), *_stamp_warnings(report, problem)]
    for warning in warnings:
        _log.info("%s: %s", destination.name, warning)  # the caller shows them
    return Signed(report.manifest_id or "", store, sidecar, stamped, tuple(warnings))


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


def _verified(path: Path, signer: Signer, sidecar: Path | None) -> CredentialReport:
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


def _sign(
    source: Path,
    target: Path,
    manifest: Manifest,
    definition: dict[str, Any],
    container: formats.Container,
    signer: Signer,
) -> bytes:
    """Write the signed media (or a copy, when the store stands beside it); returns the store."""
    import c2pa

    failures: list[AvsafeError] = []

    def callback(data: bytes) -> bytes:
        try:
            return checked(signer, data)
        except AvsafeError as error:
            failures.append(error)
            return b""  # the library makes its own error of this; ours is raised below

    try:
        with (
            settings.context(settings.signing(signer.anchors_pem)) as context,
            c2pa.Signer.from_callback(
                callback, _algorithm(signer.algorithm), signer.chain_pem
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
                store = bytes(builder.sign(native, container.mime, readable, nowhere))
            shutil.copyfile(source, target)
            return store
    except c2pa.C2paError as error:
        if failures:
            raise failures[0] from failures[0].__cause__
        raise SigningFailed(
            f"{source.name} could not be signed: {_short(error)}. "
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
