"""Video metrics without a reference: what they say of known damage, and what they refuse."""

from __future__ import annotations

import importlib.util
import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2  # noqa: TID253
import numpy as np
import pytest
from scipy import ndimage, special  # noqa: TID253

from avsafe import media
from avsafe.errors import MissingExtra, Unscorable
from avsafe.media.replay import Replay
from avsafe.metering import measure
from avsafe.testing import check_metric, measured, textured_clip
from avsafe.types import Clip, Gathered, Kind, RawMedia, Sample
from avsafe_metrics.video import black, blockiness, freeze, scene_cuts, scene_statistics, si_ti
from avsafe_metrics.video import colourfulness as colour
from avsafe_metrics.video.black import Black
from avsafe_metrics.video.blockiness import Blockiness
from avsafe_metrics.video.colourfulness import Colourfulness
from avsafe_metrics.video.exposure import Exposure
from avsafe_metrics.video.freeze import Freeze
from avsafe_metrics.video.motion_irregularity import MotionIrregularity
from avsafe_metrics.video.motion_magnitude import MotionMagnitude
from avsafe_metrics.video.niqe import NIQE, niqe
from avsafe_metrics.video.nss_distance import NSSDistance
from avsafe_metrics.video.scene_cuts import SceneCuts
from avsafe_metrics.video.sharpness import Sharpness, noise_level, sharpness
from avsafe_metrics.video.si_ti import SiTi
from avsafe_metrics.video.temporal_flicker import TemporalFlicker
from avsafe_metrics.video.warp_error import WarpError

PARITY = Path(__file__).parents[1] / "parity"
RECORDED = json.loads((PARITY / "video.json").read_text())
_SPEC = importlib.util.spec_from_file_location("video_frames", PARITY / "video_frames.py")
video_frames = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(video_frames)

ALL = (
    TemporalFlicker, MotionMagnitude, MotionIrregularity, Freeze, Black, SiTi, WarpError, Sharpness,
    Blockiness, Colourfulness, Exposure, SceneCuts, NSSDistance,
)  # fmt: skip
TIMED = (TemporalFlicker, MotionMagnitude, MotionIrregularity, Freeze, WarpError, SceneCuts)


def raw(frames, rate=Fraction(25)) -> RawMedia:
    frames = [np.ascontiguousarray(frame) for frame in frames]
    height, width = frames[0].shape[:2]
    return RawMedia(Kind.VIDEO, Replay(lambda: iter(frames)), rate, len(frames), width, height)


def values(metric, frames, rate=Fraction(25)):
    return measured(metric, raw(frames, rate)).values


@pytest.fixture(scope="module")
def wide():
    """One picture (300, 700, 3) with the spectrum of natural ones."""
    return next(iter(textured_clip(0.04, 700, 300, sound=False).frames)).copy()


@pytest.fixture(scope="module")
def pan(wide):
    """Ten frames of a camera that moves right by exactly 4 pixels a frame."""
    return [wide[:, at * 4 : at * 4 + 400].copy() for at in range(10)]


# ------------------------------------------------------------ the contract


def test_every_metric_keeps_the_contract(pan):
    clip = raw([frame[:200, :260] for frame in pan[:4]])
    for kind in ALL:
        check_metric(kind(), clip)


def test_one_pass_gives_what_each_gives_alone(pan):
    clip = raw([frame[:200, :260] for frame in pan[:4]])
    metrics = {kind.info.name: kind() for kind in ALL}
    for metric in metrics.values():
        metric.prepare()
    together = measure(metrics, Sample("s", {}), media.replayed(clip))
    for name, metric in metrics.items():
        assert together[name].values == measured(metric, clip).values, name


@pytest.mark.parametrize("kind", TIMED, ids=lambda kind: kind.info.name)
def test_one_frame_is_a_reason(kind, wide):
    for value in values(kind(), [wide[:64, :64]]).values():
        assert isinstance(value, str)
        assert "1 frame" in value


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.info.name)
@pytest.mark.parametrize("shape", [(1, 1), (2, 40), (40, 3)])
def test_tiny_pictures_give_a_number_or_a_reason(kind, shape):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (*shape, 3)).astype(np.uint8) for _ in range(4)]
    for value in values(kind(), frames).values():
        assert isinstance(value, float) or "pixels" in value, value


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.info.name)
def test_flat_pictures_give_a_number_or_a_reason(kind):
    for value in values(kind(), [np.full((200, 200, 3), 90, np.uint8)] * 3).values():
        assert isinstance(value, float) or "failed" not in value, value


@pytest.mark.parametrize("kind", TIMED, ids=lambda kind: kind.info.name)
def test_a_still_picture_is_a_reason(kind, wide):
    picture = RawMedia(Kind.IMAGE, Replay(lambda: iter([wide])), None, 1, 700, 300)
    assert all(isinstance(value, str) for value in measured(kind(), picture).values.values())


# ------------------------------------------------------------ others' numbers


def test_temporal_flicker_is_vbenchs():
    found = values(TemporalFlicker(), video_frames.steps())["temporal_flicker"]
    assert found == pytest.approx(RECORDED["vbench"]["temporal_flickering"], abs=1e-6)


def test_si_and_ti_are_those_of_siti_tools():
    frames = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in video_frames.steps()]
    si = max(si_ti.spatial_information(frame) for frame in frames)
    ti = max(si_ti.temporal_information(*pair) for pair in pairwise(frames))
    assert si == pytest.approx(RECORDED["siti_tools"]["si"], abs=1e-4)
    assert ti == pytest.approx(RECORDED["siti_tools"]["ti"], abs=1e-4)


def test_colourfulness_is_the_formula_of_the_paper(wide):
    r, g, b = np.moveaxis(wide.astype(float), -1, 0)
    rg, yb = r - g, (r + g) / 2 - b
    m3 = np.sqrt(rg.var() + yb.var()) + 0.3 * np.sqrt(rg.mean() ** 2 + yb.mean() ** 2)
    assert colour.colourfulness(wide) == pytest.approx(m3, abs=1e-4)


def fitted(values):
    """The asymmetric Gaussian of one patch, by another way: a search over a finer grid."""
    left = np.sqrt(np.mean(values[values < 0] ** 2))
    right = np.sqrt(np.mean(values[values > 0] ** 2))
    skew = left / right
    wanted = np.mean(np.abs(values)) ** 2 / np.mean(values**2)
    wanted *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    grid = np.arange(0.2, 10, 0.0005)
    ratio = np.exp(
        2 * special.gammaln(2 / grid) - special.gammaln(1 / grid) - special.gammaln(3 / grid)
    )
    shape = grid[np.argmin((ratio - wanted) ** 2)]
    scale = np.sqrt(special.gamma(1 / shape) / special.gamma(3 / shape))
    return shape, left * scale, right * scale


def test_scene_statistics_are_those_of_the_papers(wide):
    luma = cv2.cvtColor(wide, cv2.COLOR_RGB2GRAY)[:96, :192].astype(float)
    x = np.arange(-3, 4)
    window = np.exp(-(x**2) / (2 * (7 / 6) ** 2))
    window /= window.sum()

    def smooth(picture):
        return ndimage.convolve1d(
            ndimage.convolve1d(picture, window, axis=0, mode="nearest"), window, 1, mode="nearest"
        )

    mean = smooth(luma)
    mscn = (luma - mean) / (np.sqrt(np.abs(smooth(luma**2) - mean**2)) + 1)
    found, _ = scene_statistics.scene_features(luma)
    assert found.shape == (2, 36)
    for at, patch in enumerate((mscn[:, :96], mscn[:, 96:])):
        shape, left, right = fitted(patch.ravel())
        expected = [shape, (left + right) / 2]
        for down, right_by in ((0, 1), (1, 0), (1, 1), (-1, 1)):
            other = np.roll(np.roll(patch, down, 0), right_by, 1)
            shape, left, right = fitted((patch * other).ravel())
            middle = (right - left) * special.gamma(2 / shape) / special.gamma(1 / shape)
            expected += [shape, middle, left, right]
        np.testing.assert_allclose(found[at, :18], expected, rtol=2e-3, atol=2e-4)


def test_halving_keeps_a_ramp_and_removes_what_is_too_fine():
    ramp = np.add.outer(np.arange(40.0), 2 * np.arange(60.0))
    inner = scene_statistics.halved(ramp)[4:-4, 4:-4]
    np.testing.assert_allclose(inner, (ramp[::2, ::2] + 1.5)[4:-4, 4:-4], atol=1e-9)
    checks = 100.0 * (np.add.outer(np.arange(40), np.arange(60)) % 2)
    np.testing.assert_allclose(scene_statistics.halved(checks)[4:-4, 4:-4], 50, atol=1.0)


def test_niqe_with_the_parameters_of_a_picture_is_zero_for_it(tmp_path, wide):
    luma = cv2.cvtColor(wide, cv2.COLOR_RGB2GRAY)
    features, _ = scene_statistics.scene_features(luma)
    mean, covariance = features.mean(axis=0), np.cov(features, rowvar=False)
    assert niqe(luma, mean, covariance) == pytest.approx(0, abs=1e-6)
    blurred = cv2.GaussianBlur(luma, (0, 0), 2)
    other = scene_statistics.scene_features(blurred)[0]
    apart = other.mean(axis=0) - mean
    both = (covariance + np.cov(other.T)) / 2
    expected = np.sqrt(apart @ np.linalg.pinv(both) @ apart)
    np.savez(tmp_path / "p.npz", mu_prisparam=mean[None], cov_prisparam=covariance)
    metric = NIQE(weights={"niqe": str(tmp_path / "p.npz")})
    found = values(metric, [np.repeat(blurred[..., None], 3, axis=2)])["niqe"]
    assert found == pytest.approx(expected, rel=1e-6)
    assert len(metric.digests()["niqe"]) == 64


def test_niqe_without_parameters_says_what_to_give(tmp_path):
    with pytest.raises(MissingExtra, match=r'Give weights=\{"niqe": "PATH"\}'):
        NIQE().prepare()
    np.savez(tmp_path / "wrong.npz", mu_prisparam=np.zeros(3), cov_prisparam=np.eye(3))
    with pytest.raises(MissingExtra, match=r"\(36,\)"):
        NIQE(weights={"niqe": str(tmp_path / "wrong.npz")}).prepare()
    for name in ("junk.mat", "junk.npz", "junk.safetensors"):
        (tmp_path / name).write_bytes(b"junk that is no array at all")
        with pytest.raises(MissingExtra, match="cannot be read as NIQE's parameters"):
            NIQE(weights={"niqe": str(tmp_path / name)}).prepare()


# ------------------------------------------------------------ motion and time


def test_motion_is_in_short_sides_a_second_at_any_size_and_rate(pan):
    expected = 4 * 25 / 300
    found = values(MotionMagnitude(), pan)
    assert found["motion_magnitude.mean"] == pytest.approx(expected, rel=0.05)
    assert found["motion_magnitude.top5"] == pytest.approx(expected, rel=0.15)
    half = [cv2.resize(f, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for f in pan]
    assert values(MotionMagnitude(), half)["motion_magnitude.mean"] == pytest.approx(
        expected, rel=0.1
    )
    rarer = values(MotionMagnitude(), pan[::2], Fraction(25, 2))
    assert rarer["motion_magnitude.mean"] == pytest.approx(expected, rel=0.05)
    still = values(MotionMagnitude(), [pan[0]] * 3)
    assert still["motion_magnitude.mean"] == pytest.approx(0, abs=1e-3)


def test_irregular_motion_is_told_from_regular(pan):
    steady = values(MotionIrregularity(), pan)["motion_irregularity"]
    doubled = [pan[at // 2 * 2] for at in range(10)]  # each second frame repeats: 8, 0, 8, 0
    shaking = [pan[at % 2] for at in range(10)]  # back and forth
    assert steady < 0.1
    assert values(MotionIrregularity(), doubled)["motion_irregularity"] > 1.5
    assert values(MotionIrregularity(), shaking)["motion_irregularity"] > 1.8
    assert "nothing moves" in values(MotionIrregularity(), [pan[0]] * 4)["motion_irregularity"]


def test_freezes_are_counted_and_timed(pan):
    frozen = pan[:3] + [pan[3]] * 4 + pan[4:7]  # 10 frames, 9 steps, 3 of them repeats
    found = values(Freeze(), frozen)
    assert found == {"freeze.share": pytest.approx(3 / 9), "freeze.longest_s": pytest.approx(0.12)}
    assert values(Freeze(), pan)["freeze.share"] == 0.0


def test_a_small_thing_that_moves_is_no_freeze_and_coding_noise_is_one():
    before = np.full((240, 320), 100, np.uint8)
    after = before.copy()
    after[100:104, 100:104] = 160
    assert not freeze.is_repeat(before, after)
    dust = before.copy()
    dust[::16, ::16] += 1
    assert freeze.is_repeat(before, dust)


def test_black_frames_are_counted(pan):
    noise = np.random.default_rng(0).integers(0, 20, pan[0].shape).astype(np.uint8)
    found = values(Black(), pan[:5] + [noise] * 3 + pan[5:7])
    assert found == {"black.share": pytest.approx(0.3), "black.longest_s": pytest.approx(0.12)}
    night = np.zeros((100, 100), np.uint8)
    night[:3] = 200  # three hundredths are lit
    assert not black.is_black(night)


def test_cuts_are_counted_and_flashes_and_pans_are_not(pan, wide):
    other = [255 - frame[::-1] for frame in pan]
    found = values(SceneCuts(), pan[:6] + other[:6] + pan[:6])
    assert found["scene_cuts.count"] == 2
    assert found["scene_cuts.per_minute"] == pytest.approx(2 * 25 * 60 / 18)
    flash = np.clip(pan[5].astype(int) + 60, 0, 255).astype(np.uint8)
    assert values(SceneCuts(), [*pan[:5], flash, *pan[6:]])["scene_cuts.count"] == 0
    quick = [wide[:, at * 25 : at * 25 + 400] for at in range(10)]
    assert values(SceneCuts(), quick)["scene_cuts.count"] == 0
    assert scene_cuts.cuts(np.array([40.0] * 9)) == []


def test_warp_error_sees_light_that_flickers_and_not_the_motion(pan):
    clean = values(WarpError(), pan)
    gain = 1 + 0.04 * (-1.0) ** np.arange(10)
    lit = [np.clip(f * g, 0, 255).astype(np.uint8) for f, g in zip(pan, gain, strict=True)]
    found = values(WarpError(), lit)
    level = np.mean(pan[0]) / 255
    assert found["warp_error.flicker"] == pytest.approx(0.08 * level, rel=0.1)
    assert found["warp_error.flicker"] > 10 * clean["warp_error.flicker"]
    plain = [1 - values(TemporalFlicker(), f)["temporal_flicker"] for f in (pan, lit)]
    assert plain[1] < 2 * plain[0], "the plain difference hardly notices"
    assert clean["warp_error.cover"] > 0.85


class Lost:
    """A view whose flow contradicts itself."""

    rgb = np.zeros((96, 96, 3), np.uint8)

    def small(self, side):
        return np.zeros((96, 96), np.float32)

    def flow(self):
        return np.full((96, 96, 2), 8, np.float32)

    flow_back = flow


def test_warp_error_is_silent_where_nothing_can_be_followed(wide):
    meter = WarpError().open(Clip(Sample("s", {}), media.replayed(raw([wide])).shape))
    for _ in range(3):
        meter.frame(Lost(), None)
    with pytest.raises(Unscorable, match="0 of 2 steps"):
        meter.finish(Gathered(3))


# ------------------------------------------------------------ light, noise and levels of known size


@pytest.fixture(scope="module")
def mild(wide):
    """A picture whose levels leave room for damage: 20 to 215 of 255."""
    return np.clip(wide[:, :400], 20, 215)


def test_light_that_swings_by_known_levels_has_known_flicker(mild):
    """20 levels from frame to frame: the plain number, and both of the warp error, to 1 %."""
    swinging = [mild + np.uint8(20 * (at % 2)) for at in range(6)]
    step = 20 / 255
    assert values(TemporalFlicker(), swinging)["temporal_flicker"] == pytest.approx(1 - step)
    found = values(WarpError(), swinging)
    assert found["warp_error.flicker"] == pytest.approx(step, rel=0.01)
    assert found["warp_error.mse"] == pytest.approx(step**2, rel=0.01)
    assert found["warp_error.cover"] > 0.95
    pumping = values(Exposure(), swinging)["exposure.pumping"]
    assert pumping == pytest.approx(step, rel=1e-3)


def test_a_clip_that_stands_still_has_no_flicker(mild):
    still = [mild] * 3
    assert values(TemporalFlicker(), still)["temporal_flicker"] == 1.0
    assert values(WarpError(), still) == {
        "warp_error.mse": 0.0, "warp_error.flicker": 0.0, "warp_error.cover": 1.0
    }  # fmt: skip
    assert values(Exposure(), still)["exposure.pumping"] == 0.0
    found = values(SiTi(), still)
    assert found["si_ti.ti"] == found["si_ti.ti_mean"] == 0.0


def test_noise_of_known_size_is_read_as_temporal_information(mild):
    """Independent noise of 8 levels in each frame: sqrt(2) 8 between two, on limited range."""
    ground = np.clip(mild, 50, 205)
    rng = np.random.default_rng(0)
    frames = [
        (ground + rng.normal(0, 8, ground.shape[:2]).round()[..., None]).astype(np.uint8)
        for _ in range(5)
    ]
    found = values(SiTi(), frames)
    assert found["si_ti.ti_mean"] == pytest.approx(2**0.5 * 8 * 219 / 255, rel=0.01)
    assert found["si_ti.ti"] == pytest.approx(found["si_ti.ti_mean"], rel=0.01)


def test_spatial_information_follows_contrast_and_ignores_brightness(mild):
    whole, half, brighter = (
        values(SiTi(), [frame] * 2)["si_ti.si"] for frame in (mild, mild // 2, mild + np.uint8(20))
    )
    assert half == pytest.approx(whole / 2, rel=0.01)
    assert brighter == pytest.approx(whole, rel=1e-3)
    soft = values(SiTi(), [cv2.GaussianBlur(mild, (0, 0), 2)] * 2)
    assert soft["si_ti.si"] == soft["si_ti.si_mean"] < 0.8 * whole


def test_what_brightness_and_mirrors_do_not_change(mild):
    """Neither is damage: colour, sharpness and blocks stay; of luma the mean alone moves."""
    brighter, turned = mild + np.uint8(20), np.ascontiguousarray(mild[:, ::-1])
    assert colour.colourfulness(brighter) == pytest.approx(colour.colourfulness(mild), rel=1e-4)
    before, after = (values(Sharpness(), [frame]) for frame in (mild, brighter))
    assert after["sharpness.db"] == pytest.approx(before["sharpness.db"], abs=0.05)
    assert after["sharpness.noise"] == pytest.approx(before["sharpness.noise"], rel=0.02)
    for other in (brighter, turned):
        assert blockiness.blockiness(grey(other)) == pytest.approx(
            blockiness.blockiness(grey(mild)), abs=0.02
        )
    clean, mirrored, softer = (
        values(NSSDistance(), [frame])["nss_distance"]
        for frame in (mild, turned, (0.8 * mild + 30).astype(np.uint8))
    )
    assert mirrored == pytest.approx(clean, abs=0.6)
    assert softer == pytest.approx(clean, abs=0.6), "contrast is no damage"
    one, lit, moved = (
        values(Exposure(), [frame]) for frame in (mild, brighter, np.roll(mild, 50, axis=1))
    )
    assert lit["exposure.mean"] - one["exposure.mean"] == pytest.approx(20 / 255, abs=1e-3)
    assert lit["exposure.contrast"] == pytest.approx(one["exposure.contrast"], rel=1e-3)
    for name in ("exposure.mean", "exposure.contrast", "exposure.dark", "exposure.bright"):
        assert moved[name] == one[name]


def test_a_grid_of_blocks_alone_has_the_blockiness_of_a_grid():
    """Steps at every eighth pixel and nowhere else: eight times the mean step. A grid of seven
    pixels is not the codecs'."""

    def board(side):
        squares = np.add.outer(np.arange(40), np.arange(40)) % 2
        return np.kron(100 + 10 * squares, np.ones((side, side))).astype(np.uint8)

    assert blockiness.blockiness(board(8)) == pytest.approx(8, rel=0.03)
    assert blockiness.blockiness(board(7)) < 0.3


# ------------------------------------------------------------ the picture


def grey(wide):
    return cv2.cvtColor(wide, cv2.COLOR_RGB2GRAY)


def test_sharpness_falls_with_blur_and_is_deaf_to_noise_and_contrast(wide):
    luma = cv2.resize(grey(wide), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    ladder = [sharpness(luma)[0]] + [
        sharpness(cv2.GaussianBlur(luma, (0, 0), sigma))[0] for sigma in (0.7, 1.2, 2.0)
    ]
    assert all(a > b + 1 for a, b in pairwise(ladder)), ladder
    faint = (luma * 0.5 + 60).astype(np.uint8)
    assert sharpness(faint)[0] == pytest.approx(ladder[0], abs=0.6)
    rng = np.random.default_rng(0)
    grain = np.clip(luma + rng.normal(0, 6, luma.shape), 0, 255).round().astype(np.uint8)
    found, level = sharpness(grain)
    assert found == pytest.approx(ladder[0], abs=1.5)
    assert level == pytest.approx(np.hypot(6, noise_level(luma)), rel=0.1)


def test_flat_frames_have_no_sharpness():
    found = values(Sharpness(), [np.full((64, 64, 3), 40, np.uint8)] * 2)
    assert "detail" in found["sharpness.db"]


def test_blockiness_climbs_with_jpeg_wherever_the_grid_starts(wide):
    luma = grey(wide)
    ladder = [blockiness.blockiness(luma)]
    for quality in (80, 50, 20):
        coded = cv2.imencode(".jpg", luma, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        again = cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE)
        ladder.append(blockiness.blockiness(again))
    assert ladder == sorted(ladder)
    assert ladder[3] > ladder[0] + 0.5
    assert blockiness.blockiness(again[3:, 5:]) == pytest.approx(ladder[3], rel=0.1)
    assert blockiness.blockiness(cv2.GaussianBlur(luma, (0, 0), 2)) < 0.15


def test_colourfulness_falls_to_nothing_in_grey(wide):
    ladder = []
    plain = np.repeat(grey(wide)[..., None], 3, axis=2)
    for share in (0.0, 0.5, 1.0):
        ladder.append(colour.colourfulness(cv2.addWeighted(wide, 1 - share, plain, share, 0)))
    assert ladder[1] == pytest.approx(ladder[0] / 2, rel=0.02)  # it is linear in the saturation
    assert ladder[0] > 10
    assert ladder[2] == pytest.approx(0, abs=1e-3)


def test_exposure_is_read_from_the_levels():
    frame = np.zeros((10, 10, 3), np.uint8)
    frame[:5] = 255
    found = values(Exposure(), [frame, frame])
    assert found == {
        "exposure.mean": 0.5, "exposure.contrast": 0.5, "exposure.dark": 0.5,
        "exposure.bright": 0.5, "exposure.pumping": 0.0,
    }  # fmt: skip
    pumped = values(Exposure(), [np.full((8, 8, 3), v, np.uint8) for v in (100, 151, 100)])
    assert pumped["exposure.pumping"] == pytest.approx(0.2)


def test_scene_statistics_move_away_under_damage(wide):
    sharp = cv2.resize(wide, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    rng = np.random.default_rng(0)
    grain = np.clip(sharp + rng.normal(0, 15, sharp.shape), 0, 255).astype(np.uint8)
    clean, soft, noisy = (
        values(NSSDistance(), [frame])["nss_distance"]
        for frame in (sharp, cv2.GaussianBlur(sharp, (0, 0), 2.5), grain)
    )
    assert soft > clean + 2
    assert noisy > clean + 1
    assert len(NSSDistance().digests()["scene-statistics"]) == 64


def test_warp_error_beats_the_plain_difference_on_real_clips(shared_media):
    """Four clips that move, 2 % of colour jitter in each frame: one threshold for all."""
    import av

    found = {True: [], False: []}
    plain = {True: [], False: []}
    for name in ("cotracker_bear", "da_dolphins", "sam2_dog", "videollama_dog_barking"):
        frames = []
        with av.open(str(shared_media / "real_general" / f"{name}.mp4")) as file:
            for at, frame in enumerate(file.decode(video=0)):
                if at >= 20:
                    whole = frame.to_ndarray(format="rgb24")
                    scale = 256 / min(whole.shape[:2])
                    frames.append(cv2.resize(whole, None, fx=scale, fy=scale, interpolation=3))
                if len(frames) == 6:
                    break
        rng = np.random.default_rng(1)
        jittered = [
            np.clip(f * (1 + rng.normal(0, 0.02, 3)), 0, 255).astype(np.uint8) for f in frames
        ]
        for damaged, shown in ((False, frames), (True, jittered)):
            found[damaged].append(values(WarpError(), shown)["warp_error.flicker"])
            plain[damaged].append(1 - values(TemporalFlicker(), shown)["temporal_flicker"])
    assert min(found[True]) > max(found[False])
    assert min(plain[True]) < max(plain[False])
