"""The ``command`` generator: any program that writes a media file."""

from __future__ import annotations

import os
import stat
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from avsafe.errors import Cancelled as Stopped
from avsafe.errors import GeneratorFailed, UnreadableMedia, UsageError
from avsafe.types import (
    Cancelled,
    GenerationRequest,
    GeneratorInfo,
    Kind,
    Progress,
    RawMedia,
    Task,
    never_cancelled,
    no_progress,
)
from avsafe_generators.asking import OF_THE_GATE
from avsafe_generators.command import recipe as recipes
from avsafe_generators.command.recipe import Recipe
from avsafe_generators.command.template import fill
from avsafe_generators.kept import Kept

CONFIG_VARIABLE = "AVSAFE_COMMANDS"
_SUFFIX = {Task.TEXT_TO_IMAGE: ".png", Task.TEXT_TO_SPEECH: ".wav"}
_KINDS: dict[Task, tuple[Kind, ...]] = {
    Task.TEXT_TO_IMAGE: (Kind.IMAGE,),
    Task.TEXT_TO_SPEECH: (Kind.AUDIO,),
    Task.VIDEO_TO_AUDIO: (Kind.VIDEO, Kind.AUDIO),
}
_ROLES = {
    "image": ("image", "portrait"),
    "audio": ("audio", "voice"),
    "video": ("video",),
    "mask": ("mask",),
}


class Command:
    """Runs a program and hands on what it wrote. The program is *not* confined: it has the rights
    of this user, within the limits of its recipe. Wrap argv in a container where that is too much.

    Which program runs, in this order:

    1. ``Command(recipe)``: that one, for an administrator's own entry point.
    2. ``$AVSAFE_COMMANDS`` names a TOML file: only the commands in it; a request picks ``name``.
    3. Otherwise the request brings ``argv``, or ``recipe`` (one of those that come with avsafe),
       ``checkout`` and ``python``, or ``config`` and ``name``. Only for a local user: who may send
       a request then runs any program as this user. A server sets ``$AVSAFE_COMMANDS``.

    Raises UsageError (template, parameters, missing input), MissingExtra (no such program),
    GeneratorFailed (it failed, took too long, or wrote nothing readable), Cancelled.
    """

    needs = ("a program of yours",)  # for a listing

    def __init__(self, recipe: Recipe | None = None) -> None:
        self._recipe = recipe

    @classmethod
    def from_file(cls, path: Path, name: str) -> Command:
        """A generator of its own out of one command of a TOML file, with its licence for the
        policy."""
        return cls(recipes.from_file(path, name))

    @property
    def info(self) -> GeneratorInfo:
        recipe = self._recipe or Recipe(argv=("unset",))
        return GeneratorInfo(
            name=recipe.name,
            version=recipe.version,
            tasks=recipe.tasks,
            kind=Kind.VIDEO,
            licence=recipe.licence,
            commercial_ok=recipe.commercial_ok,
            territory=recipe.territory,
            realism=recipe.realism,
            max_duration_s=3600.0,
            max_pixels=4096 * 2304,
            controls=tuple(sorted(recipes.OF_A_REQUEST | {"config", "name"})),
            summary="Runs a program of yours that writes a media file; not confined.",
            card="cards/command.md",
        )

    def recipes(self) -> tuple[Mapping[str, Any], ...]:
        """The command lines of known systems that come with avsafe, for a listing."""
        from avsafe_generators.command import shipped

        return shipped.described()

    def generate(
        self,
        request: GenerationRequest,
        *,
        progress: Progress = no_progress,
        cancelled: Cancelled = never_cancelled,
    ) -> RawMedia:
        from avsafe_generators.command import runner

        recipe = self._choose(request.parameters)
        if request.task not in recipe.tasks:
            tasks = ", ".join(recipe.tasks)
            raise UsageError(
                f"The command {recipe.name} is not for {request.task} (it is for: {tasks})."
            )
        if cancelled():
            raise Stopped(f"{recipe.name} was asked to stop before it began.")
        progress(0.0, f"starting {recipe.name}")
        workspace = _Workspace()
        suffix = recipe.suffix or _SUFFIX.get(request.task, ".mp4")
        output = workspace.work / f"output{suffix}"
        argv = fill(recipe.argv, _values(request, recipe, workspace, output))
        runner.run(recipe, argv, workspace.work, progress=progress, cancelled=cancelled)
        kept = workspace.keep(workspace.output_of(recipe, output), recipe.argv[0])
        progress(0.96, "reading the output")
        raw = _decode(kept, recipe.argv[0], request.task)
        progress(1.0, "done")
        return _held(raw, workspace, recipe, cancelled)

    def _choose(self, parameters: Mapping[str, Any]) -> Recipe:
        given = {key: value for key, value in parameters.items() if key not in OF_THE_GATE}
        if self._recipe is not None:
            _refuse(given, frozenset(), f"The command {self._recipe.name} takes no parameters")
            return self._recipe
        fixed = os.environ.get(CONFIG_VARIABLE)
        if fixed:
            _refuse(
                given,
                frozenset(("name",)),
                f"${CONFIG_VARIABLE} fixes the commands; only name= is open",
            )
            return recipes.from_file(Path(fixed), _text(given, "name"))
        if "config" in given:
            _refuse(given, frozenset(("config", "name")), "With config= only name= is open")
            return recipes.from_file(
                Path(_text(given, "config")).expanduser(), _text(given, "name")
            )
        _refuse(given, recipes.OF_A_REQUEST, f"Known: {', '.join(sorted(recipes.OF_A_REQUEST))}")
        return recipes.from_parameters(given)


def _refuse(given: Mapping[str, Any], known: frozenset[str], hint: str) -> None:
    unknown = sorted(set(given) - known)
    if unknown:
        raise UsageError(f"The command generator can't take {', '.join(unknown)} here. {hint}.")


def _text(given: Mapping[str, Any], key: str) -> str:
    value = given.get(key)
    if not isinstance(value, str) or not value:
        raise UsageError(f"Give --param {key}=..., which says what to run.")
    return value


def _values(
    request: GenerationRequest, recipe: Recipe, workspace: _Workspace, output: Path
) -> dict[str, str | None]:
    """What each placeholder stands for; None where the request has nothing."""
    values: dict[str, str | None] = {
        "prompt": request.prompt or None,
        "negative_prompt": request.negative_prompt,
        "seed": str(request.seed),
        "width": None if request.width is None else str(request.width),
        "height": None if request.height is None else str(request.height),
        "duration": _duration(request),
        "output": str(output),
        "output_dir": str(workspace.out),
    }
    for name, roles in _ROLES.items():
        paths = [item.media.path.resolve() for item in request.inputs if item.role in roles]
        if paths and recipe.link_inputs:
            paths = [workspace.link(name, paths[0])]
        values[name] = str(paths[0]) if paths else None
    if any("{prompt_file}" in element for element in recipe.argv):
        values["prompt_file"] = (
            str(workspace.write_prompt(request.prompt)) if request.prompt else None
        )
    missing = {name: text for name, text in recipe.defaults.items() if values.get(name) is None}
    return values | missing


def _duration(request: GenerationRequest) -> str | None:
    """What was asked for; else the length of the video, or sound, that goes in."""
    if request.duration_s is not None:
        return f"{request.duration_s:g}"
    for role in ("video", "audio", "voice"):
        for item in request.inputs:
            if item.role == role and item.media.duration_s is not None:
                return f"{item.media.duration_s:g}"
    return None


class _Workspace:
    """A private folder that lives as long as somebody can still read the media from it."""

    def __init__(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="avsafe-command-", ignore_cleanup_errors=True)
        self.root = Path(folder.name)  # 0700
        self.work = self.root / "work"
        self.work.mkdir(mode=0o700)
        self.out = self.work / "out"
        self.out.mkdir(mode=0o700)
        self._end = weakref.finalize(self, folder.cleanup)

    def write_prompt(self, prompt: str) -> Path:
        path = self.work / "prompt.txt"
        path.write_text(prompt, encoding="utf-8", errors="replace")
        return path

    def link(self, name: str, path: Path) -> Path:
        """A link to an input under a name of ours; what is written beside it goes with the run."""
        folder = self.work / "inputs"
        folder.mkdir(mode=0o700, exist_ok=True)
        link = folder / f"{name}{path.suffix.lower()}"
        link.symlink_to(path)
        return link

    def output_of(self, recipe: Recipe, output: Path) -> Path:
        """The file that the program was told to write, or the one it named itself."""
        if recipe.take is None:
            return output
        name = os.path.basename(recipe.argv[0])
        self._refuse_moved(self.out, name)
        there = sorted(item.name for item in self.out.iterdir())
        found = [n for n in there if fnmatch(n, recipe.take) and not fnmatch(n, recipe.leave)]
        if len(found) != 1:
            what = "several files" if found else "no file"
            shown = ", ".join("".join(c for c in n if c.isprintable()) for n in there[:8])
            raise GeneratorFailed(
                f"{name} ended well but left {what} like {recipe.take} in its output folder "
                f"(it holds: {shown or 'nothing'})."
            )
        return self.out / found[0]

    def _refuse_moved(self, folder: Path, name: str) -> None:
        """A link in place of a folder would have us move files of the user's from elsewhere."""
        real = os.path.join(os.path.realpath(self.root), folder.relative_to(self.root))
        if os.path.realpath(folder) != real or not folder.is_dir():
            raise GeneratorFailed(f"{name} put something else in place of its output folder.")

    def keep(self, output: Path, program: str) -> Path:
        """Move the output out of the program's reach, and drop everything else it left."""
        import shutil

        name = os.path.basename(program)
        self._refuse_moved(output.parent, name)
        try:
            status = output.lstat()
        except FileNotFoundError:
            raise GeneratorFailed(
                f"{name} ended well but wrote no {output.name}. Does its template pass {{output}} "
                "the way the program expects?"
            ) from None
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise GeneratorFailed(
                f"{name} left {output.name} as a link or special file, not a file."
            )
        if status.st_size == 0:
            raise GeneratorFailed(f"{name} ended well but its {output.name} is empty.")
        kept = self.root / f"output{output.suffix}"
        os.rename(output, kept)
        shutil.rmtree(self.work, ignore_errors=True)
        return kept


def _decode(path: Path, program: str, task: Task) -> RawMedia:
    from avsafe import media

    name = os.path.basename(program)
    try:
        raw = media.decode(path)
    except UnreadableMedia as error:
        raise GeneratorFailed(
            f"{name} wrote a file that can't be read as media: {error}"
        ) from error
    wanted = _KINDS.get(task, (Kind.VIDEO,))
    if raw.kind not in wanted:
        kinds = " or ".join(wanted)
        raise GeneratorFailed(f"{name} wrote {raw.kind}, but {task} needs {kinds}.")
    return raw


def _held(raw: RawMedia, workspace: _Workspace, recipe: Recipe, cancelled: Cancelled) -> RawMedia:
    """The same media, which keeps its file alive and reports a bad one as the program's fault."""
    name = os.path.basename(recipe.argv[0])
    details = {**raw.details, "program": name}
    return replace(
        raw,
        frames=None if raw.frames is None else Kept(raw.frames, workspace, name, cancelled),
        samples=None if raw.samples is None else Kept(raw.samples, workspace, name, cancelled),
        details=details,
    )
