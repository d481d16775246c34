"""The command line: a thin shell over the same calls that Python users make.

Nothing here is imported at top level but typer: ``avsafe verify`` must start fast.
"""

from __future__ import annotations

import os
import sys

import typer

from avsafe.cli import (
    bench,
    consent,
    detectors,
    generators,
    keys,
    ledger,
    media,
    objects,
    policy,
    registry,
    serve,
    state,
    system,
    users,
)
from avsafe.cli.gallery.command import gallery
from avsafe.cli.shell import report_error

app = typer.Typer(
    name="avsafe",
    help="Gate, mark, sign, measure and verify generated audio and video.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",  # paragraphs of help texts are filled to the terminal
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
media.register(app)
system.register(app)
serve.register(app)
state.register(app)
app.command("gallery")(gallery)
app.add_typer(keys.app, name="keys")
app.add_typer(policy.app, name="policy")
app.add_typer(consent.app, name="consent")
app.add_typer(ledger.app, name="ledger")
app.add_typer(registry.app, name="registry")
app.add_typer(bench.app, name="bench")
app.add_typer(generators.app, name="generators")
app.add_typer(detectors.app, name="detectors")
app.add_typer(users.app, name="users")
app.add_typer(objects.app, name="objects")


def main() -> None:
    """Entry point. Errors of avsafe, and of the system (no space, no permission), become one line
    on stderr and their exit code."""
    from avsafe.errors import AvsafeError

    # Our matrices are small: with more threads OpenBLAS spins, eight times the CPU time measured
    # for a talking head. Read when numpy is first imported, which no command has done yet.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        app()
    except (AvsafeError, OSError) as error:
        sys.exit(report_error(error, as_json="--json" in sys.argv))
