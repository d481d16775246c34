"""``avsafe keys``: make, check, show and trust signing keys; time-stamp what was signed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avsafe.cli.rotate import rotate
from avsafe.cli.shell import Json, console, print_json

if TYPE_CHECKING:
    from avsafe.provenance.outbox import Waiting

app = typer.Typer(
    no_args_is_help=True,
    help=(
        "Signing keys and time stamps.\n\n"
        "First use: `avsafe keys init` makes a development authority and a signing certificate. "
        "Whoever should trust your files runs `avsafe keys trust add ca.pem`. For files that "
        "everybody trusts, get a certificate from an authority on the C2PA trust list, check it "
        "with `avsafe keys lint`, and put it where `avsafe keys show` says."
    ),
)
trust_app = typer.Typer(no_args_is_help=True, help="Whose signatures and time stamps count here.")
app.add_typer(trust_app, name="trust")
app.command("rotate")(rotate)

Tsa = Annotated[str, typer.Option("--tsa", help="RFC 3161 time stamp authority, http(s) URL.")]


@app.command()
def init(
    organization: Annotated[
        str, typer.Option("--organization", "-o", help="The name that readers see as signer.")
    ] = "avsafe development",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing keys; the old root stays trusted.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a development authority (10 years) and a signing certificate (1 year)."""
    from avsafe.home import Home
    from avsafe.provenance import keys

    home = Home.default().ensure()
    files = keys.init(home.keys, organization=organization, overwrite=overwrite)
    if as_json:
        print_json({"folder": files.folder, "root": files.ca, "chain": files.chain})
        return
    out = console()
    out.print(f"Keys of {organization!r} made in {files.folder} (only you can read them).")
    out.print(f"Give {files.ca} to those who shall trust your files; keep the .key files secret.")


@app.command()
def lint(
    certificate: Annotated[Path, typer.Argument(help="PEM: signing certificate, then its chain.")],
    key: Annotated[
        Path | None,
        typer.Option("--key", help="Its private key (PEM), to check that they belong together."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Name each rule that a signing certificate breaks, and what to do. Exit code 1 on errors."""
    from avsafe.errors import UsageError
    from avsafe.provenance.lint import Severity, lint_certificate

    for path in (certificate, key):
        if path is not None and not path.is_file():
            raise UsageError(f"There is no file {path}.")
    findings = lint_certificate(certificate.read_bytes(), key_pem=key.read_bytes() if key else None)
    failed = any(item.severity is Severity.ERROR for item in findings)
    if as_json:
        print_json({"accepted": not failed, "findings": findings})
    else:
        out = console()
        for item in findings:
            out.print(f"[bold]{item.severity}[/] {item.rule}: {_plain(item.message)}")
            out.print(f"    {_plain(item.fix)}")
        if not failed:
            out.print("This certificate can sign C2PA claims.")
    if failed:
        raise typer.Exit(1)


@app.command()
def show(as_json: Json = False) -> None:
    """Where the keys are, until when they are valid, what is trusted, what waits for a stamp."""
    from avsafe.home import Home
    from avsafe.provenance import keys, outbox
    from avsafe.provenance.lint import lint_certificate
    from avsafe.provenance.signer import certificates

    files = keys.KeyFiles(Home.default().keys)
    certificate: dict[str, Any] | None = None
    if files.chain.exists():
        leaf = certificates(files.chain.read_text())[0]
        certificate = {
            "subject": leaf.subject.rfc4514_string(),
            "issuer": leaf.issuer.rfc4514_string(),
            "algorithm": keys.algorithm_of(leaf),
            "valid_until": leaf.not_valid_after_utc.isoformat(),
            "findings": lint_certificate(files.chain.read_bytes()),
        }
    anchors = keys.trust_anchors(files.folder)
    trusted = [
        {
            "subject": item.subject.rfc4514_string(),
            "valid_until": item.not_valid_after_utc.isoformat(),
        }
        for item in (certificates(anchors) if anchors else [])
    ]
    waiting = outbox.waiting(files.folder)
    if as_json:
        print_json(
            {
                "folder": files.folder,
                "certificate": certificate,
                "trusted": trusted,
                "waiting_for_stamp": [_waiting(item) for item in waiting],
            }
        )
        return
    out = console()
    out.print(f"folder       {files.folder}")
    if certificate is None:
        out.print(
            "certificate  none yet: run `avsafe keys init`, or put chain.pem and signer.key there"
        )
    else:
        out.print(f"certificate  {_plain(certificate['subject'])} ({certificate['algorithm']})")
        out.print(f"valid until  {certificate['valid_until'][:10]}")
        for item in certificate["findings"]:
            out.print(f"             {item.severity}: {_plain(item.message)}")
    for anchor in trusted:
        out.print(f"trusts       {_plain(anchor['subject'])} (until {anchor['valid_until'][:10]})")
    if waiting:
        out.print(
            f"waiting      {len(waiting)} files have no time stamp; the first certificate expires "
            f"on {waiting[0].expires_at:%Y-%m-%d}. Run `avsafe keys stamp --tsa URL`."
        )


@trust_app.command("add")
def trust_add(
    certificate: Annotated[Path, typer.Argument(help="PEM file of one or more root certificates.")],
    as_json: Json = False,
) -> None:
    """Trust the root of another signer, or of a time stamp authority."""
    from avsafe.errors import UsageError
    from avsafe.home import Home
    from avsafe.provenance import keys

    if not certificate.is_file():
        raise UsageError(f"There is no file {certificate}.")
    added = keys.add_anchor(Home.default().ensure().keys, certificate.read_bytes())
    if as_json:
        print_json({"added": added})
        return
    for path in added:
        console().print(f"Trusted from now on: {path}. Remove that file to withdraw it.")


@app.command()
def stamp(
    tsa: Tsa,
    files: Annotated[
        list[Path] | None, typer.Argument(help="Signed files; without any, all that wait.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Time-stamp files that were signed without one, before their certificate expires.

    Only a hash of the signature is sent. The file's size and its manifest id stay; its SHA-256
    changes, which registry and ledger follow. Files that cannot be stamped are named, and keep
    waiting. Exit code 1 if there are any.
    """
    from avsafe.errors import AvsafeError
    from avsafe.home import Home
    from avsafe.provenance import keys, outbox
    from avsafe.provenance.stamp import stamp_file
    from avsafe.settlement import stamped

    home = Home.default()
    folder = home.keys
    anchors = keys.trust_anchors(folder)
    waiting = {item.path: item for item in outbox.waiting(folder)}
    rows: list[dict[str, Any]] = []
    for path in files or sorted(waiting):
        row: dict[str, Any] = {"path": path}
        try:
            done = stamp_file(path, tsa, anchors=anchors)
            row |= {
                "stamped": True,
                "changed": done.changed,
                "authority": done.authority,
                "stamped_at": done.stamped_at,
            }
            row["release_id"] = stamped(home, done.manifest_id, path) if done.changed else None
            record = waiting.get(path.resolve())
            if record is not None:
                outbox.done(record)
        except (AvsafeError, OSError) as error:
            row |= {"stamped": False, "error": str(error)}
        rows.append(row)
    if as_json:
        print_json(rows)
    else:
        out = console()
        for row in rows:
            said = f"stamped {row['stamped_at']}" if row["stamped"] else f"failed: {row['error']}"
            out.print(_plain(f"{row['path']}  {said}"))
        if not rows:
            out.print("Nothing waits for a time stamp.")
    if not all(row["stamped"] for row in rows):
        raise typer.Exit(1)


def _waiting(item: Waiting) -> dict[str, Any]:
    return {"path": item.path, "manifest_id": item.manifest_id, "before": item.expires_at}


def _plain(text: str) -> str:
    """Text that rich prints as it is: brackets in certificate names are no markup."""
    from rich.markup import escape

    return escape(text)
