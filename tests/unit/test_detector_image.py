"""The image detector: features, tiles, hostile answers of the sandbox, and its evidence."""

from __future__ import annotations

from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsafe.types import Evidence, EvidenceStatus, Kind, Media, VideoStream
from avsafe_detectors.domain import Domain
from avsafe_detectors.image import ImageDetector, damage, judging, model, tiles
from avsafe_detectors.image.extractor import FRAMES, TileExtractor
from avsafe_detectors.image.features import TILE, tile_features, usable


def still(h: int = 512, w: int = 512) -> Media:
    stream = VideoStream("png", w, h, None, 1, None, "rgb24")
    return Media(Path("x.png"), "0" * 64, 1000, "png", "image/png", Kind.IMAGE, stream)


def film(duration_s: float | None = 10.0) -> Media:
    stream = VideoStream("h264", 512, 512, Fraction(25), None, duration_s, "yuv420p")
    return Media(Path("x.mp4"), "0" * 64, 1000, "mp4", "video/mp4", Kind.VIDEO, stream,
                 duration_s=duration_s)  # fmt: skip


def scene(seed: int = 0, h: int = 512, w: int = 512) -> Any:
    """Smooth shapes with the noise of a sensor."""
    import cv2

    rng = np.random.default_rng(seed)
    base = rng.integers(0, 256, (h // 32, w // 32, 3)).astype(np.uint8)
    big = cv2.resize(base, (w, h), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    return np.clip(big + rng.standard_normal((h, w, 3)) * 4, 0, 255).astype(np.uint8)


# ---------------------------------------------------------------- features


def test_features_are_of_each_tile_alone() -> None:
    picture = scene()
    cut = tiles.cut(picture, *tiles.grid(512, 512, 9))
    together, alone = tile_features(cut), tile_features(cut[3:4])
    assert np.allclose(together[3], alone[0], atol=1e-3)
    assert np.isfinite(together).all()


def test_upsampling_shows_in_the_phases_and_a_scene_does_not() -> None:
    """Every second pixel is the mean of its neighbours, as an interpolating decoder leaves it."""
    from avsafe_detectors.image.features import _laplacian, _phases

    luma = scene()[:TILE, :TILE].astype(np.float32).mean(2)
    doubled = luma.copy()
    doubled[:, 1:-1:2] = (luma[:, :-2:2] + luma[:, 2::2]) / 2
    period2 = _phases(_laplacian(np.stack([luma, doubled])))[:, :3].max(1)  # log amplitude
    assert period2[1] > period2[0] + 1


def test_flat_and_clipped_tiles_are_not_used() -> None:
    flat = np.full((TILE, TILE, 3), 120, np.uint8)
    white = np.full((TILE, TILE, 3), 255, np.uint8)
    white[:, :40] = scene()[:TILE, :40]
    assert usable(np.stack([flat, white, scene()[:TILE, :TILE]])).tolist() == [False, False, True]


@pytest.mark.parametrize("shape", [(128, 128), (0, 128, 128, 1), (2, 64, 64, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="Tiles are"):
        tile_features(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    ("h", "w"), [(128, 128), (127, 900), (720, 1280), (6000, 4000), (128, 9000)]
)
def test_tiles_are_bounded_in_number_and_inside(h: int, w: int) -> None:
    tops, lefts = tiles.grid(h, w, 144)
    assert len(tops) * len(lefts) <= 144
    assert (min(h, w) < TILE) == (not tops)
    assert all(0 <= y <= h - TILE and y % 8 == 0 for y in tops)
    assert all(0 <= x <= w - TILE and x % 8 == 0 for x in lefts)
    assert len(set(tops)) == len(tops)


# ---------------------------------------------------------------- extractor


def extracted(pictures: list[Any], media: Media, step_s: float = 0.04) -> Any:
    worker = TileExtractor()
    worker.start(media)
    for number, picture in enumerate(pictures):
        worker.frame(picture, number * step_s)
    return worker.finish()


def test_a_film_is_looked_at_five_times_however_long() -> None:
    found = extracted([scene(0, 256, 256)] * 250, film())
    assert len(found["times"]) == FRAMES
    assert found["times"][0] >= 1
    assert found["times"][-1] >= 9
    unknown = extracted([scene(0, 256, 256)] * 250, film(None))
    assert 1 <= len(unknown["times"]) <= FRAMES


def test_a_frame_that_is_none_is_refused() -> None:
    from avsafe.errors import UsageError

    worker = TileExtractor()
    worker.start(still())
    with pytest.raises(UsageError, match="A frame is"):
        worker.frame(np.zeros((4, 4), np.uint8), 0.0)


def test_tiny_and_black_pictures_give_nothing_to_judge() -> None:
    tiny = extracted([scene(0, 64, 64)], still(64, 64))
    black = extracted([np.zeros((256, 256, 3), np.uint8)], still())
    size = len(model.load()["mean"])
    assert judging.checked(tiny, size).usable.sum() == 0
    assert judging.checked(black, size).usable.sum() == 0


# ---------------------------------------------------------------- hostile features


def good() -> dict[str, Any]:
    return dict(extracted([scene()], still()))


@pytest.mark.parametrize("change", [
    {"tiles": np.zeros((3, 5), np.float32)}, {"tiles": np.zeros((49, 342), "S1")},
    {"grids": np.array([[512, 512, -7, 7]])}, {"grids": np.zeros((1, 3), np.int64)},
    {"times": np.array([np.nan])}, {"times": np.zeros(4)},
    {"grids": np.full((1, 4), 1 << 40)}, {"colour": np.zeros(3)},
])  # fmt: skip
def test_features_of_a_wrong_shape_raise(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"are|features|out of"):
        judging.checked({**good(), **change}, len(model.load()["mean"]))


def test_missing_features_raise() -> None:
    found = good()
    del found["grids"]
    with pytest.raises(KeyError):
        judging.checked(found, 342)


# ---------------------------------------------------------------- scores


def test_p_values_of_real_tiles_are_even_and_discoveries_few() -> None:
    from avsafe.calibration import discoveries

    rng = np.random.default_rng(0)
    hits, shares = [], []
    for _ in range(300):  # a null of its own each time: the promise is on average over them
        null = np.sort(rng.standard_normal(1000)).astype(np.float32)
        p = model.tile_p(rng.standard_normal(50).astype(np.float32), null)
        hits.append(discoveries(p, 0.05).any())
        shares.append((p < 0.1).mean())
    assert abs(np.mean(shares) - 0.1) < 0.01
    assert np.mean(hits) <= 0.09


def test_a_network_of_known_weights() -> None:
    """One hidden unit each: silu(silu(x)) of the standardised feature."""
    weights = {"mean": np.zeros(1, np.float32), "deviation": np.ones(1, np.float32)}
    for k in range(3):
        weights[f"m0.{k}.weight"] = np.ones((1, 1), np.float32)
        weights[f"m0.{k}.bias"] = np.zeros(1, np.float32)

    def silu(v: float) -> float:
        return v / (1 + np.exp(-v))

    got = model.logits(np.array([[1.0], [100.0]], np.float32), weights)
    assert got == pytest.approx([silu(silu(1.0)), silu(silu(5.0))], rel=1e-5)  # clipped at 5


@pytest.mark.parametrize("name", [*damage.CELLS, "mixed"])
def test_every_damage_keeps_a_picture_a_picture(name: str) -> None:
    out = damage.damaged(scene(1, 256, 256), name, np.random.default_rng(0))
    assert out.dtype == np.uint8
    assert out.ndim == 3
    assert out.shape[2] == 3
    assert min(out.shape[:2]) >= 100
    assert (name == "clean") == np.array_equal(out, scene(1, 256, 256))


# ---------------------------------------------------------------- evidence


def gate(**changes: Any) -> Domain:
    """What the domain gate says of a fine photograph, but for ``changes``."""
    known: dict[str, Any] = {f.name: None for f in fields(Domain)}
    known |= {
        "kind": "image", "container": "png", "width": 512, "height": 512, "frames_seen": 1,
        "picture_class": "photo", "picture_scores": {"photo": 0.9}, "sound_scores": {},
        "effective_scale": 1.0, "noise_sigma": 1.0,
    }  # fmt: skip
    return Domain(**(known | changes))


def judged(monkeypatch: pytest.MonkeyPatch, found: Any, media: Media, **changes: Any) -> Evidence:
    monkeypatch.setattr("avsafe_detectors.image.detector.describe", lambda *_: gate(**changes))
    return ImageDetector().judge({"domain": {}, "image": found}, media)


@pytest.mark.parametrize(("changes", "said"), [
    ({"picture_class": "drawn", "picture_scores": {"photo": 0.1}}, "drawn"),
    ({"picture_class": "screen", "picture_scores": {"photo": 0.2}}, "screen"),
    ({"picture_class": "blank", "picture_scores": {}}, "blank"),
    ({"picture_class": None, "picture_scores": {}}, "unknown"),
    ({"width": 150}, "150 x 512"),
    ({"jpeg_quality": 20.0}, "JPEG quality 20"),
    ({"effective_scale": 0.3}, "30% of its resolution"),
    ({"noise_sigma": 12.0}, "12.0 grey levels"),
])  # fmt: skip
def test_it_abstains_outside_what_was_measured(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    got = judged(monkeypatch, good(), still(), **changes)
    assert got.status is EvidenceStatus.ABSTAINED
    assert said in got.summary
    assert got.llr is None


def test_a_black_picture_abstains_with_what_it_found(monkeypatch: pytest.MonkeyPatch) -> None:
    black = extracted([np.zeros((512, 512, 3), np.uint8)], still())
    got = judged(monkeypatch, black, still())
    assert got.status is EvidenceStatus.ABSTAINED
    assert "0 parts" in got.summary


def test_black_and_white_abstains(monkeypatch: pytest.MonkeyPatch) -> None:
    grey = np.repeat(scene().mean(2, keepdims=True).astype(np.uint8), 3, axis=2)
    got = judged(monkeypatch, extracted([grey], still()), still())
    assert got.status is EvidenceStatus.ABSTAINED
    assert "black and white" in got.summary


def test_features_unlike_all_measured_abstain(monkeypatch: pytest.MonkeyPatch) -> None:
    found = good()
    rng = np.random.default_rng(0)
    found["tiles"] = (rng.standard_normal(found["tiles"].shape) * 50).astype(np.float32)
    got = judged(monkeypatch, found, still())
    assert got.status is EvidenceStatus.ABSTAINED
    assert "unlike" in got.summary


def test_infinite_features_are_not_flagged(monkeypatch: pytest.MonkeyPatch) -> None:
    found = good()
    found["tiles"] = np.full_like(found["tiles"], np.inf)
    assert judged(monkeypatch, found, still()).status is EvidenceStatus.ABSTAINED


# ---------------------------------------------------------------- real pictures


def frames_of(path: Path, count: int) -> list[Any]:
    from avsafe_detectors.image.data import spread

    return [f[f.shape[0] // 8 : f.shape[0] * 5 // 6] for f in spread(path, count)]


def test_films_are_refused_with_the_measured_reason(
    monkeypatch: pytest.MonkeyPatch, shared_media: Path
) -> None:
    pictures = frames_of(shared_media / "real_general/sam2_dog.mp4", 5)
    got = judged(monkeypatch, extracted(pictures, film(), step_s=2.0), film(), kind="video")
    assert got.status is EvidenceStatus.ABSTAINED
    assert "AUC" in got.summary
    assert got.details["nearest"] == judging.VIDEO


def test_real_stills_are_not_flagged_and_say_by_what_they_were_judged(
    monkeypatch: pytest.MonkeyPatch, shared_media: Path
) -> None:
    conditions = []
    for name in ("real_general/sam2_cups", "real_general/sam2_dog", "real_general/foley_vgg_1"):
        picture = frames_of(shared_media / f"{name}.mp4", 1)[0]
        for quality in (50, 75, 95):
            found = extracted([damage.jpeg(picture, quality)], still(*picture.shape[:2]))
            got = judged(monkeypatch, found, still())
            assert got.status is not EvidenceStatus.PRESENT, (name, quality)
            if got.status is EvidenceStatus.ABSENT:
                conditions.append(got.details["condition"]["name"])
                grid = got.details["heatmap"]
                assert np.shape(grid["llr"]) == np.shape(grid["flagged"])
    assert "JPEG 40 to 59" in conditions


def test_high_tiles_are_flagged_where_they_lie_and_no_others() -> None:
    weights = model.load()
    seen = judging.checked(good(), len(weights["mean"]))
    tops, lefts = tiles.grid(512, 512, 49)
    inside = np.array([[128 <= y <= 256 and x <= 64 for x in lefts] for y in tops])
    null = np.linspace(-3, 3, 2000).astype(np.float32)
    logit = np.where(inside, 5.0, -1.0).astype(np.float32).ravel()
    logit[0] = np.nan
    (_, grid, flagged, box), *_ = judging.maps(seen, logit, null)
    assert np.array_equal(flagged, inside)
    assert np.isnan(grid[0, 0])
    assert box == [0.0, 0.0, 1.0, 1.0]
