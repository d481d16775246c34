"""``avsafe keys rotate``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from avsafe.cli.shell import Json, console, print_json


class Which(StrEnum):
    """The keys that can be renewed."""

    SIGNING = "signing"
    WATERMARK = "watermark"
    LEDGER = "ledger"


_NEXT = {
    Which.SIGNING: "Restart the service and its workers: until then they sign with the old one.",
    Which.WATERMARK: "Restart the workers: until then they mark with the old one. Its marks are "
    "still found.",
    Which.LEDGER: "Give the new keys/ledger.pub to your auditors: the checkpoint over this entry "
    "is signed by both keys. Where keys/ is not shared, copy its ledger.* to the other machines.",
}


def rotate(
    which: Annotated[Which, typer.Argument(help="Which key.")],
    new_root: Annotated[
        bool, typer.Option("--new-root", help="signing: a new root too; the old stays trusted.")
    ] = False,
    certificate: Annotated[
        Path | None,
        typer.Option(
            help="signing: a certificate that an authority issued (PEM, then its chain).",
            exists=True, dir_okay=False,
        ),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="... and its private key.", exists=True, dir_okay=False)
    ] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Put a new key in place of the signing, watermark or ledger key.

    What was made with the old key is still verified and recovered. The change stands in the ledger.
    The key of embeddings is renewed by `avsafe consent rotate-key`.
    """
    from avsafe import rotation
    from avsafe.errors import UsageError
    from avsafe.home import Home

    home = Home.default().ensure()
    if which is not Which.SIGNING and (new_root or certificate or key):
        raise UsageError("--new-root, --certificate and --key are for the signing key.")
    if which is Which.SIGNING:
        done = rotation.rotate_signing(home, new_root=new_root, certificate=certificate, key=key)
    elif which is Which.WATERMARK:
        done = rotation.rotate_watermark(home)
    else:
        done = rotation.rotate_ledger(home)
    if as_json:
        print_json(done)
        return
    console().print(f"{done['key']}: {done['old']} -> {done['new']}", markup=False)
    console(stderr=True).print(_NEXT[which])
