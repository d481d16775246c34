"""The foley generator against truth: impacts of the world, onsets of real clips, its own sound.

    python benchmarks/foley.py --out reports/foley [--media FOLDER] [--only world,real,sound,cost]

World: clips of the ``world`` generator whose contacts are known to the sample, at seeds that served
no tuning. An event counts when it lies within 40 ms of a contact, one to one; contacts slower than
1.5 units/s may be found or not (docs/generators.md), and contacts with fewer than two frames after
them can't be seen. ``all`` counts every contact instead. Only events of kind hit and flash count.

Real: the events that the generator gives for a clip and a word against the onsets of the clip's own
sound (spectral flux, 10 ms hops, peaks above 35 % of the way from the median to the 99.5th
percentile): the share of events within 80 ms of an onset, minus the mean of the same share after
circular shifts of at least 300 ms; p is the share of shifts that do as well. Figures only leave
this program.

CPU is ``time.process_time`` with the children's (the decoding process).
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.media import EncodeSpec, decode, encode, probe
from avsafe.types import GenerationRequest, InputMedia, Principal, RawMedia, Task
from avsafe_generators.foley import Foley
from avsafe_generators.foley.flow import small_size
from avsafe_generators.foley.seeing import Seen, Watcher
from avsafe_generators.foley.strikes import strike
from avsafe_generators.world import World

Array = NDArray[Any]
ME = Principal("benchmark")
SINGLE = [
    "a wooden ball bouncing in the room", "a metal cube falling in a studio",
    "a rubber ball bouncing on grass", "a glass ball bouncing in a studio",
    "a stone pyramid falling in the desert", "a plastic egg bouncing by the sea",
    "a gold coin falling in the city", "a clay ball bouncing in the mountains",
    "an ice cube falling on a snowfield", "a silver star jumping in a forest",
    "a copper ball bouncing at night in the city", "a marble ball bouncing left in the room",
]  # fmt: skip
SEVERAL = [
    "a wooden ball and a metal cube bouncing in a studio", "two rubber balls jumping on grass",
    "three plastic balls bouncing in the room", "two stone cubes falling in the desert",
    "a clay egg and a rubber ball bouncing in a forest", "three wooden cubes falling on grass",
]  # fmt: skip
CAMERA = [
    "a rubber ball bouncing in the room, pan left", "a wooden cube falling in a studio, zoom in",
    "a metal ball bouncing on grass, pan right", "a stone ball bouncing in the desert, zoom out",
    "a plastic star jumping in a forest, zoom in", "a clay ball bouncing in the city, pan left",
]  # fmt: skip
QUIET = ["a red ball orbiting in a room", "a blue cube moving left in a studio",
         "a heart spinning in the sky", "an egg floating by the sea"]  # fmt: skip
REAL = [
    ("difffoley_drum.mp4", "drum"), ("difffoley_gun.mp4", "gun"), ("foley_vgg_0.mp4", "drum"),
    ("foley_avsync_0.mp4", ""), ("foley_vgg_1.mp4", "crowd"),
    ("vggsound_0B4dYTMsgHA_000130.mp4", "crowd"), ("videollama_applause.mp4", "clap"),
    ("videollama_dog_barking.mp4", "thud"), ("videollava_1.mp4", ""), ("sam2_cups.mp4", ""),
    ("sam2_dog.mp4", "footsteps"),
]  # fmt: skip
SIDES, RATES = (256, 384, 512), (24, 30, 16, 25)


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + used.ru_utime + used.ru_stime


def watch(raw: RawMedia) -> Seen:
    import cv2

    watcher = Watcher(float(raw.frame_rate or 1))
    for frame in raw.frames or ():
        small = cv2.resize(frame, small_size(raw.height, raw.width), interpolation=cv2.INTER_AREA)
        watcher.frame(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
    return watcher.finish()


def matched(truth: list[float], found: list[float], tol_s: float) -> list[tuple[int, int]]:
    pairs = sorted(
        (abs(t - e), i, k) for i, t in enumerate(truth) for k, e in enumerate(found)
        if abs(t - e) <= tol_s
    )  # fmt: skip
    left, right, out = set(), set(), []
    for _, i, k in pairs:
        if i not in left and k not in right:
            left.add(i)
            right.add(k)
            out.append((i, k))
    return out


class Tally:
    def __init__(self) -> None:
        self.hit = self.miss = self.false = self.all_hit = self.all_miss = self.all_false = 0
        self.errors: list[float] = []
        self.clips = 0

    def take(self, raw: RawMedia, seen: Seen) -> None:
        self.clips += 1
        rate = float(raw.frame_rate or 1)
        last = (seen.frame_count - 2) / rate
        rows = [r for r in raw.details["impacts"] if r["time_s"] <= last]
        every = [r["time_s"] for r in rows]
        fast = [r["time_s"] for r in rows if r["speed"] >= 1.5]
        found = [e.time_s for e in seen.events if e.kind in ("hit", "flash")]
        pairs = matched(fast, found, 0.04)
        free = {k for _, k in matched(every, found, 0.04)} | {k for _, k in pairs}
        self.hit += len(pairs)
        self.miss += len(fast) - len(pairs)
        self.false += len(found) - len(free)
        self.errors += [1000 * (found[k] - fast[i]) for i, k in pairs]
        whole = matched(every, found, 0.04)
        self.all_hit += len(whole)
        self.all_miss += len(every) - len(whole)
        self.all_false += len(found) - len(whole)

    def row(self) -> dict[str, Any]:
        def f1(hit: int, miss: int, false: int) -> float | None:
            return round(2 * hit / (2 * hit + miss + false), 3) if hit + miss + false else None

        return {
            "clips": self.clips, "contacts": self.hit + self.miss, "missed": self.miss,
            "false": self.false, "f1": f1(self.hit, self.miss, self.false),
            "bias_ms": round(float(np.mean(self.errors)), 1) if self.errors else None,
            "sd_ms": round(float(np.std(self.errors)), 1) if self.errors else None,
            "all": f1(self.all_hit, self.all_miss, self.all_false),
        }  # fmt: skip


def world(report: dict[str, Any]) -> None:
    tallies: dict[str, Tally] = {}

    def count(raw: RawMedia, seen: Seen, *names: str) -> None:
        for name in names:
            tallies.setdefault(name, Tally()).take(raw, seen)

    number = 0
    groups = (("one object", SINGLE), ("several objects", SEVERAL), ("camera moves", CAMERA),
              ("no impact", QUIET))  # fmt: skip
    for group, prompts in groups:
        for prompt in prompts:
            side, rate = SIDES[number % 3], RATES[number % 4]
            number += 1
            request = GenerationRequest(
                ME, Task.TEXT_TO_VIDEO, "world", prompt, seed=9000 + number, width=side,
                height=side, parameters={"frame_rate": rate},
            )  # fmt: skip
            raw = World().generate(request)
            names = [group, f"{rate} fps", f"{side} px", "all conditions"]
            if group == "one object":
                names.append("see-through (glass)" if "glass" in prompt else "opaque")
            count(raw, watch(raw), *names)
            print(number, prompt, flush=True)
            if group == "one object" and number % 2 == 1:
                for crf in (23, 35):
                    with tempfile.TemporaryDirectory() as folder:
                        path = Path(folder) / "clip.mp4"
                        encode(raw, path, EncodeSpec(crf=crf))
                        back = decode(path, trusted=True)
                        from dataclasses import replace

                        seen = watch(back)
                    count(replace(back, details=raw.details), seen, f"H.264 CRF {crf}")
    report["world"] = {name: tally.row() for name, tally in tallies.items()}


def onsets(mono: Array, rate_hz: int) -> Array:
    hop, size = rate_hz // 100, 1024
    padded = np.pad(mono, (size // 2, size // 2))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * np.hanning(size)
    spectrum = np.log1p(100 * np.abs(np.fft.rfft(pieces, axis=1)))
    flux = np.r_[0, np.maximum(np.diff(spectrum, axis=0), 0).mean(axis=1)]
    bar = np.median(flux) + 0.35 * (np.percentile(flux, 99.5) - np.median(flux))
    peaks = [
        i for i in range(3, len(flux) - 3)
        if flux[i] > bar and flux[i] == flux[max(0, i - 8) : i + 9].max()
    ]  # fmt: skip
    return np.array(peaks) * hop / rate_hz


def alignment(events: Array, truth: Array, long_s: float) -> dict[str, Any]:
    if not len(events) or not len(truth):
        return {"share": None, "null": None, "p": None}

    def share(times: Array) -> float:
        return float((np.abs(times[:, None] - truth[None]).min(axis=1) <= 0.08).mean())

    seen = share(events)
    null = np.array([share((events + k) % long_s) for k in np.arange(0.3, long_s - 0.3, 0.02)])
    p = (1 + int((null >= seen).sum())) / (1 + len(null))
    return {"share": round(seen, 3), "null": round(float(null.mean()), 3), "p": round(p, 3)}


def ask(path: Path, prompt: str, **parameters: Any) -> RawMedia:
    request = GenerationRequest(
        ME, Task.VIDEO_TO_AUDIO, "foley", prompt, inputs=(InputMedia(probe(path), "video"),),
        parameters=parameters,
    )  # fmt: skip
    return Foley().generate(request)


def real(report: dict[str, Any], media: Path) -> None:
    from avsafe.errors import NotUnderstood

    rows: dict[str, Any] = {}
    report["real"] = rows
    for name, prompt in REAL:
        path = media / "real_general" / name
        before = cpu_s()
        try:
            made = ask(path, prompt, output="audio")
        except NotUnderstood:
            rows[name] = {"word": prompt, "events": 0, "says": "nothing to sync to"}
            continue
        blocks = list(made.samples or ())
        spent = cpu_s() - before
        sound = np.concatenate(blocks, axis=1)
        own = decode(path, trusted=True)
        heard = np.concatenate(list(own.samples or ()), axis=1).mean(axis=0)
        events = np.array([e["time_s"] for e in made.details["events"]])
        truth = onsets(heard, own.rate_hz)
        long_s = sound.shape[1] / made.rate_hz
        kinds = sorted({e["kind"] for e in made.details["events"]})
        rows[name] = {
            "word": prompt, "events": len(events), "kinds": "+".join(kinds),
            "onsets": len(truth), **alignment(events, truth, long_s),
            "cpu_ms_per_s": round(1000 * spent / long_s),
            "rms_dbfs": round(20 * float(np.log10(np.sqrt((sound**2).mean()) + 1e-9)), 1),
            "peak_dbfs": round(20 * float(np.log10(np.abs(sound).max() + 1e-9)), 1),
        }  # fmt: skip
        print(name, rows[name], flush=True)


def sound(report: dict[str, Any]) -> None:
    """What comes out, measured: level, onsets against events, pan, brightness by material."""
    rows: dict[str, Any] = {}
    errors, pans = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number, prompt in enumerate(("a rubber ball bouncing in a studio",
                                         "a wooden ball bouncing left in the room")):  # fmt: skip
            clip = World().generate(
                GenerationRequest(
                    ME,
                    Task.TEXT_TO_VIDEO,
                    "world",
                    prompt,
                    seed=9100 + number,
                    width=256,
                    height=256,
                )
            )
            path = Path(folder) / f"{number}.mp4"
            encode(clip, path)
            for word in ("wood", "metal", "glass", "drum", "gun"):
                made = ask(path, word, output="audio")
                out = np.concatenate(list(made.samples or ()), axis=1)
                power = (out**2).mean(axis=0)
                for event in made.details["events"]:
                    if event["kind"] != "hit" or event["strength"] < 0.3:
                        continue
                    at = round(event["time_s"] * 48000)
                    near = np.cumsum(power[max(0, at - 1440) : at + 1440])
                    rise = [near[k + 96] - near[k] - (near[k] - near[k - 480]) / 5
                            for k in range(480, len(near) - 96)]  # fmt: skip
                    errors.append((int(np.argmax(rise)) + 480 - min(at, 1440)) / 48.0)
                    piece = out[:, at : at + 2400]
                    left, right = (piece**2).sum(axis=1)
                    pans.append((event["x"], float(right / max(left + right, 1e-12))))
                rms = 20 * float(np.log10(np.sqrt((out**2).mean()) + 1e-9))
                peak = 20 * float(np.log10(np.abs(out).max()))
                rows[f"{prompt[2:8].strip()} {word}"] = {
                    "rms_dbfs": round(rms, 1), "peak_dbfs": round(peak, 1),
                    "dc": round(float(np.abs(out.mean(axis=1)).max()), 5),
                }  # fmt: skip
    centroids = {}
    for material in ("thud", "rubber", "drum", "wood", "stone", "metal", "glass"):
        wave = strike(material, 0.8, 3)
        spectrum = np.abs(np.fft.rfft(wave)) ** 2
        hz = np.fft.rfftfreq(wave.size, 1 / 48000)
        centroids[material] = round(float((spectrum @ hz) / spectrum.sum()))
    x, share = np.array(pans).T
    report["sound"] = {
        "levels": rows, "onset_bias_ms": round(float(np.median(errors)), 2),
        "onset_p90_ms": round(float(np.percentile(np.abs(errors), 90)), 2), "n": len(errors),
        "pan_correlation": round(float(np.corrcoef(x, share)[0, 1]), 2),
        "centroid_hz": centroids,
    }  # fmt: skip


def cost(report: dict[str, Any]) -> None:
    """CPU and memory at 10 and 60 s, each in a process of its own."""
    import subprocess
    import sys

    rows = {}
    code = (
        "import sys, resource, time\nfrom pathlib import Path\n"
        "sys.path.insert(0, sys.argv[1])\nimport foley\n"
        "before = foley.cpu_s()\nmade = foley.ask(Path(sys.argv[2]), 'wood, wind, music')\n"
        "for _ in made.frames: pass\n"
        "for _ in made.samples: pass\n"
        "print(foley.cpu_s() - before, "
        "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        for seconds in (10, 60):
            clip = World().generate(
                GenerationRequest(
                    ME,
                    Task.TEXT_TO_VIDEO,
                    "world",
                    "a wooden ball bouncing in a room",
                    seed=1,
                    width=256,
                    height=256,
                    duration_s=seconds,
                )
            )
            path = Path(folder) / f"{seconds}.mp4"
            encode(clip, path)
            done = subprocess.run(
                [sys.executable, "-c", code, str(Path(__file__).parent), str(path)],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            spent, peak = map(float, done.stdout.split())
            rows[f"{seconds} s at 256 x 256, 24 fps"] = {
                "cpu_ms_per_s": round(1000 * spent / seconds), "peak_rss_mb": round(peak),
            }  # fmt: skip
    report["cost"] = rows


def table(rows: dict[str, dict[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    out = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in rows.items():
        cells = ["" if row.get(c) is None else str(row.get(c)) for c in columns]
        out.append(f"| {name} | " + " | ".join(cells) + " |")
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("reports/foley"))
    parser.add_argument("--media", type=Path, default=None)
    parser.add_argument("--only", default="world,sound,cost,real")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    target = given.out / "foley.json"
    report: dict[str, Any] = json.loads(target.read_text()) if target.is_file() else {}
    for part in given.only.split(","):
        if part == "real":
            from avsafe.testing import media_folder

            folder = given.media or media_folder()
            if folder is None:
                print("No folder of real clips: that part is left out.")
                continue
            real(report, folder)
        else:
            {"world": world, "sound": sound, "cost": cost}[part](report)
        target.write_text(json.dumps(report, indent=1) + "\n")
    write(report, given.out)


def write(report: dict[str, Any], folder: Path) -> None:
    lines = ["# Foley", "", "`python benchmarks/foley.py`; rules of counting in its docstring.", ""]
    for part in ("world", "real", "cost"):
        if part in report:
            lines += [f"## {part}", "", *table(report[part]), ""]
    if "sound" in report:
        heard = dict(report["sound"])
        lines += ["## sound", "", *table(heard.pop("levels")), ""]
        lines += [f"- {key}: {value}" for key, value in heard.items()] + [""]
    (folder / "foley.md").write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
