"""Pictures to train the picture classes on: from Debian packages, rendered here, and --media.

Legend: a picture is (h, w, 3) uint8 RGB. Its *source* is the package, or the film, or the program
that drew it; all of a source stands in one fold. No picture is kept: only its numbers are.
"""

from __future__ import annotations

import io
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import UsageError

if TYPE_CHECKING:
    from avsafe.types import Frame
else:
    Frame = Any

PACKAGES = (
    "endless-sky-data", "tuxpaint-data", "tuxpaint-stamps-default", "mate-backgrounds",
    "lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04", "plasma-workspace-wallpapers",
    "ukui-wallpapers", "sway-backgrounds", "opencv-doc", "openclipart-png", "kgeography-data",
    "supertux-data", "wesnoth-1.16-data", "hedgewars-data", "freeciv-data", "pingus-data",
    "frozen-bubble-data", "adwaita-icon-theme-full", "gimp-help-en",
    "gnome-user-docs", "lincity-ng-data", "povray", "povray-includes", "povray-examples",
    "chromium",
)  # fmt: skip
_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}
_LEAST = 96  # pixels of the shorter side


@dataclass(frozen=True)
class Shown:
    """One picture: ``open`` gives it. ``label`` is a class of ``classes.PICTURES``; ``unit`` names
    the file, and the frame after a "#"."""

    unit: str
    source: str
    label: str
    open: Callable[[], Frame]


# (label, source, folder below usr/share, pattern, most, alpha over a backdrop)
_FOLDERS: tuple[tuple[str, str, str, str, int], ...] = (
    ("photo", "endless-sky land", "games/endless-sky/images/land", "*.jpg", 200),
    ("photo", "tuxpaint templates", "tuxpaint/templates", "*.jpg", 60),
    ("photo", "mate nature", "backgrounds/mate/nature", "*.jpg", 60),
    ("drawn", "openclipart", "openclipart/png", "**/*.png", 180),
    ("drawn", "kgeography", "kgeography", "**/*.png", 90),
    ("drawn", "supertux", "games/supertux2/images", "**/*.png", 100),
    ("drawn", "wesnoth portraits", "games/wesnoth/1.16", "**/portraits/**/*.png", 100),
    ("drawn", "wesnoth story", "games/wesnoth/1.16", "**/story/*.jpg", 60),
    ("drawn", "hedgewars", "games/hedgewars/Data/Themes", "**/*.png", 120),
    ("drawn", "tuxpaint starters", "tuxpaint/starters", "*.png", 60),
    ("drawn", "tuxpaint cartoon stamps", "tuxpaint/stamps", "**/cartoon/*.png", 120),
    ("drawn", "freeciv", "games/freeciv", "**/*.png", 60),
    ("drawn", "pingus", "games/pingus/data/images", "**/*.png", 80),
    ("drawn", "frozen-bubble", "games/frozen-bubble/gfx", "**/*.png", 60),
    ("drawn", "adwaita icons", "icons/Adwaita/512x512", "**/*.png", 60),
    ("screen", "gimp help", "gimp/2.0/help/en/images", "dialogs/*.png", 150),
    ("screen", "gnome help", "help/C/gnome-help/figures", "*.png", 60),
    ("screen", "kde help", "doc/HTML/en", "**/*.png", 60),
    ("screen", "tuxpaint help", "doc/tuxpaint-data", "**/*.jpg", 40),
    ("cgi", "endless-sky ships", "games/endless-sky/images/ship", "**/*.png", 60),
    ("cgi", "endless-sky planets", "games/endless-sky/images/planet", "**/*.png", 60),
    ("cgi", "lincity", "games/lincity-ng/images/tiles", "**/*.png", 60),
)
# Wallpapers by what they show, looked at one by one; the rest is left out as neither.
_WALLPAPERS: dict[str, tuple[str, ...]] = {
    "photo": (
        "backgrounds/Bridge_by_Sander_Klootwijk.jpg", "backgrounds/Dragonfly_by_Bolly.jpg",
        "backgrounds/Kleiber_by_Lukas_Baubkus.jpg", "backgrounds/Picture_0B_by_freespace.jpg",
        "backgrounds/Picture_1A_by_freespace.jpg", "backgrounds/Wine_by_Jakkub_Mede.jpg",
        "backgrounds/aitzgorri_by_Aitzol_Berasategi.jpg",
        "backgrounds/analogpattern_by_Peter_Nerlich.jpg",
        "backgrounds/friends_by_Aitzol_Berasategi.jpg",
        "backgrounds/greentock_by_Peter_Nerlich.jpg", "backgrounds/life_by_Aitzol_Berasategi.jpg",
        "backgrounds/picosdeeuropa_by_Aitzol_Berasategi.jpg",
        "backgrounds/seeding_by_Clements_Engelhardt.jpg",
        "backgrounds/sunset_by_Aitzol_Berasategi.jpg",
        *(f"wallpapers/{name}/contents/images/1920x1080.jpg" for name in (
            "Autumn", "BytheWater", "ColdRipple", "FallenLeaf", "Grey",
            "DarkestHour", "EveningGlow", "summer_1am")),
    ),
    "drawn": (
        "backgrounds/2004default.jpg", "backgrounds/Painting-Colors_by__herobrine7gamer.jpg",
        "backgrounds/calla.png", "backgrounds/city.png", "backgrounds/desert.png",
        "backgrounds/rhythm.jpg", "backgrounds/goldfish.png", "backgrounds/rollpaper.png",
        "backgrounds/string.jpg", "backgrounds/the-mouse.jpg", "backgrounds/firstgeneration.jpg",
        "backgrounds/sway/Sway_Wallpaper_Blue_1920x1080.png",
        "backgrounds/mate/desktop/Float-into-MATE.png", "backgrounds/mate/desktop/Stripes.png",
        "wallpapers/FlyingKonqui/contents/images/1920x1080.png",
        "wallpapers/Path/contents/images/1920x1080.jpg",
    ),
}  # fmt: skip
_OPENCV = "doc/opencv-doc/examples/data"
_OPENCV_SHOWS: dict[str, tuple[str, ...]] = {
    "photo": (
        "fruits.jpg", "baboon.jpg", "left11.jpg", "leuvenA.jpg", "squirrel_cls.jpg", "home.jpg",
        "left05.jpg", "aloeL.jpg", "board.jpg", "basketball2.png", "orange.jpg", "chicky_512.png",
        "stuff.jpg", "rubberwhale2.png", "messi5.jpg", "ela_original.jpg", "graf1.png",
        "aero1.jpg", "box.png", "right.jpg", "butterfly.jpg", "building.jpg", "box_in_scene.png",
        "apple.jpg", "sudoku.png", "left.jpg", "smarties.png",
    ),
    "drawn": (
        "pic5.png", "HappyFish.jpg", "opencv-logo.png", "pic3.png", "pic1.png", "detect_blob.png",
        "opencv-logo-white.png", "starry_night.jpg", "pic6.png", "cards.png", "notes.png",
        "LinuxLogo.jpg", "templ.png",
    ),
}  # fmt: skip


def packaged(roots: list[Path], seed: int = 0) -> Iterator[Shown]:
    """Pictures of packages below ``ROOT/usr/share``. Raises UsageError where a package lacks."""
    rng = np.random.default_rng(seed)
    for label, source, folder, pattern, most in _FOLDERS:
        files = [f for place in _places(roots, folder) for f in sorted(place.glob(pattern))
                 if f.suffix.lower() in _SUFFIXES]  # fmt: skip
        if not files:
            raise UsageError(f"No {pattern} in usr/share/{folder}. Install: {' '.join(PACKAGES)}")
        left = most
        for i in rng.permutation(len(files)).tolist():
            if left and _large(files[i]):
                left -= 1
                yield Shown(f"{source}/{files[i].stem}", source, label, _opener(files[i], i))
    for label, names in _WALLPAPERS.items():
        for number, name in enumerate(names):
            for file in [p for p in _places(roots, name) if p.is_file()][:1]:
                source = f"wallpaper {label} {number * 2 // len(names)}"
                yield Shown(f"{source}/{name}", source, label, _opener(file, number))
    for label, names in _OPENCV_SHOWS.items():
        for number, name in enumerate(names):
            for file in [p for p in _places(roots, f"{_OPENCV}/{name}") if p.is_file()][:1]:
                yield Shown(f"opencv/{name}", "opencv-doc", label, _opener(file, number))


def _places(roots: list[Path], below: str) -> list[Path]:
    return [p for root in roots if (p := root / "usr/share" / below).exists()]


def _large(file: Path) -> bool:
    from PIL import Image

    try:
        with Image.open(file) as picture:
            width, height = picture.size
    except (OSError, Image.DecompressionBombError):
        return False
    return min(width, height) >= _LEAST and width * height <= 40_000_000


def _opener(file: Path, number: int) -> Callable[[], Frame]:
    return lambda: opened(file, number)


def opened(file: Path, number: int) -> Frame:
    """A picture; a transparent one stands on white, a plain colour or a gradient, by turns."""
    from PIL import Image

    with Image.open(file) as picture:
        if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
            over = picture.convert("RGBA")
            width, height = over.size
            behind = Image.fromarray(_backdrop(height, width, number)).convert("RGBA")
            behind.alpha_composite(over)
            return np.array(behind.convert("RGB"))
        return np.array(picture.convert("RGB"))


def _backdrop(height: int, width: int, number: int) -> Frame:
    rng = np.random.default_rng(number)
    colours = rng.integers(0, 256, (2, 3))
    if number % 3 == 0:
        return np.full((height, width, 3), 255, np.uint8)
    if number % 3 == 1:
        return np.full((height, width, 3), colours[0], np.uint8)
    share = np.linspace(0, 1, height)[:, None, None]
    ramp = colours[0] * (1 - share) + colours[1] * share
    return np.asarray(np.rint(np.broadcast_to(ramp, (height, width, 3))), np.uint8)


def folder(path: Path, label: str, source: str) -> Iterator[Shown]:
    """Pictures of a folder; what stands before the first "__" of a name is part of the source."""
    for number, file in enumerate(sorted(path.glob("*.png"))):
        part = file.stem.split("_")[0]
        yield Shown(f"{source}/{file.stem}", f"{source} {part}", label, _opener(file, number))


# ---------------------------------------------------------------- films

_FILMS = {".mp4", ".mpg", ".mov", ".mkv", ".webm", ".avi"}


def _kept(rgb: Frame) -> Frame:
    return rgb


class _Film:
    """Frames of a film, evenly spaced; decoded when the first is asked for."""

    def __init__(self, file: Path, count: int) -> None:
        self.file, self.count = file, count
        self._frames: list[Frame] = []

    def frame(self, number: int) -> Frame:
        if not self._frames:
            self._frames = frames_of(self.file, self.count)
        return self._frames[min(number, len(self._frames) - 1)]

    def shown(self, source: str, label: str) -> Iterator[Shown]:
        for i in range(self.count):
            yield Shown(f"{self.file.stem}#{i}", source, label, partial(self.frame, i))
        self._frames = []


# Of the shared media: stylised to look like toys, a cat of three dimensions, a painting.
_NO_PHOTO = ("stylization", "loopy_nonhuman", "wav2lip_mona")


def films(path: Path, label: str, frames: int = 4) -> Iterator[Shown]:
    """Frames of the films of a folder; the source is the folder and the name's first word."""
    for file in sorted(path.iterdir()):
        if file.suffix.lower() in _FILMS and not file.stem.startswith(_NO_PHOTO):
            source = f"{path.name}/{file.stem.replace('-', '_').split('_')[0]}"
            yield from _Film(file, frames).shown(source, label)


def frames_of(file: Path, count: int) -> list[Frame]:
    """Evenly spaced frames of our own test media (decoded in this process)."""
    import av

    with av.open(str(file)) as container:
        length = sum(1 for packet in container.demux(video=0) if packet.size)
    wanted = {int((i + 0.5) * length / count) for i in range(count)}
    with av.open(str(file)) as container:
        container.streams.video[0].thread_count = 1
        return [
            np.asarray(f.to_ndarray(format="rgb24"), np.uint8)
            for i, f in enumerate(container.decode(video=0))
            if i in wanted
        ]


# ---------------------------------------------------------------- changes


def changed(rgb: Frame, rng: np.random.Generator, *, strong: bool = True) -> Frame:
    """The picture as it may come: another size, JPEG, H.264, a little noise."""
    import cv2

    height, width = rgb.shape[:2]
    longest = int(rng.choice([320, 480, 640, 854, 1280]))
    scale = min(longest / max(height, width), 1.6)
    if scale < 0.95 or (scale > 1 and rng.random() < 0.4):
        size = (max(48, round(width * scale)), max(48, round(height * scale)))
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=way), np.uint8)
    elif max(height, width) > 1280:
        top, left = (int(rng.integers(0, max(1, s - 720))) for s in (height, width))
        rgb = rgb[top : top + 720, left : left + 1280]
    if not strong:
        return np.ascontiguousarray(rgb)
    if rng.random() < 0.12:  # little light: dark, and noisier than the camera's day
        grain = rng.normal(0, float(rng.uniform(1, 8)), rgb.shape)
        rgb = np.clip(rgb * rng.uniform(0.12, 0.5) + grain, 0, 255).astype(np.uint8)
    if rng.random() < 0.15:
        noise = rng.normal(0, float(rng.uniform(0.5, 4)), rgb.shape)
        rgb = np.clip(np.rint(rgb + noise), 0, 255).astype(np.uint8)
    way_out = rng.random()
    if way_out < 0.5:
        return jpeg(rgb, int(rng.integers(40, 96)))
    if way_out < 0.8:
        return h264(rgb, int(rng.integers(20, 38)))
    return np.ascontiguousarray(rgb)


def jpeg(rgb: Frame, quality: int) -> Frame:
    """Through libjpeg."""
    from PIL import Image

    memory = io.BytesIO()
    Image.fromarray(rgb).save(memory, "JPEG", quality=quality)
    return np.array(Image.open(memory).convert("RGB"))


def h264(rgb: Frame, crf: int) -> Frame:
    """The second of two equal frames, through libx264."""
    import av

    height, width = (s // 2 * 2 for s in rgb.shape[:2])
    memory = io.BytesIO()
    with av.open(memory, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": str(crf), "preset": "veryfast", "threads": "1"}
        for _ in range(2):
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(rgb[:height, :width]), format="rgb24"
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    memory.seek(0)
    with av.open(memory, "r") as coded:
        last = list(coded.decode(video=0))[-1]
    return np.asarray(last.to_ndarray(format="rgb24"), np.uint8)


# ---------------------------------------------------------------- rendered here


def scenes(out: Path, roots: list[Path], most: int = 60) -> None:
    """POV-Ray's own example scenes, those that take under 4 s, at 480 x 360 into ``out``."""
    for examples in _places(roots, "doc/povray/examples")[:1]:
        every = sorted(examples.glob("*/**/*.pov"))
        for scene in every[:: max(1, len(every) // most)]:
            name = "_".join(scene.relative_to(examples).with_suffix("").parts).replace(" ", "_")
            target = out / f"{name}.png"
            if target.exists():
                continue
            command = ["povray", f"+I{scene}", f"+L{scene.parent}", f"+O{target}", "+W480",
                       "+H360", "+A0.3", "-D", "-GA", "+WT1"]  # fmt: skip
            try:
                done = subprocess.run(command, capture_output=True, timeout=4, cwd=out)
                failed = done.returncode != 0
            except subprocess.TimeoutExpired:
                failed = True
            if failed:
                target.unlink(missing_ok=True)


def pages(out: Path, roots: list[Path], most: int = 32) -> None:
    """Pages of documentation as a browser shows them, into ``out``."""
    rng = np.random.default_rng(3)
    found = [f for p in _places(roots, "doc") for f in sorted(p.glob("*/**/*.html"))
             if 4000 < f.stat().st_size < 400_000]  # fmt: skip
    by_package: dict[str, list[Path]] = {}
    for file in found:
        by_package.setdefault(file.relative_to(_root_of(file)).parts[0], []).append(file)
    chosen = [files[int(rng.integers(len(files)))] for files in by_package.values()
              for _ in range(2)][:most]  # fmt: skip
    for number, file in enumerate(chosen):
        size = ("1280,720", "1366,768", "1920,1080", "800,600")[number % 4]
        target = out / f"{file.relative_to(_root_of(file)).parts[0]}_{number}.png"
        if target.exists():
            continue
        with tempfile.TemporaryDirectory() as profile:
            command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu",
                       f"--screenshot={target}", f"--window-size={size}",
                       f"--user-data-dir={profile}", file.as_uri()]  # fmt: skip
            try:
                subprocess.run(command, capture_output=True, timeout=30)
            except subprocess.TimeoutExpired:
                continue


def _root_of(file: Path) -> Path:
    return next(p for p in file.parents if p.name == "doc")


def rendered_films(roots: list[Path]) -> Iterator[Shown]:
    """Frames of a rendered film, and of this project's own ``world`` generator where it is."""
    from importlib.metadata import entry_points

    from avsafe.types import GenerationRequest, Principal, Task

    for file in _places(roots, f"{_OPENCV}/Megamind.avi"):
        yield from _Film(file, 40).shown("megamind", "cgi")
    for file in _places(roots, f"{_OPENCV}/vtest.avi"):
        yield from _Film(file, 8).shown("vtest", "photo")
    for entry in entry_points(group="avsafe.generators", name="world"):
        generator = entry.load()()
        for number, prompt in enumerate(_PROMPTS):
            raw = generator.generate(
                GenerationRequest(Principal("trainer"), Task.TEXT_TO_VIDEO, "world", prompt,
                                  seed=number, width=640, height=360, duration_s=1.0)
            )  # fmt: skip
            for place, frame in enumerate(raw.frames or ()):
                if place in (3, 20):
                    yield Shown(f"world/{number}#{place}", "world", "cgi", partial(_kept, frame))


_PROMPTS = (
    "a red ball rolling left", "two glass cubes spinning", "a wooden star bouncing by the sea",
    "a blue box at night", "rain, a ball hits a cube", "a star on top of a box, spotlight",
    "three green balls by the sea", "a red cube rolling left at night", "a glass ball bouncing",
    "two wooden boxes, rain", "a yellow star spinning, spotlight", "a blue ball by the sea",
)  # fmt: skip


def drawn_screens(count: int = 120, seed: int = 8) -> Iterator[Shown]:
    """Terminals, slides, charts and tables, drawn by Pillow and Matplotlib."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        kind = ("terminal", "slide", "chart", "table")[number % 4]
        make = {"terminal": _terminal, "slide": _slide, "chart": _chart, "table": _table}[kind]
        rgb = make(np.random.default_rng(int(rng.integers(1 << 30))))
        yield Shown(f"{kind}/{number}", f"drawn {kind}", "screen", partial(_kept, rgb))


_WORDS = tuple(
    """system value of the signal and noise are given by mean open file error line data set result
    time 0.35 1024 user test window key frame size next step import return""".split()  # noqa: SIM905
)


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _text(rng: np.random.Generator, words: int) -> str:
    return " ".join(_WORDS[int(i)] for i in rng.integers(0, len(_WORDS), words))


def _colours(rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """Behind, text, accent."""
    dark = rng.random() < 0.4
    behind = rng.integers(0, 50, 3) if dark else rng.integers(225, 256, 3)
    if rng.random() < 0.4:
        behind = np.full(3, behind[0])
    text = rng.integers(180, 256, 3) if dark else rng.integers(0, 70, 3)
    accent = rng.integers(0, 256, 3)
    return tuple(behind.tolist()), tuple(text.tolist()), tuple(accent.tolist())


def _canvas(rng: np.random.Generator) -> tuple[Any, Any, tuple[Any, Any, Any], int, int]:
    from PIL import Image, ImageDraw

    width, height = [(1280, 720), (1920, 1080), (1024, 768), (800, 600)][int(rng.integers(4))]
    colours = _colours(rng)
    image = Image.new("RGB", (width, height), colours[0])
    return image, ImageDraw.Draw(image), colours, width, height


def _terminal(rng: np.random.Generator) -> Frame:
    image, draw, (_, text, accent), _, height = _canvas(rng)
    size = int(rng.integers(11, 22))
    for y in range(4, height - size, int(size * 1.35)):
        if rng.random() < 0.85:
            colour = text if rng.random() < 0.7 else accent
            indent = int(rng.integers(0, 4)) * 2 * size
            draw.text((6 + indent, y), _text(rng, int(rng.integers(1, 14))), colour, _font(size))
    return np.array(image)


def _slide(rng: np.random.Generator) -> Frame:
    image, draw, (_, text, accent), width, height = _canvas(rng)
    if rng.random() < 0.6:
        draw.rectangle((0, 0, width, height // int(rng.integers(6, 12))), accent)
    draw.text((width // 20, height // 30), _text(rng, 4), text, _font(height // 14))
    for i in range(int(rng.integers(2, 7))):
        y = height // 5 + i * height // 9
        draw.ellipse((width // 18, y + 10, width // 18 + 10, y + 20), accent)
        draw.text((width // 13, y), _text(rng, int(rng.integers(3, 9))), text, _font(height // 22))
    for _ in range(int(rng.integers(0, 4))):
        x, y = (
            int(rng.integers(width // 2, width - 60)),
            int(rng.integers(height // 4, height - 60)),
        )
        box = (x, y, x + int(rng.integers(40, 300)), y + int(rng.integers(40, 200)))
        draw.rectangle(box, tuple(rng.integers(0, 256, 3).tolist()), text, 2)
    return np.array(image)


def _table(rng: np.random.Generator) -> Frame:
    image, draw, (_, text, accent), width, height = _canvas(rng)
    row, column = int(rng.integers(18, 40)), int(rng.integers(70, 180))
    draw.rectangle((0, 0, width, row), accent)
    for y in range(0, height, row):
        draw.line((0, y, width, y), text if rng.random() < 0.1 else accent)
        for x in range(0, width, column):
            if rng.random() < 0.7:
                draw.text((x + 4, y + 3), _text(rng, 1), text, _font(row - 8))
    for x in range(0, width, column):
        draw.line((x, 0, x, height), accent)
    return np.array(image)


def _chart(rng: np.random.Generator) -> Frame:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.8, 7.2), dpi=float(rng.choice([60, 80, 100])))
    canvas = FigureCanvasAgg(figure)
    for place in range(1, int(rng.integers(2, 4))):
        axes = figure.add_subplot(1, 2, place)
        kind = int(rng.integers(4))
        x = np.arange(30)
        if kind == 0:
            axes.plot(x, rng.standard_normal((30, 3)).cumsum(0))
        elif kind == 1:
            axes.bar(x[:8], rng.random(8))
        elif kind == 2:
            axes.scatter(rng.random(80), rng.random(80), c=rng.random(80))
        else:
            axes.imshow(rng.random((8, 8)))
        axes.set_title(_text(rng, 4))
        axes.grid(bool(rng.random() < 0.5))
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.array(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
