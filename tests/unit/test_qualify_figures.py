"""What scores say of a detector, by hand and beside scipy; which condition is near."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsafe import calibration
from avsafe.qualify import figures
from avsafe.qualify.collection import Item
from avsafe.qualify.judged import Scored, judged
from avsafe.qualify.nearest import Traits, nearest, traits, where
from avsafe.types import AudioStream, Kind, Media, VideoStream
from tests import detector_kit as kit


def sample(n: int, shift: float, seed: int = 0) -> tuple[Any, Any, list[str]]:
    rng = np.random.default_rng(seed)
    y = np.arange(2 * n) >= n
    return rng.normal(size=2 * n) + shift * y, y, [str(i) for i in range(2 * n)]


def test_auc_is_the_statistic_of_mann_and_whitney_ties_included() -> None:
    from scipy.stats import mannwhitneyu

    x, y, sources = sample(60, 0.7)
    x = np.round(x, 1)
    assert figures.auc(x, y, sources) == pytest.approx(mannwhitneyu(x[y], x[~y]).statistic / 60**2)
    assert figures.auc(-x, y, sources) == pytest.approx(1 - figures.auc(x, y, sources))


def test_a_source_counts_once_however_many_files_it_has() -> None:
    x = np.array([0.0, 1.0, 2.0, *[-1.0] * 50])
    y = np.array([False, False, True, *[True] * 50])
    sources = ["a", "b", "good", *["bad"] * 50]
    assert figures.auc(x, y, sources) == pytest.approx(0.5)
    low, high = figures.auc_interval(x, y, sources)
    assert (low, high) == (0.0, 1.0)  # two synthetic sources that disagree say nothing


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    from scipy.stats import norm

    truth = norm.cdf(1.0 / np.sqrt(2))
    inside = 0
    for seed in range(60):
        low, high = figures.auc_interval(*sample(25, 1.0, seed), seed=seed)
        inside += low <= truth <= high
    assert inside >= 50


def test_eer_of_two_normals() -> None:
    from scipy.stats import norm

    x, y, _ = sample(4000, 2.0)
    assert figures.eer(x, y) == pytest.approx(norm.cdf(-1.0), abs=0.015)


def test_the_threshold_is_the_one_of_the_calibration() -> None:
    for n in (12, 99, 250):
        x, y, sources = sample(n, 3.0, seed=n)
        fitted = calibration.fit("c", x, y, sources)
        assert figures.threshold_of(x[~y]) == fitted.threshold


def test_out_of_fold_leaves_whole_sources_out() -> None:
    """A source whose files all lie on the wrong side is judged by what others showed."""
    rng = np.random.default_rng(0)
    n, per = 12, 6
    sources = [f"{c}{i}" for c in "rs" for i in range(n) for _ in range(per)]
    y = np.array([s[0] == "s" for s in sources])
    x = rng.normal(size=len(y)) * 0.2 + 3.0 * y
    odd = np.array([s == "r0" for s in sources])
    even = figures.out_of_fold(x, y, sources)
    assert even["tpr"] == 1.0
    x[odd] = 9.0  # above every threshold that is set without it
    found = figures.out_of_fold(x, y, sources)
    assert found["fpr"] >= even["fpr"] + per / (n * per) - 0.05
    assert found["ece"] > even["ece"]
    assert figures.out_of_fold(x[:3], y[:3], sources[:3]) == {}


def test_formats_alone_tell_classes_apart() -> None:
    y = np.arange(40) >= 20
    assert figures.told_apart(["wav"] * 40, y) == 0.5
    assert figures.told_apart(["wav"] * 30 + ["mp3"] * 10, y) == pytest.approx(0.75)


# ---------------------------------------------------------------- one condition


def rows(n: int, shift: float, benign: tuple[float, ...] = (), seed: int = 0) -> list[Scored]:
    x, y, _ = sample(n, shift, seed)
    about = Traits(Kind.AUDIO, "mp3", {"kbit/s": 64.0})
    made = [
        Scored(Item(Path("x"), f"{i}", "synthetic" if s else "real", f"{i}", f"{i}"), "sound, x",
               Kind.AUDIO, about, float(v))
        for i, (v, s) in enumerate(zip(x, y, strict=True))
    ]  # fmt: skip
    made += [
        Scored(Item(Path("x"), f"b{i}", "benign", "b", f"b{i}"), "sound, x", Kind.AUDIO, about, v)
        for i, v in enumerate(benign)
    ]
    return made


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (rows(40, 3.0), ""),
        (rows(40, 0.0), "does not tell real from synthetic"),
        (rows(40, -3.0), "polarity"),
        (rows(9, 6.0), "too few sources"),
        (rows(1, 6.0), "too few sources"),
        (rows(40, 3.0, benign=(0.0,) * 19 + (99.0,)), ""),  # 1 of 20 is the cap itself
        (rows(40, 3.0, benign=(0.0,) * 18 + (99.0,)), "1 of 19 benign"),
    ],
)
def test_reasons_to_refuse(given: list[Scored], said: str) -> None:
    found = judged("sound, x", given)
    assert (said in " ".join(found.refusals)) if said else found.refusals == ()


def test_a_guess_passes_seldom() -> None:
    """Of thirty detectors that know nothing, hardly one gets a lower bound of .6."""
    passed = [not judged("c", rows(15, 0.0, seed=seed)).refusals for seed in range(30)]
    assert sum(passed) <= 2


def test_durations_that_differ_are_told_not_refused() -> None:
    length = {"real": 9.0, "synthetic": 3.0}
    given = [
        replace(one, traits=Traits(Kind.AUDIO, "mp3", {"seconds": length[one.item.role]}))
        for one in rows(40, 3.0)
    ]
    found = judged("sound, x", given)
    assert found.refusals == ()
    assert any("seconds alone tells the files apart" in one for one in found.warnings)


# ---------------------------------------------------------------- nearest condition


def condition(name: str, *measured: Traits) -> calibration.Condition:
    x, y, sources = sample(10, 3.0)
    return calibration.fit(name, x, y, sources, where=where(measured))


def jpeg(pixels: float, bits: float) -> Traits:
    return Traits(Kind.IMAGE, "jpeg", {"pixels": pixels, "bits a pixel": bits})


def test_the_nearest_condition_by_codec_size_and_rate() -> None:
    fine = condition("fine", jpeg(1e6, 2.0), jpeg(2e6, 4.0))
    coarse = condition("coarse", jpeg(1e6, 0.5), jpeg(2e6, 1.0))
    both = (fine, coarse)
    assert nearest(jpeg(1.5e6, 3.0), both)[:2] == (fine, 0.0)
    assert nearest(jpeg(1.5e6, 0.7), both)[:2] == (coarse, 0.0)
    found, far, _ = nearest(jpeg(3e6, 3.0), both)
    assert found is fine
    assert far == pytest.approx(np.log2(1.5))
    found, far, why = nearest(jpeg(8e6, 3.0), both)
    assert found is None
    assert far == pytest.approx(2.0)
    assert "fine" in why
    for unlike in (replace(jpeg(1e6, 2.0), codec="webp"), replace(jpeg(1e6, 2.0), kind=Kind.VIDEO)):
        assert nearest(unlike, both) == (
            None, None, f"it was qualified on no file like it ({unlike.as_words()})",
        )  # fmt: skip
    assert nearest(jpeg(1e6, 2.0), ())[0] is None


def test_longer_is_no_worse_and_shorter_is() -> None:
    measured = condition("c", Traits(Kind.AUDIO, "mp3", {"seconds": 4.0}))
    assert nearest(Traits(Kind.AUDIO, "mp3", {"seconds": 400.0}), [measured])[1] == 0.0
    assert nearest(Traits(Kind.AUDIO, "mp3", {"seconds": 1.5}), [measured])[0] is None


def test_traits_are_of_what_the_detector_looks_at() -> None:
    film = Media(
        Path("f.mp4"), "0" * 64, 1_000_000, "mp4", "video/mp4", Kind.VIDEO,
        VideoStream("h264", 640, 360, Fraction(25), 100, 4.0, "yuv420p"),
        AudioStream("aac", 48_000, 2, 4.0), 4.0,
    )  # fmt: skip
    assert traits(film, "speech").codec == "aac"
    assert set(traits(film, "speech").quantities) == {"hertz", "seconds"}
    assert traits(film, "video").codec == "h264"
    assert traits(film, "video").quantities["bits a pixel"] == pytest.approx(8e6 / 640 / 360 / 100)
    assert traits(film, "audio-visual").codec == "h264+aac"
    assert set(traits(kit.sound_media(), "speech").quantities) == {"hertz", "seconds"}  # lossless
    song = replace(kit.sound_media(codec="mp3"), size_bytes=32_000)
    assert traits(song, "speech").quantities["kbit/s"] == pytest.approx(64.0)
    assert "bits a pixel" not in traits(kit.picture_media(codec="png"), "image").quantities
