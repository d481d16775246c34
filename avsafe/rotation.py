"""A new key in place of an old one, each change in the ledger.

The entry is written first: cut short, a rotation leaves an entry about a key that never came into
use, and the old key. What an old key made stays recognised: its root trusted, its marks looked for,
its checkpoints bound into the log that the new key signs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from avsafe.home import Home
from avsafe.ledger import Ledger
from avsafe.ledger.log import KEYS, ROTATED


def rotate_signing(
    home: Home, *, new_root: bool = False, certificate: Path | None = None, key: Path | None = None
) -> Mapping[str, str]:
    """Another signing certificate: under the same root, under a new one, or one that an authority
    issued. Processes that run go on with the old one until they start again.

    Raises UsageError when the certificate cannot sign, or its root's key is not here.
    """
    from avsafe.errors import UsageError
    from avsafe.provenance import renewal

    if (certificate is None) is not (key is None) or (certificate and new_root):
        raise UsageError("Give --certificate and --key together, or --new-root, or none of them.")
    if certificate is not None and key is not None:
        made = renewal.brought(home.keys, certificate.read_bytes(), key.read_bytes())
    else:
        made = (renewal.new_root if new_root else renewal.renewed)(home.keys)
    body = {"key": "signing", "old": made.old, "new": made.new}
    _log(home, body)
    made.install()
    return body


def rotate_watermark(home: Home) -> Mapping[str, str]:
    """Another key for marks; those of the old one are still looked for, at the cost of a search
    each. Processes that run go on with the old one until they start again."""
    from avsafe.watermark import keyring

    old, new = keyring.current(home.keys), keyring.draw()
    body = {"key": "watermark", "old": keyring.name_of(old), "new": keyring.name_of(new)}
    _log(home, body)
    keyring.install(home.keys, new)
    return body


def rotate_ledger(home: Home) -> Mapping[str, str]:
    """Hand the log over to another key (``Ledger.rotate_key``); processes that run follow."""
    with Ledger.open(home.log, home.keys) as ledger:
        body = ledger.rotate_key().body
    return {name: str(value) for name, value in body.items()}


def _log(home: Home, body: Mapping[str, str]) -> None:
    with Ledger.open(home.log, home.keys) as ledger:
        ledger.append(ROTATED, KEYS, body)
