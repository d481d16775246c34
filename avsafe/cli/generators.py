"""``avsafe generators``: what can generate here, on which terms, and what each needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avsafe.cli.shell import Json, console, print_json, shown

if TYPE_CHECKING:
    from avsafe.types import Generator, GeneratorInfo

app = typer.Typer(
    help="What can generate here: tasks, licences, needs, cards and recipes.",
    no_args_is_help=True,
)
_PACKAGE = "package "  # a need that begins so names a package that Python must find
# Of an installed plugin that may fail in any way: a list must not fall with one of its lines.
_BROKEN = Exception


@dataclass(frozen=True)
class Listed:
    """One registered generator as it is here: its info, or why it has none."""

    name: str
    info: GeneratorInfo | None = None
    needs: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()  # of the needs, those that are known not to be here
    recipes: tuple[Mapping[str, Any], ...] = ()
    card: str | None = None
    voices: Mapping[str, str] = field(default_factory=dict)  # name -> what it is, where it speaks
    error: str | None = None

    def as_json(self, *, whole: bool) -> dict[str, Any]:
        if self.info is None:
            return {"name": self.name, "error": self.error}
        body = {**asdict(self.info), "name": self.name, "needs": self.needs}
        body |= {"missing": self.missing, "recipes": [item["name"] for item in self.recipes]}
        if whole:
            body |= {"card_text": self.card, "recipes": list(self.recipes)}
            body |= {"voices": dict(self.voices)} if self.voices else {}
        return body


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List every registered generator: what it does, on which terms, what it needs.

    One that can't be loaded is listed with the reason.
    """
    found = list(examine())
    if as_json:
        print_json([item.as_json(whole=False) for item in found])
        return
    from rich.table import Table

    table = Table("generator", "does", "terms", "needs", show_lines=True)
    table.columns[0].no_wrap = True
    for item in found:
        table.add_row(shown(item.name), *_cells(item))
    console().print(table)
    names = [recipe["name"] for item in found for recipe in item.recipes]
    if names:
        console(stderr=True).print(f"recipes of the command generator: {', '.join(names)}")
    console(stderr=True).print("more of one: avsafe generators show NAME")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A generator, or a recipe of one.")],
    as_json: Json = False,
) -> None:
    """Show all that is known of one generator, with its card; or how to set up a recipe."""
    from avsafe import plugins
    from avsafe.errors import UsageError

    if name in plugins.catalogue("generators"):
        item = examine_one(name)
        if as_json:
            print_json(item.as_json(whole=True))
        else:
            _print_generator(item)
        return
    found = list(examine())
    for item in found:
        for recipe in item.recipes:
            if recipe["name"] == name:
                if as_json:
                    print_json({"generator": item.name, **recipe})
                else:
                    _print_recipe(item.name, recipe)
                return
    recipes = [recipe["name"] for item in found for recipe in item.recipes]
    raise UsageError(
        f"There is no generator or recipe {name!r} (generators: "
        f"{', '.join(item.name for item in found)}; recipes: {', '.join(recipes) or 'none'})."
    )


def examine() -> Iterator[Listed]:
    """Every registered generator, in the order of names."""
    from avsafe import plugins

    for name in plugins.catalogue("generators"):
        yield examine_one(name)


def examine_one(name: str) -> Listed:
    """One registered generator; whatever it raises becomes its ``error``."""
    from avsafe import plugins

    try:
        generator: Generator = plugins.load("generators", name)
        info = generator.info
        needs = tuple(str(need) for need in getattr(generator, "needs", ()))
        recipes = tuple(generator.recipes()) if hasattr(generator, "recipes") else ()
        voices = _voices(generator)
    except _BROKEN as error:
        kind = "" if type(error).__module__ == "avsafe.errors" else f"{type(error).__name__}: "
        return Listed(name, error=f"{kind}{error}")
    packages = [need.removeprefix(_PACKAGE) for need in needs if need.startswith(_PACKAGE)]
    missing = tuple(package for package in packages if not _installed(package))
    return Listed(name, info, needs, missing, recipes, _card(generator, info), voices)


def _voices(generator: Generator) -> Mapping[str, str]:
    """The voices that it lists; none where its program is not here."""
    from avsafe.errors import MissingExtra

    try:
        return dict(generator.voices()) if hasattr(generator, "voices") else {}
    except MissingExtra:
        return {}


def _installed(package: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _card(generator: Generator, info: GeneratorInfo) -> str | None:
    """The text of the card: a file inside the top-level package of the plugin."""
    from importlib.resources import files

    path = PurePosixPath(info.card)
    if not info.card or path.is_absolute() or ".." in path.parts:
        return None
    try:
        package = files(type(generator).__module__.partition(".")[0])
        return package.joinpath(*path.parts).read_text(encoding="utf-8")
    except (OSError, ImportError, TypeError, UnicodeDecodeError):
        return None


# ---------------------------------------------------------------- for a person


def _cells(item: Listed) -> tuple[str, str, str]:
    if item.info is None:
        return f"[red]can't be loaded[/]: {shown(item.error or '')}", "", ""
    info = item.info
    does = f"{shown(', '.join(info.tasks))}\n[dim]{shown(info.summary)}[/]"
    use = "commercial use" if info.commercial_ok else "[yellow]no commercial use[/]"
    terms = f"{shown(info.licence)}\n{use}, {shown(info.territory)}\n{shown(info.realism)}"
    return does, terms, _needs(item)


def _needs(item: Listed) -> str:
    said = []
    for need in item.needs:
        package = need.removeprefix(_PACKAGE)
        absent = need.startswith(_PACKAGE) and package in item.missing
        said.append(f"[red]{shown(package)} (not installed)[/]" if absent else shown(package))
    return "\n".join(said) or "nothing more"


def _print_generator(item: Listed) -> None:
    out = console()
    if item.info is None:
        out.print(f"{shown(item.name)} can't be loaded: {shown(item.error or '')}")
        raise typer.Exit(1)
    info = item.info
    rows = {
        "generator": f"{item.name}, version {info.version}",
        "summary": info.summary,
        "tasks": ", ".join(info.tasks),
        "licence": info.licence,
        "commercial use": "yes" if info.commercial_ok else "not allowed, or not known",
        "territory": info.territory,
        "realism": info.realism,
        "needs": ", ".join(need.removeprefix(_PACKAGE) for need in item.needs) or "nothing more",
        "not installed": ", ".join(item.missing),
        "at most": f"{info.max_duration_s:g} s, {info.max_pixels} pixels a frame",
        "declared source": info.digital_source_type,
        "parameters": ", ".join(info.controls),
        "recipes": ", ".join(recipe["name"] for recipe in item.recipes),
        "voices": ", ".join(item.voices),
    }
    _print_rows(rows)
    if item.card is None:
        out.print(f"\nIt has no card{f' (not found: {shown(info.card)})' if info.card else ''}.")
    else:
        _print_card(item.card)


def _print_recipe(generator: str, recipe: Mapping[str, Any]) -> None:
    rows = {
        "recipe": f"{recipe['name']} (of the generator {generator})",
        "summary": recipe.get("summary", ""),
        "tasks": ", ".join(recipe.get("tasks", ())),
        "licence": recipe.get("licence", ""),
        "commercial use": "yes" if recipe.get("commercial_ok") else "not allowed, or not known",
        "territory": recipe.get("territory", ""),
        "realism": recipe.get("realism", ""),
        "limits": recipe.get("limits", ""),
        "from": f"{recipe.get('url', '')} ({recipe.get('read', '')})",
        "it types": " ".join(recipe.get("argv", ())),
    }
    _print_rows(rows)
    out = console()
    out.print("\nTo set it up:\n")
    for line in str(recipe.get("setup", "")).strip().splitlines():
        out.print(f"    {_printable(line)}", markup=False)


def _print_rows(rows: Mapping[str, str]) -> None:
    out = console()
    for name, value in rows.items():
        if value:
            out.print(f"{name:>16}  {_printable(value)}", markup=False)


def _printable(text: str) -> str:
    """Text of a plugin for a terminal, printed without markup: no control characters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _print_card(text: str) -> None:
    """As Markdown on a terminal; as it is where something else reads it."""
    import sys

    out = console()
    if not sys.stdout.isatty():
        out.print("\n" + "\n".join(map(_printable, text.splitlines())), markup=False)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    out.print()
    Console(highlight=False).print(Markdown(text))
