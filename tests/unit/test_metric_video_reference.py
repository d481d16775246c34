"""Video metrics against a reference: others' numbers, known damage, and what they refuse."""

from __future__ import annotations

import importlib.util
import json
from fractions import Fraction
from pathlib import Path

import cv2  # noqa: TID253
import numpy as np
import pytest

from avsafe.errors import MissingExtra, UsageError
from avsafe.media.replay import Replay
from avsafe.testing import check_metric, measured
from avsafe.types import Kind, RawMedia
from avsafe_metrics.video.l1 import L1
from avsafe_metrics.video.lpips import LPIPS, NETS, read_state, shipped_heads
from avsafe_metrics.video.ms_ssim import MSSSIM, ms_ssim
from avsafe_metrics.video.psnr import PSNR
from avsafe_metrics.video.ssim import SSIM, ssim

PARITY = Path(__file__).parents[1] / "parity"
RECORDED = json.loads((PARITY / "video.json").read_text())
_SPEC = importlib.util.spec_from_file_location("video_frames", PARITY / "video_frames.py")
video_frames = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(video_frames)

ALL = (PSNR, SSIM, MSSSIM, L1)
each_metric = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.info.name)


def raw(frames, rate=Fraction(25)) -> RawMedia:
    frames = [np.ascontiguousarray(frame) for frame in frames]
    height, width = frames[0].shape[:2]
    return RawMedia(Kind.VIDEO, Replay(lambda: iter(frames)), rate, len(frames), width, height)


def values(metric, frames, reference, rate=Fraction(25), reference_rate=Fraction(25)):
    return measured(metric, raw(frames, rate), raw(reference, reference_rate)).values


@pytest.fixture(scope="module")
def frames():
    return video_frames.steps()


@pytest.fixture(scope="module")
def pair():
    return video_frames.pair()


def luma(frame):
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


# ------------------------------------------------------------ others' numbers


def test_psnr_and_ssim_are_those_of_scikit_image(pair):
    one, other = pair
    found = values(PSNR(), [one], [other])
    assert found["psnr.rgb"] == pytest.approx(RECORDED["skimage"]["psnr"], abs=1e-6)
    assert ssim(luma(one), luma(other)) == pytest.approx(RECORDED["skimage"]["ssim"], abs=1e-6)


@pytest.mark.parametrize("shape", [(180, 240), (177, 301)])
def test_ms_ssim_psnr_and_l1_are_those_of_torchmetrics(shape):
    torch = pytest.importorskip("torch")
    of = pytest.importorskip("torchmetrics.functional.image")
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 255, (12, 16)).astype(np.uint8)
    one = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    other = np.clip(one + rng.normal(0, 20, shape), 0, 255).astype(np.uint8)
    a, b = (torch.from_numpy(picture.astype(np.float64))[None, None] for picture in (one, other))
    expected = float(of.multiscale_structural_similarity_index_measure(a, b, data_range=255.0))
    assert expected < 0.97, "the pair would show nothing"
    assert ms_ssim(one, other) == pytest.approx(expected, abs=1e-5)
    coloured = [np.repeat(picture[..., None], 3, axis=2) for picture in (one, other)]
    found = values(PSNR(), coloured[:1], coloured[1:])
    psnr = float(of.peak_signal_noise_ratio(a, b, data_range=255.0))
    assert found["psnr.y"] == pytest.approx(psnr, abs=1e-4)
    l1 = values(L1(), coloured[:1], coloured[1:])["l1"]
    assert l1 == pytest.approx(float((a - b).abs().mean()) / 255, abs=1e-9)


@pytest.mark.parametrize("net", list(NETS))
@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_lpips_is_that_of_the_package_on_the_same_weights(net, ending, tmp_path, pair):
    torch = pytest.importorskip("torch")
    if shipped_heads(net) is None:
        pytest.skip("neither lpips nor torchmetrics is installed, which ship the linear heads")
    state = {name: torch.from_numpy(value) for name, value in video_frames.backbone(net).items()}
    path = tmp_path / f"net.{ending}"
    if ending == "pth":
        torch.save(state, path)
    else:
        from safetensors.torch import save_file

        save_file(state, path)
    metric = LPIPS(net=net, weights={"lpips": str(path)})
    found = values(metric, pair[:1], pair[1:])["lpips"]
    assert RECORDED["lpips"][net] > 0.02, "random weights that see nothing would prove nothing"
    assert found == pytest.approx(RECORDED["lpips"][net], abs=1e-5)
    assert values(metric, pair[:1], pair[:1])["lpips"] == 0.0
    assert set(metric.digests()) == {"lpips", "lpips_heads"}


# ------------------------------------------------------------ known damage


def test_the_contract_is_kept(frames):
    damaged = raw([cv2.GaussianBlur(frame, (0, 0), 1) for frame in frames[:3]])
    for kind in ALL:
        check_metric(kind(), damaged, raw(frames[:3]))


def test_a_known_shift_of_level_gives_known_numbers():
    one, other = np.full((180, 180, 3), 100, np.uint8), np.full((180, 180, 3), 110, np.uint8)
    decibels = 10 * np.log10(255**2 / 100)
    found = values(PSNR(), [other] * 2, [one] * 2)
    assert found == {name: pytest.approx(decibels) for name in found}
    assert values(L1(), [other], [one])["l1"] == pytest.approx(10 / 255)
    c1 = 2.55**2
    expected = (2 * 100 * 110 + c1) / (100**2 + 110**2 + c1)
    assert values(SSIM(), [other], [one])["ssim"] == pytest.approx(expected, abs=1e-6)


def test_the_mean_of_decibels_is_not_the_decibels_of_the_mean():
    grey = np.full((40, 40, 3), 100, np.uint8)
    found = values(PSNR(), [grey, grey + np.uint8(10)], [grey, grey])
    assert found["psnr.y"] == pytest.approx((100 + 10 * np.log10(255**2 / 100)) / 2)
    assert found["psnr.y_pooled"] == pytest.approx(10 * np.log10(255**2 / 50))


@each_metric
def test_one_damaged_frame_of_four_counts_a_quarter(kind, frames):
    """A frozen frame and a swapped one count like any other damage; equal frames like none."""
    if kind is PSNR:
        clean = values(PSNR(), frames[:4], frames[:4])
        assert clean == dict.fromkeys(clean, 100.0)
    equal, damaged = frames[0], cv2.GaussianBlur(frames[0], (0, 0), 2)
    alone = values(kind(), [damaged], [equal])
    part = values(kind(), [equal, damaged, equal, equal], [equal] * 4)
    for name, value in alone.items():
        if name == "psnr.y_pooled":
            assert part[name] == pytest.approx(value + 10 * np.log10(4), abs=1e-6)
            continue
        best = {"l1": 0.0}.get(name, 100.0 if name.startswith("psnr") else 1.0)
        assert part[name] == pytest.approx((value + 3 * best) / 4, abs=1e-6)


@each_metric
def test_a_shift_in_time_costs_and_swapping_the_files_does_not(kind, frames):
    """One frame late is damage; which of two files is the reference is none."""
    name = kind.info.score_name(kind.info.columns[0])
    worse = -1 if kind.info.columns[0].better == "higher" else 1
    here, late = (values(kind(), part, frames[:4])[name] for part in (frames[:4], frames[1:5]))
    assert worse * (late - here) > {"psnr.rgb": 50.0, "l1": 0.005}.get(name, 0.01)
    back = values(kind(), frames[:4], frames[1:5])[name]
    assert back == pytest.approx(late, abs=1e-9)


@each_metric
def test_more_damage_is_a_worse_number(kind, frames):
    better = kind.info.columns[0].better
    name = kind.info.score_name(kind.info.columns[0])
    ladder = [
        values(kind(), [cv2.GaussianBlur(f, (0, 0), sigma) for f in frames[:2]], frames[:2])[name]
        for sigma in (0.5, 1.0, 2.0)
    ]
    ladder.insert(0, values(kind(), frames[:2], frames[:2])[name])
    assert ladder == sorted(ladder, reverse=better == "higher")
    assert len(set(ladder)) == 4
    assert ladder[0] == pytest.approx({"psnr.rgb": 100.0, "l1": 0.0}.get(name, 1.0), abs=1e-6)


# ------------------------------------------------------------ what does not fit together


@each_metric
@pytest.mark.parametrize(
    ("size", "rate", "count", "said"),
    [
        ((240, 176), 25, 6, "240x180, the reference 240x176"),
        ((240, 180), 24, 6, "24"),
        ((240, 180), 25, 4, "6 frames, the reference 4"),
    ],
)
def test_what_does_not_fit_is_a_reason(kind, size, rate, count, said, frames):
    reference = [frame[: size[1], : size[0]] for frame in frames[:count]]
    for value in values(kind(), frames, reference, reference_rate=Fraction(rate)).values():
        assert said in value, value


def test_a_reference_that_is_a_frame_shorter_or_longer_is_scored_over_the_overlap(frames):
    assert values(L1(), frames, frames[:5])["l1"] == 0.0
    assert values(L1(), frames[:5], frames)["l1"] == 0.0
    assert isinstance(values(L1(), frames[:4], frames)["l1"], str)


@each_metric
def test_tiny_pictures_give_a_number_or_a_reason(kind):
    tiny = [np.zeros((1, 1, 3), np.uint8)]
    for value in values(kind(), tiny, tiny).values():
        assert isinstance(value, float) or "1x1 pixels" in value, value


def test_lpips_refuses_parameters_that_make_no_sense():
    for given, said in (({"net": "squeeze"}, "alex and vgg"), ({"every": 0}, "every=0")):
        with pytest.raises(UsageError, match=said):
            LPIPS(**given)


def test_lpips_without_weights_says_what_to_give(tmp_path):
    torch = pytest.importorskip("torch")
    with pytest.raises(MissingExtra, match="AlexNet or VGG-16"):
        LPIPS().prepare()
    with pytest.raises(MissingExtra, match="no file"):
        LPIPS(weights={"lpips": str(tmp_path / "none.pth")}).prepare()
    path = tmp_path / "other.pth"
    torch.save({"features.0.weight": torch.zeros(3, 3)}, path)
    with pytest.raises(MissingExtra, match=r"features\.0"):
        LPIPS(weights={"lpips": str(path)}).prepare()
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"junk")
    with pytest.raises(MissingExtra, match="cannot be read as plain weights"):
        read_state(junk)
    pickled = tmp_path / "code.pth"
    torch.save(torch.nn.Linear(2, 2), pickled)
    with pytest.raises(MissingExtra, match="safetensors"):
        read_state(pickled)


def test_lpips_looks_at_each_nth_frame(tmp_path, frames):
    torch = pytest.importorskip("torch")
    if shipped_heads("alex") is None:
        pytest.skip("neither lpips nor torchmetrics is installed, which ship the linear heads")
    path = tmp_path / "net.pth"
    torch.save({n: torch.from_numpy(v) for n, v in video_frames.backbone("alex").items()}, path)
    damaged = [frames[0], *[255 - frames[0]] * 3]
    weights, reference = {"lpips": str(path)}, [frames[0]] * 4
    assert values(LPIPS(weights=weights, every=4), damaged, reference)["lpips"] == 0.0
    whole = values(LPIPS(weights=weights), damaged[1:], reference[1:])["lpips"]
    assert whole > 0.01
    part = values(LPIPS(weights=weights), damaged, reference)["lpips"]
    assert part == pytest.approx(0.75 * whole, rel=1e-5), "three of four frames are damaged"
    back = values(LPIPS(weights=weights), reference, damaged)["lpips"]
    assert back == pytest.approx(part, rel=1e-5)


def test_lpips_that_gives_no_number_is_not_hidden(frames):
    """Weights that overflow give NaN for a frame: a reason, and no mean of the others."""

    class Overflows:
        calls = 0

        def distance(self, one, other):
            Overflows.calls += 1
            return [float("nan") if Overflows.calls == 2 else 0.25]

    pytest.importorskip("torch")

    class Given(LPIPS):
        def prepare(self):
            self._network = Overflows()

    found = values(Given(), frames[:3], frames[:3])["lpips"]
    assert found == "the value is nan"
    assert values(Given(), frames[:3], frames[:3])["lpips"] == 0.25
