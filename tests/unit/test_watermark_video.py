"""The video mark: quality floor, round trips, what breaks it, hostile features."""

import hashlib
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise

import cv2  # noqa: TID253 -- tests may
import numpy as np
import pytest

from avsafe.errors import CannotMark, UsageError
from avsafe.types import Detection, Features, Frame, Kind, RawMedia
from avsafe.watermark import locate, residual
from avsafe.watermark.embed import PSNR_FLOOR_DB, TileEmbedder, texture_mask
from avsafe.watermark.tile import SEGMENT_S, sign_at, tile_of_key
from avsafe.watermark.video import MOST_CHANCE, VideoWatermarker

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
PAYLOAD = 0x0123_4567_89AB_CDEF
GOLDEN_KEY_TABLES = "041f1fc793ee0b8fe961d88a931c70bb68b699925d4b613af085f5adabc5d026"
GOLDEN_CORNER = [-0.58366, -0.65978, -0.74334, -0.48991, -0.62543, -0.60719]


def textured(frames: int, height: int, width: int, seed: int = 0, speed: int = 2) -> list[Frame]:
    """Cloudy texture with edges, panning."""
    generator = np.random.default_rng(seed)
    margin = frames * speed
    shape = (height, width + margin, 3)
    cloud = cv2.GaussianBlur(generator.normal(0, 1, shape), (0, 0), max(height, 64) / 40)
    fine = cv2.GaussianBlur(generator.normal(0, 1, shape), (0, 0), 1.2)
    wide = 128 + 45 * cloud / cloud.std() + 5 * fine / fine.std()
    wide[:, :: max(width // 5, 2)] += 40
    wide = np.clip(wide, 0, 255).astype(np.uint8)
    return [np.ascontiguousarray(wide[:, t * speed : t * speed + width]) for t in range(frames)]


def embedder(frames: list[Frame], attempt: int = 0, rate: Fraction = Fraction(25)) -> TileEmbedder:
    height, width = frames[0].shape[:2]
    raw = RawMedia(Kind.VIDEO, frames, rate, len(frames), width, height)
    return VideoWatermarker().embedder(raw, PAYLOAD, KEY, attempt=attempt)


def mark(frames: list[Frame], attempt: int = 0) -> list[Frame]:
    one = embedder(frames, attempt)
    return [one.frame(frame) for frame in frames]


def features_of(frames: list[Frame], rate: float = 25.0) -> Features:
    extractor = residual.TileExtractor()
    for index, frame in enumerate(frames):
        extractor.frame(frame, index / rate)
    return extractor.finish()


def detect(frames: list[Frame], key: bytes = KEY) -> Detection:
    return VideoWatermarker().detect(features_of(frames), key)


def psnr(a: Frame, b: Frame) -> float:
    error = float(np.mean((a.astype(float) - b.astype(float)) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


# ---------------------------------------------------------------- round trips


@pytest.mark.parametrize(
    ("height", "width", "rate"),
    [
        (128, 128, Fraction(10)),
        (129, 163, Fraction(30000, 1001)),
        (256, 340, Fraction(28)),
        (640, 360, Fraction(25)),  # portrait
        (481, 853, Fraction(2160, 77)),
        (720, 1280, Fraction(30)),
        (1080, 1920, Fraction(60)),
    ],
)
def test_round_trip(height: int, width: int, rate: Fraction) -> None:
    frames = textured(6 if height < 700 else 2, height, width)
    one = embedder(frames, rate=rate)
    marked = [one.frame(frame) for frame in frames]
    found = detect(marked)
    assert found.present
    assert found.payload == PAYLOAD
    assert found.p_value < MOST_CHANCE
    border = 180 * max(height, width) / min(height, width)  # canonical pixels from the middle
    off = max(1.3, 360 / min(height, width))  # there: 1.3 canonical pixels or one of the picture
    assert found.details["scale"] == pytest.approx((1, 1), abs=off / border)
    assert not detect(frames).present
    assert not detect(marked, OTHER).present


@pytest.mark.parametrize("payload", [0, 1, 2**64 - 1])
def test_extreme_payloads(payload: int) -> None:
    frames = textured(3, 360, 480)
    one = TileEmbedder(
        tile_of_key(KEY), payload, modality=Kind.VIDEO, height=360, width=480, frame_rate=None
    )
    assert detect([one.frame(frame) for frame in frames]).payload == payload


def test_crop_scale_mirror_stretch_letterbox_and_trim() -> None:
    marked = mark(textured(12, 480, 720))
    crop = [frame[48:450, 80:650] for frame in marked]
    small = [cv2.resize(f, (468, 312), interpolation=cv2.INTER_AREA) for f in marked]
    large = [cv2.resize(f, (1080, 720), interpolation=cv2.INTER_CUBIC) for f in marked]
    mirrored = [frame[:, ::-1].copy() for frame in marked]
    stretched = [cv2.resize(f, (724, 480), interpolation=cv2.INTER_CUBIC) for f in marked]
    boxed = [cv2.copyMakeBorder(f, 60, 60, 0, 0, cv2.BORDER_CONSTANT) for f in marked]
    for name, frames in {
        "crop": crop,
        "small": small,
        "large": large,
        "mirrored": mirrored,
        "stretched": stretched,
        "boxed": boxed,
        "trim": marked[7:],
    }.items():
        found = detect(frames)
        assert found.payload == PAYLOAD, name
        assert found.details["mirrored"] == (name == "mirrored"), name
    assert detect(crop).details["scale"][0] == pytest.approx(480 / 402, rel=0.003)
    assert detect(boxed).details["scale"][0] == pytest.approx(480 / 600, rel=0.003)


@pytest.mark.parametrize("degrees", [2, -5, 11, 90, 180, 270, 275])
def test_turned(degrees: int) -> None:
    marked = mark(textured(6, 480, 720))
    turn = cv2.getRotationMatrix2D((360, 240), degrees % 90, 1)
    turned = [np.rot90(cv2.warpAffine(f, turn, (720, 480)), degrees // 90) for f in marked]
    found = detect([np.ascontiguousarray(frame) for frame in turned])
    assert found.payload == PAYLOAD
    seen = abs(found.details["turn_deg"] - degrees) % 360
    if not found.details["mirrored"]:
        assert min(seen, 360 - seen) == pytest.approx(0, abs=0.3) or abs(
            360 - (found.details["turn_deg"] + degrees) % 360
        ) % 360 == pytest.approx(0, abs=0.3)
    assert found.details["mirrored"] is False


@pytest.mark.parametrize(("width", "height"), [(540, 480), (900, 480), (720, 400), (500, 620)])
def test_stretched_unequally(width: int, height: int) -> None:
    marked = mark(textured(6, 480, 720))
    found = detect([cv2.resize(f, (width, height), interpolation=cv2.INTER_AREA) for f in marked])
    assert found.payload == PAYLOAD
    # sizes against the canonical ones: short side 360 before and after
    whole = 480 / min(width, height)
    assert found.details["scale"] == pytest.approx(
        (height / 480 * whole, width / 720 * whole), rel=0.01
    )


def test_size_change_midway() -> None:
    marked = mark(textured(10, 360, 640))
    wide = [cv2.resize(f, (640, 480), interpolation=cv2.INTER_AREA) for f in textured(12, 360, 640)]
    assert detect([*wide, *marked]).payload == PAYLOAD


# ---------------------------------------------------------------- quality


def odd_clips() -> dict[str, list[Frame]]:
    generator = np.random.default_rng(0)
    flat = np.full((200, 300, 3), 128, np.uint8)
    base = textured(12, 200, 300)
    return {
        "texture": base,
        "noise": [generator.integers(0, 256, (200, 300, 3), np.uint8) for _ in range(6)],
        "grey": [flat] * 6,
        "black": [flat * 0] * 6,
        "white": [flat * 0 + 255] * 6,
        "saturated": [np.where(f > 128, 255, 0).astype(np.uint8) for f in base],
        "fade": [(f * (1 - t / 12)).astype(np.uint8) for t, f in enumerate(base)],
        "cuts": [base[t] if t % 2 else flat for t in range(12)],
        "flashes": [base[t] if t % 3 else flat * 0 for t in range(12)],
    }


@pytest.mark.parametrize("attempt", [0, 1])
@pytest.mark.parametrize("name", sorted(odd_clips()))
def test_no_frame_lies_below_the_floor(name: str, attempt: int) -> None:
    frames = odd_clips()[name]
    before = [frame.copy() for frame in frames]
    one = embedder(frames, attempt)
    marked = [one.frame(frame) for frame in frames]
    measured = [min(psnr(a, b), 108.2) for a, b in zip(before, marked, strict=True)]
    assert min(measured) >= PSNR_FLOOR_DB
    assert one.mark().psnr_db == pytest.approx(np.mean(measured), abs=0.1)
    for frame, old, new in zip(frames, before, marked, strict=True):
        assert (frame == old).all()  # not in place
        assert new is not frame
        assert new.shape == old.shape
        assert new.dtype == np.uint8


def test_target_is_met_on_texture() -> None:
    frames = textured(50, 360, 640)
    values = []
    for attempt in (0, 1):
        one = embedder(frames, attempt)
        for frame in frames:
            one.frame(frame)
        values.append(one.mark().psnr_db)
    assert values == [pytest.approx(43.0, abs=0.3), pytest.approx(42.2, abs=0.2)]


def test_flat_areas_stay_quiet() -> None:
    """Mid-grey beside texture: the texture carries the mark, the grey less than a level of it."""
    frame = textured(1, 360, 640)[0]
    frame[:, :320] = 128
    marked = mark([frame])[0]
    difference = marked.astype(float) - frame
    assert difference[:, :280].std() < 0.95  # 0.8 x 1.1 for a small picture, and rounding
    assert difference[:, 340:].std() > 1.2 * difference[:, :280].std()
    assert np.abs(difference[:, :280]).max() <= 3
    inside = (frame.min(axis=2) > 8) & (frame.max(axis=2) < 247)  # no channel is clipped
    assert (np.ptp(difference, axis=2)[inside] == 0).all()  # luma only


def test_no_flicker_on_still_content() -> None:
    frames = textured(1, 240, 320) * 30  # 1.2 s: no change of sign
    marked = mark(frames)
    steps = [np.abs(a.astype(int) - b).max() for a, b in pairwise(marked[5:])]
    assert max(steps) <= 1  # a level may tip over while the strength settles
    assert (marked[-1] == marked[-2]).mean() > 0.999


def test_the_sign_changes_with_time_and_the_mean_shows_little() -> None:
    assert [sign_at(t * SEGMENT_S) for t in (0, 0.99, 1, 1.99, 2, 3)] == [1, 1, -1, -1, 1, -1]
    still = textured(1, 240, 320)[0]
    frames = [still] * 100  # 4 s at 25 a second: two segments
    added = np.array([m.astype(int) - still for m in mark(frames)])[..., 1].astype(float)
    assert np.corrcoef(added[20].ravel(), added[80].ravel())[0, 1] < -0.99
    assert added.mean(0).std() < 0.1 * added[20].std()


def test_a_copy_may_begin_anywhere_in_the_cycle_of_signs() -> None:
    frames = textured(110, 240, 320, speed=1)
    marked = mark(frames)
    for start in (0, 13, 30, 45):
        assert detect(marked[start : start + 60]).payload == PAYLOAD, start
    assert detect(marked[60:75]).payload == PAYLOAD  # only the negative sign


def test_mask_is_finite_and_bounded() -> None:
    for value in (0.0, 255.0, 12.7):  # the running sums leave tiny negative variances
        luma = np.full((90, 160), value, np.float32)
        luma[40, 80] = 255 - value
        mask = texture_mask(luma)
        assert np.isfinite(mask).all()
        assert 0.3 < mask.min() <= mask.max() <= 2.4


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(("height", "width"), [(127, 500), (500, 127), (0, 0), (1, 1)])
def test_too_small(height: int, width: int) -> None:
    raw = RawMedia(Kind.VIDEO, [], Fraction(25), 10, width, height)
    with pytest.raises(CannotMark, match="128"):
        VideoWatermarker().embedder(raw, PAYLOAD, KEY)


def test_no_frames() -> None:
    with pytest.raises(CannotMark, match="frames"):
        VideoWatermarker().embedder(RawMedia(Kind.AUDIO), PAYLOAD, KEY)
    with pytest.raises(CannotMark, match="No frame"):
        embedder(textured(1, 200, 200)).mark()


def test_short_key_and_large_payload() -> None:
    raw = RawMedia(Kind.VIDEO, [], Fraction(25), 10, 320, 240)
    with pytest.raises(UsageError, match="16"):
        VideoWatermarker().embedder(raw, PAYLOAD, b"short")
    with pytest.raises(ValueError, match="64"):
        VideoWatermarker().embedder(raw, 2**64, KEY)


@pytest.mark.parametrize(
    "frame",
    [np.zeros((200, 301, 3), np.uint8), np.zeros((200, 300), np.uint8), np.zeros((200, 300, 3))],
)
def test_a_frame_of_another_kind(frame: np.ndarray) -> None:
    with pytest.raises(UsageError, match="one size"):
        embedder(textured(1, 200, 300)).frame(frame)


def test_sound_passes_through() -> None:
    one = embedder(textured(1, 200, 300))
    block = np.zeros((2, 100), np.float32)
    assert one.samples(block) is block
    assert one.flush().size == 0


# ---------------------------------------------------------------- key


def test_everything_follows_from_the_key_on_every_machine() -> None:
    """A changed digest would make every mark ever written unreadable."""
    tile = tile_of_key(KEY)
    digest = hashlib.sha256()
    for table in (tile.sync, tile.data, tile.sign.astype(np.int64), tile.place):
        digest.update(np.ascontiguousarray(table).astype("<i8").tobytes())
    digest.update(np.round(tile.data_phase * 1e9).astype("<i8").tobytes())
    assert digest.hexdigest() == GOLDEN_KEY_TABLES
    assert tile.draw(PAYLOAD)[:2, :3].ravel().tolist() == pytest.approx(GOLDEN_CORNER, abs=1e-4)


def test_same_frames_in_another_process() -> None:
    program = (
        "import hashlib, numpy as np\n"
        "from avsafe.types import Kind, RawMedia\n"
        "from avsafe.watermark.video import VideoWatermarker\n"
        "frame = (np.arange(200 * 300 * 3) % 251).astype(np.uint8).reshape(200, 300, 3)\n"
        "raw = RawMedia(Kind.VIDEO, [frame], None, 1, 300, 200)\n"
        "one = VideoWatermarker().embedder(raw, 99, bytes(range(32)))\n"
        "print(hashlib.sha256(one.frame(frame).tobytes()).hexdigest())\n"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] != ""


def test_wrong_keys_never_decode_a_marked_clip() -> None:
    features = features_of(mark(textured(4, 240, 320), attempt=1))
    for number in range(6):
        key = hashlib.sha256(bytes([number])).digest()
        found = VideoWatermarker().detect(features, key)
        assert not found.present
        assert found.payload is None
        assert found.p_value == 1.0


def test_bit_error_rate() -> None:
    marker = VideoWatermarker()
    frames = textured(6, 360, 480)
    clean = features_of(mark(frames))
    assert marker.bit_error_rate(clean, KEY, PAYLOAD) < 0.1
    assert marker.bit_error_rate(clean, KEY, PAYLOAD ^ 0xFFFF) == pytest.approx(0.5, abs=0.1)
    assert marker.bit_error_rate(features_of(frames), KEY, PAYLOAD) == pytest.approx(0.5, abs=0.07)
    with pytest.raises(UsageError, match="no usable frame"):
        marker.bit_error_rate({}, KEY, PAYLOAD)


def test_sync_statistic_keeps_its_bound() -> None:
    """P(|z| > t) <= 2 exp(-t^2 / 2), variance 1, for keys that have nothing to do with the host."""
    spectrum = locate.Spectrum(residual.residual(textured(1, 360, 480)[0]))
    placement = locate.Placement(1.1, 0.95, 0.03, True)
    z = []
    for number in range(400):
        tile = tile_of_key.__wrapped__(hashlib.sha256(number.to_bytes(4, "big")).digest())
        values = spectrum.at(tile.sync, [placement])[0]
        sigma = np.sqrt((np.abs(values) ** 2).sum() / 2)
        z.append(float((values * np.exp(-1j * tile.sync_phase)).sum().real / sigma))
    assert np.std(z) == pytest.approx(1.0, abs=0.12)
    for t in (1.0, 2.0, 3.0):
        assert np.mean(np.abs(z) > t) <= 2 * np.exp(-(t**2) / 2)


def test_p_value_counts_hypotheses_and_attempts() -> None:
    chance = locate.channel.FALSE_PASS_PER_TRY
    peak = locate.Peak(0.0, locate.Placement(), 1, 0, 0)
    fits = locate.channel.Decoded(1, True, 0.9)
    fails = locate.channel.Decoded(None, False, 0.9)
    assert locate.Reading(peak, fits, 10**7, 9).p_value == pytest.approx(9 * chance)
    assert locate.Reading(peak, fits, 10**7, 9).accepted
    assert not locate.Reading(peak, fits, 10**7, 300).accepted  # 1.1e-6
    strong = locate.Peak(10.0, locate.Placement(), -1, 0, 0)
    expected = 2 * locate.MOST_HYPOTHESES * np.exp(-50) * chance
    assert locate.Reading(strong, fits, 10**7, 9).p_value == pytest.approx(expected)
    assert locate.Reading(strong, fails, 10**7, 9).p_value == 1.0
    both = locate.Reading(strong, fits, 10, 2).among([locate.Reading(peak, fails, 5, 3)] * 2)
    assert (both.hypotheses, both.attempts) == (10, 6)
    assert MOST_CHANCE <= locate.MOST_P_VALUE


def test_no_search_has_more_hypotheses_than_a_p_value_counts() -> None:
    generator = np.random.default_rng(5)
    names = ("0", "1", "fresh")
    features = {f"residual.{n}": generator.normal(size=(8, 90, 90)) for n in names}
    features |= {f"frames.{n}": np.ones(8) for n in names}
    found = VideoWatermarker().detect(features, KEY)
    assert not found.present
    assert 10**7 < found.details["hypotheses"] < locate.MOST_HYPOTHESES
    assert found.details["attempts"] * locate.channel.FALSE_PASS_PER_TRY <= MOST_CHANCE


def test_whitening_keeps_the_place_and_evens_the_waves() -> None:
    generator = np.random.default_rng(3)
    picture = generator.normal(0, 1, (90, 130)).astype(np.float32)
    edge = picture.copy()
    edge[:, 60:] += 50
    white = locate.whitened(edge)
    assert white.shape == edge.shape
    assert np.isfinite(white).all()
    # far from the edge it is still the same noise, at the edge the step is gone
    assert np.corrcoef(white[:, :25].ravel(), picture[:, :25].ravel())[0, 1] > 0.7
    assert np.abs(white).max() < 6 * white[:, :25].std()
    for shape in ((16, 16), (16, 1440), (31, 33)):
        assert locate.whitened(np.ones(shape, np.float32)).shape == shape


def test_autocorrelation_finds_how_a_tile_lies() -> None:
    tile = tile_of_key(KEY)
    sheet = np.tile(tile.draw(PAYLOAD), (8, 8))
    truth = locate.Placement(1.07, 1.07, 0.08)
    (a, b), (c, d) = truth.matrix()
    matrix = np.array([[d, c, 40.0], [b, a, 60.0]])  # (y, x) to OpenCV's (x, y)
    laid = cv2.warpAffine(sheet, matrix, (640, 360), flags=cv2.INTER_CUBIC)
    noisy = (laid + np.random.default_rng(0).normal(0, 3, laid.shape)).astype(np.float32)
    size, other, turn = locate.repeats(locate.Spectrum(noisy).autocorrelation)[0]
    assert (size, other, turn) == pytest.approx((1.07, 1.07, 0.08), abs=0.004)
    assert locate.read_turned(locate.Spectrum(noisy), tile).decoded.payload == PAYLOAD


# ---------------------------------------------------------------- hostile input


@pytest.mark.parametrize(
    "features",
    [
        {},
        {"residual.0": np.zeros((8, 0, 0), np.float32)},
        {"residual.0": np.zeros((8, 0, 360), np.float32)},
        {"residual.0": np.zeros(5, np.float32)},
        {"residual.0": np.zeros((360, 360), np.float32)},
        {"residual.0": np.zeros((7, 360, 360), np.float32)},
        {"residual.0": np.full((8, 360, 360), np.nan, np.float32)},
        {"residual.0": np.full((8, 360, 360), np.inf, np.float32)},
        {"residual.0": np.zeros((8, 360, 360), np.int64)},
        {"residual.0": np.zeros((8, 36, 36), object)},
        {"residual.0": np.zeros((8, 2, 100000), np.float32)},
        {"residual.0": np.zeros((8, 36, 36), np.float32)},  # without its frames
        {"residual.0": np.zeros((8, 36, 36), np.float32), "frames.0": np.zeros(8, np.float32)},
        {"residual.0": np.zeros((8, 36, 36), np.float32), "frames.0": np.full(8, np.nan)},
        {"residual.0": np.zeros((8, 36, 36), np.float32), "frames.0": -np.ones(8)},
        {"residual.0": np.zeros((8, 36, 36), np.float32), "frames.0": "many"},
        {"residual.0": "text"},
        {"residual.0": None},
        {"something": np.zeros(3)},
    ],
)
def test_unusable_features_are_named_not_raised(features: dict) -> None:
    found = VideoWatermarker().detect(features, KEY)
    assert found.present is False
    assert found.payload is None
    assert found.p_value == 1.0
    assert "no usable frame" in found.details["reason"]


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((360, 640), np.float32),
        np.ones((16, 16), np.float32),
        np.full((360, 360), 3e38, np.float32),
        np.full((360, 360), 1e-42, np.float32),
        np.eye(360, dtype=np.float32),
        np.indices((360, 360)).sum(0).astype(np.float32) % 2,
        np.ones((16, 1440), np.float64),
    ],
)
def test_odd_but_legal_features(value: np.ndarray) -> None:
    stack = np.repeat(value[None], 8, 0)
    features = {"residual.0": stack, "frames.0": np.ones(8), "residual.1": np.zeros(2)}
    found = VideoWatermarker().detect(features, KEY)
    assert not found.present
    assert found.details["frames"] == 8
    assert found.details["ignored"]
    assert np.isfinite(found.details["sync_z"])


def test_corrupted_features_do_not_invent_a_payload() -> None:
    features = dict(features_of(mark(textured(4, 240, 320))))
    whole = features["residual.0"]
    generator = np.random.default_rng(1)
    for noise in (1.0, 5.0, 50.0):
        noisy = whole + generator.normal(0, noise, whole.shape)
        features["residual.0"] = noisy.astype(np.float32)
        assert VideoWatermarker().detect(features, KEY).payload in (None, PAYLOAD)


@pytest.mark.parametrize("shape", [(1, 1, 3), (15, 400, 3), (0, 0, 3), (400, 16, 3), (50, 60)])
def test_extractor_takes_any_frame(shape: tuple[int, ...]) -> None:
    extractor = residual.TileExtractor()
    extractor.frame(np.zeros(shape, np.uint8), 0.0)
    features = extractor.finish()
    assert all(np.isfinite(value).all() for value in features.values())
    assert not VideoWatermarker().detect(features, KEY).present


def test_first_frames_and_cuts_are_kept_apart() -> None:
    one, two = textured(4, 240, 320, seed=1), textured(3, 240, 320, seed=2)
    one = [frame // 2 for frame in one]
    two = [255 - frame // 3 for frame in two]
    features = features_of([*one, *two], rate=10)
    assert features["frames.0"].tolist() == [5, 2, 0, 0, 0, 0, 0, 0]
    assert features["frames.fresh"].tolist() == [2, 0, 0, 0, 0, 0, 0, 0]
    mean = (residual.residual(one[0]) + residual.residual(two[0])) / 2
    np.testing.assert_allclose(features["residual.fresh"][0], mean, atol=1e-6)
    assert "residual.fresh" not in features_of(one[:1])  # it would be the same picture twice


def test_frames_are_binned_by_time_and_close_ones_skipped() -> None:
    frames = [np.full((64, 64), 100, np.uint8)] * 240
    assert features_of(frames, rate=60)["frames.0"].tolist() == [8, 7, 8, 7, 8, 7, 8, 7]
    assert features_of(frames[:120], rate=16)["frames.0"].tolist() == [16] * 7 + [8]


def test_extractor_without_frames() -> None:
    found = VideoWatermarker().detect(residual.TileExtractor().finish(), KEY)
    assert not found.present
    assert "no usable frame" in found.details["reason"]


def test_extractor_memory_is_bounded() -> None:
    extractor = residual.TileExtractor()
    extractor.frame(np.zeros((100, 10000, 3), np.uint8), 0.0)
    for width in range(360, 380):
        extractor.frame(np.zeros((360, width, 3), np.uint8), width - 359.0)
    features = extractor.finish()
    assert sorted(features) == [
        "frames.0", "frames.1", "frames.dropped", "residual.0", "residual.1",
    ]  # fmt: skip
    assert features["frames.dropped"][0] == 19
    assert all(
        value.dtype == np.float32 and value.size <= 8 * 360 * 1440 for value in features.values()
    )


def test_long_clips_are_subsampled() -> None:
    extractor = residual.TileExtractor()
    for index in range(1000):
        extractor.frame(np.zeros((32, 32, 3), np.uint8), index / 12.5)
    assert extractor.finish()["frames.0"].sum() == 600 + 400 // 8


@pytest.mark.parametrize("value", [0, 1, 77, 254, 255])
def test_residual_of_flat_frames_is_finite(value: int) -> None:
    frame = np.full((144, 256, 3), value, np.uint8)
    frame[70:75, 100:110] = 255 - value
    one = residual.residual(frame)
    assert one.dtype == np.float32
    assert np.isfinite(one).all()
    assert np.abs(one).max() <= 2.0
