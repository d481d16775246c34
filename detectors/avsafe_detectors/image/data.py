"""Real photographs and generated pictures, from packages and from the folder of media.

Every list was made by looking at each picture: photographs only, no renderings, no paintings.
``packages`` is a folder into which the Debian packages named here were unpacked (``dpkg -x``) or
the system root itself, and under ``py`` the PyPI packages (see PACKAGES).

Legend: a picture is (h, w, 3) uint8 RGB; its source is the photograph or the clip.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import UsageError
from avsafe_detectors.image.features import colour
from avsafe_detectors.image.judging import LEAST_COLOUR

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]
else:
    Picture = Any

log = logging.getLogger(__name__)
SIDE, FRAME_SIDE = 384, 288  # px of a training picture, of one from a film
PACKAGES = {
    "lomiri-wallpapers-16.04": "Debian, CC-BY-SA",
    "mate-backgrounds": "Debian, CC-BY-SA / GPL",
    "plasma-workspace-wallpapers": "Debian, CC-BY-SA / LGPL",
    "gcompris-qt-data": "Debian, GPL-3+ and CC-BY-SA",
    "opencv-doc": "Debian, Apache-2.0 / BSD",
    "scikit-image": "PyPI, BSD and public domain",
    "wand": "PyPI sdist, MIT",
    "thumbor": "PyPI sdist, MIT",
    "ultralytics": "PyPI, AGPL-3.0",
    "gradio": "PyPI, Apache-2.0",
}
HOW = (
    "apt-get install lomiri-wallpapers-16.04 mate-backgrounds plasma-workspace-wallpapers "
    "gcompris-qt-data opencv-doc (or apt-get download and dpkg -x into one folder); pip download "
    "--no-deps scikit-image ultralytics gradio and --no-binary :all: wand thumbor, unpacked below "
    "its folder py; then pass --packages FOLDER"
)
PHOTOS = Path(__file__).with_name("photos.txt")
_GCOMPRIS = (  # archives that hold photographs only
    "erase", "explore_farm_animals", "explore_monuments", "explore_world_animals",
    "explore_world_music", "clickgame",
)  # fmt: skip
_GCOMPRIS_DRAWN = ("lang", "babyshapes")
_ONE_SOURCE = ("grid_", "intel_asl_")  # one studio, one camera
FAMILIES = {  # file name prefix -> family of generator
    "synthetic_lumiere": "lumiere", "synthetic_loopy": "loopy", "cogvideox": "cogvideox",
    "lavie": "lavie", "sora": "sora", "synthetic_talking": "omnihuman",
}  # fmt: skip


@dataclass(frozen=True)
class Original:
    """One picture as found. ``group`` is the package, or the family of the generator."""

    name: str
    source: str
    group: str
    synthetic: bool
    picture: Picture
    video: bool = False


def photos(packages: Path) -> Iterator[Original]:
    """Real photographs, each a source. Raises UsageError when most of them are missing."""
    found = 0
    below = sorted(p for p in (packages / "py").rglob("*") if p.suffix in (".jpg", ".png"))
    for line in PHOTOS.read_text(encoding="utf-8").splitlines():
        group, _, place = line.partition(" ")
        if group == "#":
            continue
        path = packages / place
        if "*" in place:
            ending = place.partition("*")[2]
            path = next((p for p in below if p.as_posix().endswith(ending)), path)
        if not path.is_file():
            log.info("no %s", path)
            continue
        found += 1
        picture = read(path)
        if colour(picture) < LEAST_COLOUR:
            continue
        name = f"{group}/{path.parents[2].name if group == 'plasma' else path.stem}"
        yield Original(name, name, group, False, picture)
    for archive in _GCOMPRIS:
        for number, picture in enumerate(carved(_archive(packages, archive))):
            found += 1
            if colour(picture) < LEAST_COLOUR:
                continue
            name = f"gcompris/{archive}_{number}"
            yield Original(name, name, f"gcompris_{archive}", False, picture)
    if found < 100:
        raise UsageError(f"Only {found} photographs below {packages}. Install: {HOW}.")


def drawings(packages: Path) -> Iterator[Original]:
    """Drawn pictures: GCompris's, on white."""
    for archive in _GCOMPRIS_DRAWN:
        for number, picture in enumerate(carved(_archive(packages, archive))):
            yield Original(f"{archive}_{number}", f"{archive}_{number}", "drawn", False, picture)


def frames(media: Path, per_clip: int = 3) -> Iterator[Original]:
    """Frames of real and of generated clips, spread over each. Of all, the top eighth and the
    lowest sixth are cut off: generators' labels stand there (OmniHuman above; Lumiere, Loopy
    below), and what is cut off one class is cut off the other. Clips whose faces alone were altered
    are not among them."""
    for folder in ("real_general", "real_talking", "synthetic_lumiere", "synthetic_loopy",
                   "synthetic_other", "synthetic_talking"):  # fmt: skip
        for path in sorted((media / folder).glob("*.*")):
            real = folder.startswith("real")
            family = (
                folder if real else FAMILIES.get(folder, "") or FAMILIES[path.stem.split("_")[0]]
            )
            source = next((k for k in _ONE_SOURCE if path.stem.startswith(k)), path.stem)
            for number, frame in enumerate(spread(path, per_clip)):
                frame = frame[frame.shape[0] // 8 : frame.shape[0] * 5 // 6]
                if colour(frame) < LEAST_COLOUR:
                    continue
                yield Original(f"{path.stem}#{number}", source, family, not real, frame, True)


def spread(path: Path, count: int) -> list[Picture]:
    """``count`` frames at equal distances; the decoder stops at the last."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        total = stream.frames or int(
            float(container.duration or 3e6) / 1e6 * float(stream.average_rate or 25)
        )
        wanted = {int(total * (k + 0.5) / count) for k in range(count)}
        out = []
        for number, frame in enumerate(container.decode(stream)):
            if number in wanted:
                out.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
            if number >= max(wanted):
                break
    return out


def read(path: Path) -> Picture:
    """Any picture that Pillow reads, on white where it is transparent."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = 60_000_000
    with Image.open(path) as opened:
        return _flat(opened)


def _flat(opened: Any) -> Picture:
    from PIL import Image

    if opened.mode in ("RGBA", "LA", "P"):
        on = Image.new("RGBA", opened.size, (255, 255, 255, 255))
        opened = Image.alpha_composite(on, opened.convert("RGBA"))
    return np.asarray(opened.convert("RGB"))


def _archive(packages: Path, name: str) -> Path:
    path = packages / f"usr/share/gcompris-qt/rcc/{name}.rcc"
    if not path.is_file():
        raise UsageError(f"{path} is missing. Install: {HOW}.")
    return path


def carved(path: Path, least: int = 350) -> Iterator[Picture]:
    """The WebP pictures inside a Qt resource archive, those of ``least`` px at least, in order."""
    from PIL import Image, UnidentifiedImageError

    data = path.read_bytes()
    at = data.find(b"RIFF")
    while at >= 0:
        size = struct.unpack("<I", data[at + 4 : at + 8])[0] + 8
        after = at + 4
        if data[at + 8 : at + 12] == b"WEBP":
            try:
                with Image.open(BytesIO(data[at : at + size])) as opened:
                    picture = _flat(opened)
                after = at + size
                if min(picture.shape[:2]) >= least:
                    yield picture
            except (UnidentifiedImageError, OSError):
                pass
        at = data.find(b"RIFF", after)


# ---------------------------------------------------------------- training pictures


def crop(picture: Picture, rng: np.random.Generator, scale: float, side: int = SIDE) -> Picture:
    """A square of ``side`` px (or what there is, in multiples of 16) of the picture reduced by
    ``scale``, by area: what an earlier codec left shrinks with it."""
    import cv2

    h, w = picture.shape[:2]
    scale = min(1.0, max(scale, (side + 1) / min(h, w)))
    if scale < 1:
        size = (max(16, round(w * scale)), max(16, round(h * scale)))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    h, w = picture.shape[:2]
    rows, columns = min(side, h // 16 * 16), min(side, w // 16 * 16)
    y, x = int(rng.integers(0, h - rows + 1)), int(rng.integers(0, w - columns + 1))
    return np.ascontiguousarray(picture[y : y + rows, x : x + columns])
