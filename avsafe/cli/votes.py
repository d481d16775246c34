"""``avsafe bench vote``: people choose between two clips; docs/bench-votes.md."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avsafe.cli.shell import Json, console, print_json, print_lines, shown

app = typer.Typer(
    help="Human votes: blind pairs of clips, one winner with reasons.", no_args_is_help=True
)
_Ballot = Annotated[Path, typer.Argument(metavar="DIR", help="The folder that `make` wrote.")]


@app.command()
def make(
    systems: Annotated[
        list[str],
        typer.Argument(metavar="NAME=DIR...", help="Two systems or more; clips named by item."),
    ],
    out: Annotated[Path, typer.Option(help="Where the ballot goes; the key stays beside it.")],
    suite: Annotated[
        str | None, typer.Option(help="Whose prompts are shown, and whose clusters count.")
    ] = None,
    criterion: Annotated[
        list[str] | None, typer.Option(help="quality, faithfulness...; repeat.")
    ] = None,
    raters: Annotated[int, typer.Option(min=1, help="How many people vote.")] = 3,
    votes: Annotated[int, typer.Option(min=1, help="Votes for each pair.")] = 3,
    items: Annotated[int | None, typer.Option(min=1, help="So many items; else all.")] = None,
    repeats: Annotated[
        float, typer.Option(min=0, max=1, help="Share of pairs shown twice, sides swapped.")
    ] = 0.1,
    checks: Annotated[
        int, typer.Option(min=0, help="Pairs with a known answer, for each criterion.")
    ] = 2,
    seed: Annotated[str | None, typer.Option(help="Another order: any text.")] = None,
    as_json: Json = False,
) -> None:
    """Make a ballot: a page and blind clips for raters, and a key that stays with you."""
    from avsafe.bench import suitefile
    from avsafe.bench import votes as voting

    asked = suitefile.load(suite).items if suite else ()
    made = voting.make(
        out,
        voting.folders(systems),
        texts={item.item_id: item.prompt for item in asked},
        clusters={item.item_id: item.cluster for item in asked},
        criteria=tuple(criterion) if criterion else ("quality", "faithfulness"),
        raters=raters,
        votes=votes,
        items=items,
        repeats=repeats,
        checks=checks,
        seed=seed,
    )
    if as_json:
        print_json(made)
        return
    for name, value in made.items():
        console().print(f"{shown(name)}: {shown(str(value))}")
    console().print(f"next: avsafe bench vote serve {shown(str(out))}")


@app.command()
def serve(
    folder: _Ballot,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 0,
) -> None:
    """Show the ballot to raters on this machine alone; votes go to DIR/votes.jsonl."""
    from avsafe.bench import votes as voting

    server = voting.serve(folder, port=port)
    console().print(f"http://127.0.0.1:{server.server_port}/?rater=1   (Ctrl-C ends)")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        console(stderr=True).print("ended")
    finally:
        server.server_close()


@app.command()
def tally(
    folder: _Ballot,
    votes: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[VOTES.jsonl]...", help="Files of votes; else DIR/votes.jsonl."),
    ] = None,
    min_checks: Annotated[
        float,
        typer.Option(min=0, max=1, help="Raters below this share of right checks do not count."),
    ] = 0.8,
    report: Annotated[
        Path | None, typer.Option(help="A run's folder, whose page then shows the votes.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Count the votes: win rates with intervals, agreement of raters, sides, reasons."""
    from avsafe.bench import votes as voting

    found = voting.write_tally(folder, votes or (), min_checks=min_checks, report=report)
    if report is not None:
        from avsafe.bench.report import scores_page

        scores_page.write(report)
    if as_json:
        print_json(found)
    else:
        print_lines(voting.as_text(found))
