"""What an answer depends on beside the file: code, detectors, keys. Another state is another run,
and a machine in another state must not take part in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from avsafe import panel
from avsafe.home import DATABASE_VARIABLE, Home, database_shown, database_url
from avsafe.sharding import code, nodes
from avsafe.sharding.rows import code_hash
from avsafe.workspace import Lookup

_HERE = Path(__file__).parents[1]
_MODULES = ("verify", "findings", "panel", "fusion", "calibration", "pipeline")
_FOLDERS = ("media", "watermark", "provenance", "registry")
_LIBRARIES = ("av", "c2pa-python", "numpy", "opencv-python-headless")


def of(home: Home, detectors: Sequence[str], *, credential_only: bool) -> dict[str, str]:
    """What it is -> its version, or twelve letters. Raises UsageError for an unknown detector."""
    lookup = Lookup(home)
    heard = panel.convene(detectors, home)
    files = {_HERE / f"{name}.py" for name in _MODULES}
    files |= {file for name in _FOLDERS for file in code.beside(_HERE / name)}
    for one in heard.detectors.values():
        files |= code.of_detector(one)
    settings = {
        "detectors": {n: code.weights_of_detector(d) for n, d in heard.detectors.items()},
        "missing": {name: str(why) for name, why in heard.missing.items()},
        "named": sorted(heard.named),
        "credential_only": credential_only,
        "libraries": {name: _version(name) for name in _LIBRARIES},
    }
    return {
        "avsafe": nodes.installed(),
        "its code and detectors": code_hash(files, settings),
        "trusted roots": _digest(lookup.anchors.encode(), lookup.own_anchors.encode()),
        "watermark keys": _digest(*lookup.watermark_keys),
    }


def of_machine(
    home: Path, detectors: tuple[str, ...], credential_only: bool, samples: tuple[Path, ...]
) -> dict[str, str]:
    """``of`` as another machine finds it, with what else it needs: the database and the files."""
    found = of(Home(home), detectors, credential_only=credential_only)
    return found | {"the database": _database(Home(home))} | nodes.seen(samples)


def _database(home: Home) -> str:
    url = database_url()
    shown = f"{DATABASE_VARIABLE} {database_shown(url)}" if url else "a file of the state folder"
    try:
        with Lookup(home).registry() as registry:
            return shown if registry else f"{shown}, empty"
    except Exception as error:  # whatever a driver raises; its message may name a password
        return f"{shown}, cannot be opened ({type(error).__name__})"


def _digest(*parts: bytes) -> str:
    """Of a random key nobody learns anything from it."""
    each = b"".join(sha256(part).digest() for part in parts)
    return sha256(each).hexdigest()[:12] if any(parts) else "none"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
