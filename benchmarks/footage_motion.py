"""Cost, steadiness and seams: stylize, cinemagraph, photo-motion.

    python benchmarks/footage_motion.py --out reports/footage_motion [--only stylize] [--clips 8]

- **flicker** of a style: the warp error. DIS flow of the *source*, at 480 pixels, says where each
  pixel was one frame before; over the pixels that the source itself confirms (it agrees with its
  warped former frame within 12 levels, and forward and backward flow within a pixel), the mean
  difference between the styled frame and the warped former styled frame, in levels of 255. Given
  for the source, for the same style drawn frame by frame (own palette and levels, no memory) and as
  delivered.
- **seam** of a loop: mean difference from the last frame to the first against the median difference
  of consecutive frames; pixels outside the mask that ever change (0 is asked for).
- **photo-motion**: the least enlargement that hides borders, and the share of output pixels whose
  source lies outside the photo (0 is asked for), over all moves.
- **cost**: CPU-ms per frame of the generator (decoding of the source in its own process included,
  child processes counted), OpenCV on one thread; largest resident memory of this process.

The clips are shared test media and frames of the ``world`` generator; no picture is written.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import cv2  # noqa: TID253  a program, imported by nobody
import numpy as np
from numpy.typing import NDArray

from avsafe.media import EncodeSpec, encode, probe
from avsafe.testing import media_folder
from avsafe.types import (
    GenerationRequest,
    InputMedia,
    Media,
    Principal,
    RawMedia,
    Task,
    never_cancelled,
    no_progress,
)
from avsafe_generators.cinemagraph import Cinemagraph
from avsafe_generators.photo_motion import PhotoMotion, camera, words
from avsafe_generators.stylize import Stylize
from avsafe_generators.stylize.clip import NEUTRAL, Clip, survey
from avsafe_generators.stylize.generator import SURVEYED, make
from avsafe_generators.stylize.steady import Steady
from avsafe_generators.stylize.words import STYLES
from avsafe_generators.world import World

Image = NDArray[Any]
ME = Principal("benchmark")
FRAMES = 14  # of each clip, for the flicker
SIDE = 480  # pixels of the longer side, for the flicker
CLIPS = (
    "ask_yoga", "cotracker_bear", "da_dolphins", "sam2_dog", "foley_vgg_1",
    "videollama_dog_barking", "difffoley_drum", "mmaction_skel", "c2pa_video1_nomanifest",
    "vggsound_0B4dYTMsgHA_000130",
)  # fmt: skip
WORLDS = ("a red rubber ball bouncing by the sea at sunset", "three gold stars in the forest, rain")


def cpu_s() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ask(
    task: Task, name: str, prompt: str, inputs: Iterable[tuple[Media, str]], **more: Any
) -> Any:
    items = tuple(InputMedia(media, role) for media, role in inputs)
    return GenerationRequest(ME, task, name, prompt, inputs=items, **more)


def written(raw: RawMedia, path: Path) -> Media:
    encode(raw, path, EncodeSpec())
    return probe(path)


class Along:
    """The motion of a clip, from each frame to the one before, and where it can be trusted."""

    def __init__(self, frames: list[Image]) -> None:
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
        h, w = greys[0].shape
        gy, gx = np.mgrid[0:h, 0:w].astype(np.float32)
        self._steps: list[tuple[int, Image, Image, Image]] = []
        for at in range(1, len(frames)):
            back = flow.calc(greys[at], greys[at - 1], np.zeros((h, w, 2), np.float32))
            forth = flow.calc(greys[at - 1], greys[at], np.zeros((h, w, 2), np.float32))
            mx, my = gx + back[..., 0], gy + back[..., 1]
            returned = cv2.remap(forth, mx, my, cv2.INTER_LINEAR) + back
            warped = cv2.remap(frames[at - 1], mx, my, cv2.INTER_LINEAR)
            good = cv2.absdiff(warped, frames[at]).max(axis=-1) < 12
            good &= np.hypot(returned[..., 0], returned[..., 1]) < 1
            good &= (mx > 1) & (my > 1) & (mx < w - 2) & (my < h - 2)
            if good.mean() > 0.15:
                self._steps.append((at, mx, my, good))

    @property
    def pairs(self) -> int:
        return len(self._steps)

    def error(self, frames: list[Image]) -> float:
        """Mean difference of each frame from the one before it, moved along; levels."""
        found = []
        for at, mx, my, good in self._steps:
            warped = cv2.remap(frames[at - 1], mx, my, cv2.INTER_LINEAR)
            found.append(float(cv2.absdiff(frames[at], warped)[good].mean()))
        return float(np.mean(found))


class FrameByFrame:
    """The same style where each frame knows nothing of the others: its own palette and levels, no
    memory; textures that don't depend on the frame stay."""

    def __init__(self, style: str, width: int, height: int) -> None:
        self._style, self._size = style, (width, height)
        self._fixed = None if style in SURVEYED else self._make(NEUTRAL)

    def _make(self, clip: Clip) -> Any:
        return make(self._style, *self._size, np.random.default_rng([0, 5]), clip)

    def draw(self, frame: Image) -> Image:
        if self._fixed is not None:
            return np.asarray(self._fixed.draw(frame))
        own = survey([frame], 1, no_progress, never_cancelled)
        return np.asarray(self._make(own).draw(frame))


def stylize(clips: list[tuple[str, Media]], styles: list[str], rows: list[dict[str, Any]]) -> None:
    from avsafe_generators import asking

    for name, media in clips:
        assert media.video is not None
        scale = min(1.0, SIDE / max(media.video.width, media.video.height))
        width = round(media.video.width * scale) // 2 * 2
        height = round(media.video.height * scale) // 2 * 2
        source = asking.footage(media, width, height)
        frames = [frame.copy() for frame in islice(source.frames, FRAMES)]
        along = Along(frames)
        whole = survey(frames, len(frames), no_progress, never_cancelled)
        for style in styles:
            row = {"what": "flicker", "style": style, "clip": name, "pairs": along.pairs}
            rows.append(row)
            if not along.pairs:
                row["unscored"] = "no frame agrees with the one before it moved along"
                continue
            # what Stylize does with a clip, without reading the file again
            drawer = make(style, width, height, np.random.default_rng([0, 5]), whole)
            steady = Steady(drawer.draw, drawer.memory, width, height, 1.0)
            naive = FrameByFrame(style, width, height)
            as_delivered = along.error([steady.frame(frame).copy() for frame in frames])
            by_itself = along.error([naive.draw(frame).copy() for frame in frames])
            row |= {
                "source": round(along.error(frames), 3),
                "steady": round(as_delivered, 3),
                "frame_by_frame": round(by_itself, 3),
                "ratio": round(as_delivered / by_itself, 3),
            }
            print(json.dumps(row), flush=True)


def stylize_cost(media: Media, styles: Iterable[str], rows: list[dict[str, Any]]) -> None:
    for size in ((512, 512), (1280, 720)):
        for style in styles:
            request = ask(
                Task.STYLIZE_VIDEO, "stylize", "", [(media, "video")], duration_s=1.0,
                width=size[0], height=size[1], parameters={"style": style},
            )  # fmt: skip
            raw = Stylize().generate(request)
            start = cpu_s()
            count = sum(1 for _ in raw.frames or ())
            rows.append(
                {"what": "cost", "generator": "stylize", "style": style, "size": list(size),
                 "ms_per_frame": round(1e3 * (cpu_s() - start) / count, 1),
                 "peak_mb": round(peak_mb())}
            )  # fmt: skip
            print(json.dumps(rows[-1]), flush=True)


def cinemagraph(folder: Path, stills: list[tuple[str, Media]], films: list[tuple[str, Media]],
                rows: list[dict[str, Any]]) -> None:  # fmt: skip
    mask = np.zeros((720, 1280, 3), np.uint8)
    cv2.ellipse(mask, (640, 420), (480, 250), 0, 0, 360, (255, 255, 255), -1)
    path = folder / "mask.png"
    cv2.imwrite(str(path), mask)
    region = probe(path)
    jobs = [
        (name, prompt, "image", media, size)
        for size in ((512, 512), (1280, 720))
        for name, media in stills[:2]
        for prompt in ("water flowing", "waves", "swirl", "candle", "leaves in the wind")
    ]
    jobs += [(name, "", "video", media, None) for name, media in films]
    for name, prompt, role, media, size in jobs:
        more: dict[str, Any] = {} if size is None else {"width": size[0], "height": size[1]}
        start = cpu_s()
        raw = Cinemagraph().generate(
            ask(Task.CINEMAGRAPH, "cinemagraph", prompt, [(media, role), (region, "mask")], **more)
        )
        setup = cpu_s() - start
        first: Image | None = None
        before: Image | None = None
        steps: list[float] = []
        changed: Image | None = None
        start, drawing = cpu_s(), 0.0
        for frame in raw.frames or ():
            drawing += cpu_s() - start
            if first is None or before is None or changed is None:
                first, changed = frame, np.zeros(frame.shape[:2], bool)
            else:
                steps.append(float(cv2.absdiff(frame, before).mean()))
                changed |= (frame != first).any(axis=-1)
            before, start = frame, cpu_s()
        assert first is not None
        assert before is not None
        assert changed is not None
        scale = max(raw.width / 1280, raw.height / 720)
        cut_w, cut_h = raw.width / scale, raw.height / scale
        x, y = round((1280 - cut_w) / 2), round((720 - cut_h) / 2)
        part = mask[y : y + round(cut_h), x : x + round(cut_w), 0]
        outside = cv2.resize(part, (raw.width, raw.height), interpolation=cv2.INTER_LINEAR) == 0
        rows.append(
            {"what": "loop", "generator": "cinemagraph", "input": role, "clip": name,
             "prompt": prompt, "size": [raw.width, raw.height], "frames": raw.frame_count,
             "seam_ratio": round(float(cv2.absdiff(before, first).mean() / np.median(steps)), 3),
             "worst_step_ratio": round(max(steps) / float(np.median(steps)), 3),
             "changed_outside": int((changed & outside).sum()),
             "setup_s": round(setup, 2), "ms_per_frame": round(1e3 * drawing / (len(steps) + 1), 1),
             "peak_mb": round(peak_mb())}
        )  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)


def photo_motion(stills: list[tuple[str, Media]], rows: list[dict[str, Any]]) -> None:
    from avsafe_generators.photo_motion import render

    lost: list[float] = []
    watched = render.Renderer._maps  # the maps themselves are looked at

    def maps(self: Any, view: camera.View, near: Image, shape: tuple[int, ...]) -> Any:
        map_x, map_y = watched(self, view, near, shape)
        beyond = (map_x < -0.51) | (map_y < -0.51)
        beyond |= (map_x > shape[1] - 0.49) | (map_y > shape[0] - 0.49)
        lost.append(float(beyond.mean()))
        return map_x, map_y

    render.Renderer._maps = maps  # type: ignore[method-assign]
    for size in ((512, 512), (1280, 720)):
        for name, media in stills:
            for move in words.MOVES:
                lost.clear()
                start = cpu_s()
                raw = PhotoMotion().generate(
                    ask(Task.IMAGE_TO_VIDEO, "photo-motion", "", [(media, "image")],
                        width=size[0], height=size[1], duration_s=1.0, parameters={"move": move})
                )  # fmt: skip
                setup, start = cpu_s() - start, cpu_s()
                count = sum(1 for _ in raw.frames or ())
                rows.append(
                    {"what": "photo", "generator": "photo-motion", "clip": name, "move": move,
                     "size": list(size), "crop": raw.details["crop"],
                     "border_share": max(lost, default=0.0), "setup_s": round(setup, 2),
                     "ms_per_frame": round(1e3 * (cpu_s() - start) / count, 1),
                     "peak_mb": round(peak_mb())}
                )  # fmt: skip
            print(json.dumps(rows[-1]), flush=True)
    render.Renderer._maps = watched  # type: ignore[method-assign]


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    flicker = [r for r in rows if r["what"] == "flicker" and "ratio" in r]
    out["flicker"] = {
        style: {
            "clips": len(mine),
            "source": round(float(np.mean([r["source"] for r in mine])), 2),
            "frame_by_frame": round(float(np.mean([r["frame_by_frame"] for r in mine])), 2),
            "steady": round(float(np.mean([r["steady"] for r in mine])), 2),
            "ratio": round(float(np.mean([r["ratio"] for r in mine])), 2),
            "worst_ratio": max(r["ratio"] for r in mine),
        }
        for style in dict.fromkeys(r["style"] for r in flicker)
        if (mine := [r for r in flicker if r["style"] == style])
    }
    out["cost_ms_per_frame"] = {
        f"{r['style']} {r['size'][0]}x{r['size'][1]}": r["ms_per_frame"]
        for r in rows
        if r["what"] == "cost"
    }
    for what, key in (("loop", "input"), ("photo", "generator")):
        for value in dict.fromkeys(r[key] for r in rows if r["what"] == what):
            for side in (512, 1280, None):
                mine = [
                    r for r in rows
                    if r["what"] == what and r[key] == value
                    and (side is None or r["size"][0] == side)
                ]  # fmt: skip
                if mine:
                    out[f"{what} {value} {side or 'all'}"] = {
                        "n": len(mine),
                        "ms_per_frame": [
                            min(r["ms_per_frame"] for r in mine),
                            max(r["ms_per_frame"] for r in mine)
                        ],
                        "setup_s_most": max(r["setup_s"] for r in mine),
                        **{
                            name: [min(r[name] for r in mine), max(r[name] for r in mine)]
                            for name in ("seam_ratio", "changed_outside", "border_share", "crop")
                            if name in mine[0]
                        },
                    }  # fmt: skip
    out["peak_mb"] = max((r["peak_mb"] for r in rows if "peak_mb" in r), default=0)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("reports/footage_motion"))
    parser.add_argument("--only", choices=("stylize", "cost", "cinemagraph", "photo"))
    parser.add_argument("--clips", type=int, default=8, help="real clips for the flicker")
    parser.add_argument("--styles", default=",".join(STYLES))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    shared = media_folder()
    styles = options.styles.split(",")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        worlds = []
        for number, prompt in enumerate(WORLDS):
            request = GenerationRequest(
                ME, Task.TEXT_TO_VIDEO, "world", prompt, width=640, height=360, duration_s=1.0
            )
            raw = World().generate(request)
            worlds.append((f"world_{number}", written(raw, folder / f"world_{number}.mp4")))
        real: list[tuple[str, Media]] = []
        if shared is not None:
            found = [shared / "real_general" / f"{name}.mp4" for name in CLIPS]
            real = [(path.stem, probe(path)) for path in found if path.exists()]
        clips = real[: options.clips] + worlds
        stills = []
        for name, media in clips[:2] + worlds[:1]:
            from avsafe_generators import asking

            path = folder / f"{name}.png"
            cv2.imwrite(str(path), asking.picture(media)[..., ::-1])
            stills.append((name, probe(path)))
        if options.only in (None, "stylize"):
            stylize(clips, styles, rows)
        if options.only in (None, "cost"):
            stylize_cost(clips[0][1], styles, rows)
        if options.only in (None, "cinemagraph"):
            cinemagraph(folder, stills, list(islice(clips, 0, 9, 2)), rows)
        if options.only in (None, "photo"):
            photo_motion(stills, rows)
    options.out.mkdir(parents=True, exist_ok=True)
    name = options.only or "all"
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (options.out / f"{name}.jsonl").write_text(text)
    found_all = summary(rows)
    (options.out / f"{name}.json").write_text(json.dumps(found_all, indent=1) + "\n")
    print(json.dumps(found_all, indent=1))


if __name__ == "__main__":
    main()
