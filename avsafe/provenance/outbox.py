"""Signed files that still wait for a time stamp: one small JSON file each, in ``outbox/``.

A record is only a reminder. The file it names stays valid without it until the signing certificate
expires, and a lost record loses nothing else.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from avsafe.home import write_private
from avsafe.provenance.signer import certificates

if TYPE_CHECKING:
    from avsafe.provenance.sign import Signed
    from avsafe.provenance.signer import Signer

_FOLDER = "outbox"


@dataclass(frozen=True)
class Waiting:
    """One signed file without a time stamp."""

    path: Path
    manifest_id: str
    expires_at: datetime  # of the signing certificate; stamp before
    record: Path


def add(folder: Path, path: Path, manifest_id: str, expires_at: datetime) -> Path:
    """Remember to stamp ``path``. ``folder`` is the key folder. Returns the durable record."""
    record = _record(folder, manifest_id)
    body = {
        "path": str(path.resolve()),
        "manifest_id": manifest_id,
        "expires_at": expires_at.isoformat(),
    }
    write_private(record, json.dumps(body, indent=1).encode())
    return record


def remember(folder: Path, path: Path, signed: Signed, signer: Signer) -> None:
    """``add`` for what ``sign_file`` returned; nothing to do when it has its time stamp already."""
    if not signed.timestamped:
        expires_at = certificates(signer.chain_pem)[0].not_valid_after_utc
        add(folder, path, signed.manifest_id, expires_at)


def waiting(folder: Path) -> tuple[Waiting, ...]:
    """What waits, the most urgent first. A record that cannot be read is left out and kept."""
    found = []
    for record in sorted((folder / _FOLDER).glob("*.json")):
        try:
            body = json.loads(record.read_bytes())
            found.append(
                Waiting(
                    Path(body["path"]),
                    str(body["manifest_id"]),
                    datetime.fromisoformat(body["expires_at"]),
                    record,
                )
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return tuple(sorted(found, key=lambda item: item.expires_at))


def forget(folder: Path, manifest_id: str) -> None:
    """Nothing waits for that manifest: its file is kept where no stamp can be added later."""
    _record(folder, manifest_id).unlink(missing_ok=True)


def _record(folder: Path, manifest_id: str) -> Path:
    return folder / _FOLDER / f"{hashlib.sha256(manifest_id.encode()).hexdigest()[:32]}.json"


def done(item: Waiting) -> None:
    """Forget a record: the file is stamped, or gone."""
    item.record.unlink(missing_ok=True)
