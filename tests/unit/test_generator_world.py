"""The world generator: contract, determinism, limits, motion in the picture."""

import hashlib
import json
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from avsafe.errors import Cancelled, UsageError
from avsafe.testing import check_generator
from avsafe.types import GenerationRequest, Generator, Kind, Principal, Task
from avsafe_generators.world import World, parse, render, scene, solids, tracks


def ask(prompt, task=Task.TEXT_TO_VIDEO, **more):
    small = {"width": 128, "height": 96, "duration_s": 0.75} | more
    return GenerationRequest(Principal("u"), task, "world", prompt, **small)


def make(prompt, **more):
    return World().generate(ask(prompt, **more))


def fingerprint(raw):
    digest = hashlib.sha256()
    for item in (*(raw.frames or ()), *(raw.samples or ())):
        digest.update(np.ascontiguousarray(item).tobytes())
    return digest.hexdigest()


# ---------------------------------------------------------------- contract


@pytest.mark.parametrize("task", [Task.TEXT_TO_VIDEO, Task.TEXT_TO_IMAGE])
def test_the_contract_of_a_generator(task):
    assert isinstance(World(), Generator)
    check_generator(
        World(),
        ask("a glass ball bouncing and a metal ring rolling left in the city, rain", task, seed=5),
    )


def test_info_is_complete_and_honest():
    info = World().info
    assert info.licence == "Apache-2.0"
    assert info.digital_source_type.endswith("/algorithmicMedia")
    assert "not photorealistic" in info.summary
    assert info.realism == "stylised"


@pytest.mark.parametrize(
    ("rate", "duration_s"), [(24, 0.75), ("30000/1001", 1.0), ("16", 0.53), (25.0, 0.5)]
)
def test_counts_lengths_and_types(rate, duration_s):
    raw = make(
        "a wooden star spinning on grass", duration_s=duration_s, parameters={"frame_rate": rate}
    )
    frames, sound = list(raw.frames), np.concatenate(list(raw.samples), axis=1)
    assert raw.frame_rate == Fraction(str(rate)).limit_denominator(1001)
    assert len(frames) == raw.frame_count
    assert abs(raw.frame_count / raw.frame_rate - duration_s) <= 0.5 / raw.frame_rate + 1e-9
    assert abs(sound.shape[1] / raw.rate_hz - raw.frame_count / raw.frame_rate) < 1 / raw.rate_hz
    assert {(f.shape, f.dtype.name) for f in frames} == {((96, 128, 3), "uint8")}
    assert sound.dtype == np.float32
    assert np.isfinite(sound).all()
    assert frames[0].std() > 5  # a picture, not a flat field


def test_the_same_request_in_another_process():
    code = (
        "import hashlib\nimport numpy as np\n"
        "from avsafe.types import *\n"
        "from avsafe_generators.world import World\n"
        "r = World().generate(GenerationRequest(Principal('u'), Task.TEXT_TO_VIDEO, 'world',\n"
        "    'two clay cubes falling in a forest with music', seed=11,\n"
        "    width=128, height=96, duration_s=0.75))\n"
        "d = hashlib.sha256()\n"
        "for x in (*r.frames, *r.samples): d.update(np.ascontiguousarray(x).tobytes())\n"
        "print(d.hexdigest(), r.details['caption'])\n"
    )
    here = make("two clay cubes falling in a forest with music", seed=11)
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "1", "PATH": ""},
    ).stdout  # fmt: skip
    assert out.split(" ", 1) == [fingerprint(here), here.details["caption"] + "\n"]


def test_seeds_differ_and_any_integer_is_a_seed():
    assert fingerprint(make("a ball bouncing", seed=1)) != fingerprint(
        make("a ball bouncing", seed=2)
    )
    assert make("a ball", seed=-3).details == make("a ball", seed=-3).details
    make("a ball", seed=2**80)


def test_two_interleaved_passes_agree():
    raw = make("a rubber ball bouncing fast, a glowing heart orbiting")
    first, second = iter(raw.frames), iter(raw.frames)
    next(second)
    ahead = next(second)
    next(first)
    assert np.array_equal(next(first), ahead)


def test_a_still_has_no_sound():
    raw = make("a gold coin spinning in a studio", task=Task.TEXT_TO_IMAGE, duration_s=None)
    assert raw.kind is Kind.IMAGE
    assert raw.samples is None
    assert raw.frame_rate is None
    assert [f.shape for f in raw.frames] == [(96, 128, 3)]
    assert raw.details["impacts"] == []


def test_details_are_plain_data():
    details = make("three metal pyramids falling, zoom in, unknownword").details
    assert json.loads(json.dumps(details)) == details
    assert details["ignored"] == ["unknownword"]
    assert len(details["scene"]["objects"]) == 3
    assert {"time_s", "object", "material", "surface", "speed"} <= set(details["impacts"][0])


def test_progress_rises_and_cancel_works_midway():
    seen = []
    raw = World().generate(ask("a ball falling"), progress=lambda f, stage: seen.append((f, stage)))
    list(raw.frames)
    fractions = [f for f, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len(seen) >= raw.frame_count
    polls = iter([False] * 6 + [True] * 1000)
    stopped = World().generate(ask("a ball falling"), cancelled=lambda: next(polls))
    with pytest.raises(Cancelled):
        list(stopped.frames)


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"width": 127}, "even"),
        ({"width": 32, "height": 32}, "even"),
        ({"width": 4096}, "even"),
        ({"width": 1920, "height": 1920}, "1920 x 1080"),
        ({"duration_s": 61}, "60"),
        ({"duration_s": 0.1}, "0.5"),
        ({"duration_s": float("nan")}, "60"),
        ({"duration_s": -1}, "60"),
        ({"duration_s": float("inf")}, "60"),
        ({"parameters": {"frame_rate": 60}}, "16 to 30"),
        ({"parameters": {"frame_rate": "fast"}}, "no number"),
        ({"parameters": {"frame_rate": "1/0"}}, "no number"),
        ({"parameters": {"frame_rate": float("nan")}}, "no number"),
        ({"parameters": {"frame_rate": "inf"}}, "no number"),
        ({"parameters": {"steps": 4}}, "steps"),
        ({"task": Task.EDIT_VIDEO}, "edit-video"),
    ],
)
def test_out_of_range_is_a_usage_error(more, word):
    with pytest.raises(UsageError, match=word):
        make("a ball", **more)


def test_hostile_prompts_make_a_clip_or_a_typed_error():
    for prompt in ("ball " * 20_000, "ball \x00\x1b[2J\r\n ‮ 🙂 " + "\ud800", "ball{prompt}%s$(x)"):
        raw = make(prompt)
        assert next(iter(raw.frames)).shape == (96, 128, 3)
        assert "\x1b" not in json.dumps(raw.details)


def test_memory_does_not_grow_with_the_duration():
    raw = World().generate(ask("a metal ball bouncing in a room", duration_s=60))
    block = next(iter(raw.samples))
    assert block.shape[1] <= 8192
    assert raw.frame_count == 1440


# ---------------------------------------------------------------- motion


def plan(prompt, *, seed=0, width=512, height=512, duration_s=4.0):
    return scene.plan(
        parse.parse(prompt), width=width, height=height, duration_s=duration_s, seed=seed
    )


@pytest.mark.parametrize("driven", [False, True])
def test_falls_obey_gravity_and_restitution(driven):
    flight = tracks.falling(1.0, 0.7, start_s=0.2, end_s=3.0, driven=driven)
    times = np.array([time for time, _ in flight.impacts])
    # against a plain numeric integration with small steps
    step, y, v, hits = 2e-5, 1.0, 0.0, []
    full = np.sqrt(2 * tracks.GRAVITY)
    for k in range(int(2.8 / step)):
        v -= tracks.GRAVITY * step
        y += v * step
        if y <= 0 and v < 0:
            hits.append(0.2 + k * step)
            v = 0.7 * -v
            if driven and v * v / (2 * tracks.GRAVITY) < 1 / 3:
                v = full
            if v < tracks.REST_SPEED:
                break
            y = 0.0
    assert len(hits) == len(times)
    assert np.abs(times - hits).max() < 2e-3
    assert flight.at(times).max() < 1e-9
    assert (flight.at(times - 1e-3) > 0).all()


@pytest.mark.parametrize("prompt", [
    "a huge red ball bouncing", "three big cubes falling", "a ball rolling right, zoom in",
    "a star sliding left, pan right", "two rings orbiting, zoom out", "a huge heart swinging",
    "six balls jumping fast", "a big coin rising", "a cone approaching", "a pill growing, pan left",
    "a huge diamond floating and a huge ball orbiting", "an egg shaking on the left",
])  # fmt: skip
@pytest.mark.parametrize("size", [(512, 512), (640, 360), (288, 512)])
def test_objects_stay_in_the_frame(prompt, size):
    width, height = size
    world = plan(prompt, seed=width, width=width, height=height, duration_s=6.0)
    renderer = render.Renderer(world, Fraction(24))
    assert world.bodies
    for body in world.bodies:
        boxes = np.array([renderer.bounds(body, t) for t in np.arange(0, 6, 0.08)])
        assert boxes[:, :2].min() >= 0
        assert boxes[:, 2].max() <= width
        assert boxes[:, 3].max() <= height


def _rows_of_red(frame):
    r, g, b = (frame[..., k].astype(int) for k in range(3))
    mask = (r > 90) & (r > 2 * g) & (r > 2 * b)
    return np.flatnonzero(mask.sum(axis=1) > 2)


def test_the_picture_touches_the_floor_when_the_sound_is_struck():
    """Independent of the plan: the frames themselves say when the ball is lowest."""
    prompt = "a red plastic ball bouncing in a white studio"
    thirty = {"parameters": {"frame_rate": 30}}
    raw = make(prompt, width=256, height=256, duration_s=3.0, seed=3, **thirty)
    bottom = np.array([_rows_of_red(frame).max() for frame in raw.frames], float)
    lows = [
        i
        for i in range(1, len(bottom) - 1)
        if bottom[i] >= bottom[i - 1]
        and bottom[i] > bottom[i + 1]
        and bottom[i] > bottom.max() - 12
    ]
    hits = [hit["time_s"] for hit in raw.details["impacts"] if 0.1 < hit["time_s"] < 2.9]
    assert len(hits) >= 2
    for hit in hits:
        assert min(abs(low / 30 - hit) for low in lows) <= 1 / 30


def test_left_and_right_move_that_way():
    for prompt, sign in (
        ("a red plastic ball moving right, white studio", 1),
        ("a red plastic ball moving left, white studio", -1),
    ):
        raw = make(prompt, width=192, height=192, duration_s=2.0)
        frames = list(raw.frames)
        centres = [
            np.argwhere((f[..., 0] > 90) & (f[..., 0] > 2 * f[..., 1].astype(int)))[:, 1].mean()
            for f in (frames[2], frames[-3])
        ]
        assert sign * (centres[1] - centres[0]) > 60


def test_rolling_does_not_slip():
    world = plan("a rubber ball rolling right")
    track, t = world.bodies[0].track, np.linspace(0.5, 3.0, 50)
    state = track.at(t)
    assert np.allclose(np.diff(state.roll), -np.diff(state.x) / track.radius)


@pytest.mark.parametrize("shape", sorted(solids.SOLIDS))
def test_solids_are_lipschitz_and_inside_the_unit_sphere(shape):
    rng = np.random.default_rng(0)
    a = rng.uniform(-1.3, 1.3, (3, 4000)).astype(np.float32)
    b = a + rng.normal(0, 0.02, a.shape).astype(np.float32)
    da, db = solids.SOLIDS[shape](*a), solids.SOLIDS[shape](*b)
    slope = np.abs(da - db) / np.sqrt(((a - b) ** 2).sum(axis=0))
    assert slope.max() < 1.12  # what the shortened steps of a ray allow for
    outside = np.sqrt((a**2).sum(axis=0)) > 1.03
    assert da[outside].min() > 0


def test_a_ball_is_drawn_as_a_disc_with_soft_edges():
    hits = solids.cast(solids.SOLIDS["ball"], np.eye(3, dtype=np.float32), 101, 1.05)
    cover = np.zeros(101 * 101)
    cover[hits.index] = hits.cover
    pixel = 2 * 1.05 / 101
    assert cover.sum() * pixel**2 == pytest.approx(np.pi * 0.98**2, rel=0.03)
    assert ((cover > 0.02) & (cover < 0.98)).sum() > 100
    assert np.allclose(np.sqrt((hits.normal**2).sum(axis=0)), 1, atol=1e-3)
    centre = hits.cover > 0.99
    assert np.allclose(hits.normal[:, centre], hits.point[:, centre] / 0.98, atol=0.03)
