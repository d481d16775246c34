"""Argument templates: text goes into one argument, never through a shell.

``{prompt}`` and its like stand inside an element of the argument list; what is put in is not looked
at again. ``{{`` and ``}}`` are literal braces.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence

from avsafe.errors import UsageError

# Free text from whoever asks; the others are numbers and paths that avsafe makes.
TEXT = frozenset(("prompt", "negative_prompt"))
PLACEHOLDERS = TEXT | {
    "prompt_file", "seed", "width", "height", "duration", "image", "audio", "video", "mask",
    "output", "output_dir",
}  # fmt: skip
MAX_TEXT_BYTES = 100_000  # Linux takes 131,072 bytes in one argument
_TOKEN = re.compile(r"\{\{|\}\}|\{([a-z_]+)\}|[{}]")
# Programs that run code given after these flags: text put there would be code.
_RUNS_CODE = re.compile(
    r"(ba|da|z|k|fi|c|tc|a)?sh|python[0-9.]*|pypy[0-9.]*|perl|ruby|node|nodejs|deno|bun|lua|php|awk|"
    r"gawk|mawk|sed|osascript|pwsh|Rscript|xargs|eval|ssh|su"
)
_CODE_FLAG = re.compile(
    r"-[A-Za-z]*[ceEprR]|--(command|eval|execute|print|expression|run|exec)(=.*)?"
)


def parse_argv(value: object) -> tuple[str, ...]:
    """An argument list from a list of strings or from one shell-like string. No shell runs it.

    Raises UsageError when it is empty, isn't text, names an unknown placeholder, lacks ``{output}``
    or ``{output_dir}``, takes the program itself from a placeholder, or would put a prompt into
    code.

    >>> parse_argv("make-video --prompt={prompt} -o {output}")
    ('make-video', '--prompt={prompt}', '-o', '{output}')
    """
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError as error:
            raise UsageError(
                f"The argv template can't be split into arguments: {error}."
            ) from error
    if not isinstance(value, Sequence) or not value or not all(isinstance(v, str) for v in value):
        raise UsageError(
            "argv must be a list of strings or one string, for example "
            "'make-video --prompt={prompt} -o {output}'."
        )
    argv = tuple(value)
    if any("\0" in element for element in argv):
        raise UsageError("The argv template holds a NUL character.")
    used = [names(element) for element in argv]
    if used[0]:
        raise UsageError("The program (first element of argv) can't come from a placeholder.")
    if not frozenset().union(*used) & {"output", "output_dir"}:
        raise UsageError(
            "The argv template has no {output}: the program must be told where to write."
        )
    _refuse_code(argv, used)
    return argv


def names(element: str) -> frozenset[str]:
    """The placeholders of one element. Raises UsageError for an unknown one or a lone brace."""
    found = set()
    for match in _TOKEN.finditer(element):
        name = match.group(1)
        if name in PLACEHOLDERS:
            found.add(name)
        elif name is not None or match.group() in ("{", "}"):
            known = ", ".join(sorted(PLACEHOLDERS))
            raise UsageError(
                f"Unknown placeholder in {element!r}. Known: {known}. "
                "Write {{ or }} for a brace."
            )
    return frozenset(found)


def _refuse_code(argv: Sequence[str], used: Sequence[frozenset[str]]) -> None:
    """``sh -c 'make {prompt}'`` would make the prompt a part of a program."""
    runs_code = any(_RUNS_CODE.fullmatch(os.path.basename(element)) for element in argv)
    for position, element in enumerate(argv):
        if not used[position] & TEXT or not runs_code:
            continue
        after_flag = position > 0 and _CODE_FLAG.fullmatch(argv[position - 1])
        in_flag = not element.startswith("--") and _CODE_FLAG.match(element)
        if after_flag or in_flag or _is_script(argv, position):
            raise UsageError(
                f"{element!r} puts the prompt into code that {argv[0]} runs. Pass it as an "
                "argument of its own (sh -c 'make-video \"$1\"' sh {prompt}) or as a file "
                "({prompt_file})."
            )


def _is_script(argv: Sequence[str], position: int) -> bool:
    """awk, sed, xargs, ssh and su take code as a plain argument: no text of a prompt there."""
    tools = ("awk", "gawk", "mawk", "sed", "xargs", "ssh", "su", "eval")
    return any(os.path.basename(element) in tools for element in argv[:position])


def fill(argv: Sequence[str], values: Mapping[str, str | None]) -> list[str]:
    """Put the values in; each stays inside its element and is not scanned again.

    Raises UsageError for a value that the request doesn't have, for text with a NUL character or
    too long for an argument, and for text that would be read as an option.

    >>> fill(["say", "--text={prompt}", "{{}}"], {"prompt": "{seed} $(x)"})
    ['say', '--text={seed} $(x)', '{}']
    """
    return [_fill_one(element, values) for element in argv]


def _fill_one(element: str, values: Mapping[str, str | None]) -> str:
    def value_of(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return match.group()[0]
        value = values.get(name)
        if value is None:
            raise UsageError(
                f"The argv template uses {{{name}}}, but the request has none. {_HOW[name]}"
            )
        if name in TEXT:
            _check_text(name, value)
            if match.start() == 0 and value.startswith("-"):
                raise UsageError(
                    f"The {name} begins with '-', and {element!r} would let the program read it as "
                    f"an option. Write --option={{{name}}} in the template, or use {{prompt_file}}."
                )
        return value

    return _TOKEN.sub(value_of, element)


def _check_text(name: str, value: str) -> None:
    if "\0" in value:
        raise UsageError(f"The {name} holds a NUL character, which no program can be given.")
    size = len(value.encode("utf-8", "surrogatepass"))
    if size > MAX_TEXT_BYTES:
        raise UsageError(
            f"The {name} is {size} bytes long; an argument holds at most {MAX_TEXT_BYTES}. "
            "Use {prompt_file} in the template."
        )


_HOW = {
    "prompt": "Give a prompt.",
    "negative_prompt": "Give a negative prompt.",
    "prompt_file": "Give a prompt.",
    "seed": "Give a seed.",
    "width": "Give a size, for example 512x512.",
    "height": "Give a size, for example 512x512.",
    "duration": "Give a duration in seconds.",
    "image": "Give an input in the role image or portrait.",
    "audio": "Give an input in the role audio or voice.",
    "video": "Give an input in the role video.",
    "mask": "Give an input in the role mask.",
    "output": "",
    "output_dir": "",
}
