"""``python -m avsafe_generators.train NAME [options]``: rebuild the weights of one generator."""

from __future__ import annotations

import sys
from importlib import import_module
from pkgutil import iter_modules

import avsafe_generators.train as package


def names() -> list[str]:
    """The models that can be trained here.

    >>> "two-stage" in names()
    True
    """
    return sorted(
        m.name.replace("_", "-") for m in iter_modules(package.__path__) if m.name[0] != "_"
    )


def main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help") or argv[0] not in names():
        print(f"usage: python -m avsafe_generators.train NAME [--help]\nNAME: {', '.join(names())}")
        return 0 if argv and argv[0] in ("-h", "--help") else 2
    import_module(f"avsafe_generators.train.{argv[0].replace('-', '_')}").main(argv[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
