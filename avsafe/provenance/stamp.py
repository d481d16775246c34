"""Time-stamp a claim signature: while signing, or later on a file that was signed without.

The token (RFC 3161, over the signature) goes into the room that signing reserved in the signature's
unprotected header. Claim, signature, manifest id, media bytes and file size stay what they were, no
key is needed, and it works for sidecars and WAV. (The other way that C2PA knows, an update
manifest, breaks WAV in c2pa-rs 0.91 and cannot be made for a sidecar: docs/decisions/0004.)

The time proven is the time of stamping: it must happen before the certificate expires.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from avsafe.errors import CredentialInvalid, UsageError
from avsafe.provenance import cose, stores, tsa
from avsafe.provenance.read import read
from avsafe.provenance.report import CredentialReport, CredentialStatus
from avsafe.provenance.staged import staged


@dataclass(frozen=True)
class Stamped:
    """The outcome for one file."""

    path: Path
    manifest_id: str  # as before
    authority: str | None
    stamped_at: str | None  # RFC 3339
    changed: bool  # False: it had a time stamp already


def stamp_file(path: Path, timestamp_url: str, *, anchors: str) -> Stamped:
    """Stamp a signed file, or its sidecar, in place: replaced whole and verified, or left alone.

    ``anchors`` must trust the signer and hold the root of the time stamp authority. The file's
    SHA-256 changes, its size and its manifest id do not.

    Raises UsageError (no credential), SigningFailed (the authority gives no stamp),
    CredentialInvalid (broken or expired before; not trusted and stamped afterwards).
    """
    tsa.check_url(timestamp_url)
    before = read(path, anchors=anchors)
    if not _may_be_stamped(path, before):
        return _outcome(path, before, changed=False)
    holder = path if before.sidecar is None else path.with_name(before.sidecar)
    with staged(holder) as staging:
        shutil.copyfile(holder, staging.media)
        apply(staging.media, before.manifest_id or "", timestamp_url)
        is_media = before.sidecar is None
        after = read(
            staging.media if is_media else path,
            anchors=anchors,
            sidecar=None if is_media else staging.media,
        )
        if after.status is not CredentialStatus.TRUSTED or not after.timestamped:
            raise CredentialInvalid(
                f"{path.name} would read as {after.status}, "
                f"{'with' if after.timestamp_authority else 'without'} a time stamp"
                f"{'' if after.timestamped else ' that counts here'}; it was left as it was. Add "
                "the authority's root with `avsafe keys trust add`."
            )
        staging.commit()
    return _outcome(path, after, changed=True)


def apply(
    holder: Path, manifest_id: str, timestamp_url: str
) -> tuple[bytes, Callable[[bytes], bytes]]:
    """Fetch a token and write it into a media file or sidecar, unverified: for a copy that is read
    back afterwards. Returns the token, and the function that puts it into the bare store too."""
    location = stores.locate(holder)
    store = stores.read_store(holder, location)
    found = cose.find(store, manifest_id)
    token = tsa.request_token(timestamp_url, found.to_be_stamped())
    stores.write_store(holder, location, cose.with_token(store, found, token))
    return token, lambda bare: cose.with_token(bare, cose.find(bare, manifest_id), token)


def _may_be_stamped(path: Path, report: CredentialReport) -> bool:
    if report.status is CredentialStatus.NONE:
        raise UsageError(f"{path.name} carries no credential; there is nothing to stamp.")
    if report.status is CredentialStatus.EXPIRED:
        raise CredentialInvalid(
            f"{path.name}: its certificate has expired already, so a time stamp of today would "
            "prove nothing. Release the media again."
        )
    if report.status is not CredentialStatus.TRUSTED:
        raise CredentialInvalid(
            f"{path.name} is {report.status} ({report.reason}) Only a trusted file is stamped."
        )
    return not report.timestamped


def _outcome(path: Path, report: CredentialReport, *, changed: bool) -> Stamped:
    return Stamped(
        path, report.manifest_id or "", report.timestamp_authority, report.signed_at, changed
    )
