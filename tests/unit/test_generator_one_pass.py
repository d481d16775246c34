"""The one-pass generator: maps and back, paths, contacts, contract."""

import hashlib
import importlib.util
import itertools

import numpy as np
import pytest

from avsafe.errors import Cancelled, MissingExtra, NotUnderstood, UsageError
from avsafe.testing import check_generator
from avsafe.types import GenerationRequest, Generator, Kind, Principal, Task
from avsafe_generators.one_pass import INFO, OnePass, maps, motion, paths, staging, traits
from avsafe_generators.train import one_pass as training
from avsafe_generators.world import parse, scene

TIMES = np.arange(training.FRAMES) / training.RATE


def planned(prompt, seed=3, duration_s=5.0):
    text = parse.parse(prompt)
    return scene.plan(text, width=512, height=512, duration_s=duration_s, seed=seed)


def followed(clip, expected=1):
    return paths.follow(maps.read(clip, traits.OBJECTS, expected), traits.OBJECTS)[0]


def ask(prompt, **more):
    small = {"width": 128, "height": 96, "duration_s": 1.0, "parameters": {"steps": 4}} | more
    return GenerationRequest(Principal("u"), Task.TEXT_TO_VIDEO, "one-pass", prompt, **small)


def fingerprint(raw):
    digest = hashlib.sha256()
    for item in (*raw.frames, *raw.samples):
        digest.update(np.ascontiguousarray(item).tobytes())
    return digest.hexdigest()


# ---------------------------------------------------------------- maps and back


def test_true_maps_read_back_exactly():
    for seed, prompt in enumerate(
        ["a tiny blue ball moving left", "a huge red star approaching", "a cyan egg bouncing"]
    ):
        plan = planned(prompt, seed)
        body, state = plan.bodies[0], plan.bodies[0].track.at(TIMES)
        x, y, size = maps.project(state.x, state.y, state.z, body.radius * state.scale)
        seen = maps.read(maps.draw(plan, TIMES), 2)
        assert [len(frame) for frame in seen] == [1] * len(TIMES)
        assert np.allclose([f[0].x for f in seen], x, atol=0.02)  # cells
        assert np.allclose([f[0].y for f in seen], y, atol=0.02)
        assert np.allclose([f[0].size for f in seen], size, rtol=1e-3)
        assert np.allclose([f[0].depth for f in seen], state.z, atol=1e-3)


def test_projection_has_a_way_back():
    rng = np.random.default_rng(1)
    x, y, z, r = rng.uniform(-0.9, 0.9, 20), rng.uniform(0, 1, 20), rng.uniform(0, 2, 20), 0.2
    cx, cy, size = maps.project(x, y, z, np.full(20, r))
    for got, true in zip(maps.unproject(cx, cy, size, z), (x, y, r), strict=True):
        assert np.allclose(got, true)


@pytest.mark.parametrize("setting", traits.SETTING)
def test_every_setting_and_color_and_shape_has_a_code_of_its_own(setting):
    k = traits.SETTING.index(setting)
    color, shape = traits.COLOR[k], traits.SHAPE[k + 5]
    noun = "crescent" if shape == "moon" else shape
    plan = planned(f"a {color} plastic {noun} {training._PLACE_WORD[setting]}")
    clip = maps.draw(plan, TIMES[:4])
    (path,) = followed(clip)
    assert (maps.setting(clip)[0], path.color, path.shape) == (setting, color, shape)


def test_noise_holds_no_object():
    noise = 0.3 * np.random.default_rng(0).standard_normal((maps.CHANNELS, 80, 8, 8))
    assert followed(noise.astype(np.float32)) == []


def test_two_objects_stay_two():
    """Although they cross, and touch for most of the clip."""
    clip = maps.draw(planned("a red ball moving left and a green cube moving right"), TIMES)
    found = followed(clip, 2)
    assert sorted((p.color, p.shape) for p in found) == [("green", "cube"), ("red", "ball")]
    assert {p.color: motion.motions(p) for p in found} == {
        "red": {"across": "left"}, "green": {"across": "right"},
    }  # fmt: skip


# ---------------------------------------------------------------- paths and motions


@pytest.mark.parametrize(
    ("axis", "value"), [(a, v) for a, values in traits.MOTIONS.items() for v in values]
)
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_motions_are_told_apart_on_true_maps(axis, value, noise):
    made_of = {"bounce": "rubber", "fall": "wooden"}.get(value, "plastic")
    plan = planned(f"a {made_of} cube {training._WORD[value]} in a room", 11)
    clip = maps.draw(plan, TIMES)
    clip = clip + noise * np.random.default_rng(2).standard_normal(clip.shape).astype(np.float32)
    assert motion.motions(followed(clip)[0]) == ({} if value == "still" else {axis: value})


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("prompt", ["a rubber ball bouncing", "a plastic star jumping"])
def test_contacts_lie_where_they_are_not_on_frames(prompt, seed):
    plan = planned(prompt, seed)
    true = [h for h in plan.bodies[0].impacts if 0.2 < h.time_s < 4.8]
    assert len(true) >= 3
    found = followed(maps.draw(plan, TIMES))[0].contacts
    for hit in true:
        when, speed = min(found, key=lambda c: abs(c[0] - hit.time_s))
        assert abs(when - hit.time_s) < 0.012  # a fifth of a frame
        assert speed == pytest.approx(hit.speed, rel=0.25)
    assert all(min(abs(t - h.time_s) for h in plan.bodies[0].impacts) < 0.1 for t, _ in found)


def test_no_contact_where_nothing_lands():
    for word in ("floating", "moving left", "rising", "orbiting"):
        assert followed(maps.draw(planned(f"a ball {word}"), TIMES))[0].contacts == ()


def test_a_staged_scene_is_the_planned_one():
    text = parse.parse("a big rubber ball bouncing and a gold star moving left in a desert, music")
    plan = scene.plan(text, width=512, height=512, duration_s=5.0, seed=4)
    found = followed(maps.draw(plan, TIMES), 2)
    staged = staging.stage(text, found, "desert", width=256, height=256, duration_s=5.0, seed=4)
    by_shape = {body.shape: body for body in staged.bodies}
    assert by_shape["star"].material == "gold"  # a costume from the prompt
    assert by_shape["star"].color is None
    assert by_shape["ball"].material == "rubber"
    assert staged.music
    for body in plan.bodies:
        mine, true = by_shape[body.shape].track.at(TIMES), body.track.at(TIMES)
        for off in (np.abs(mine.x - true.x), np.abs(mine.y - true.y)):
            assert np.percentile(off, 95) < 0.06
            assert off.max() < 0.25  # single frames where the two touch
        assert by_shape[body.shape].radius == pytest.approx(body.radius, rel=0.05)
    # one contact lies in the last frame, one where the two touch
    assert len(plan.impacts()) - 2 <= len(staged.impacts()) <= len(plan.impacts())


# ---------------------------------------------------------------- what the model is told


@pytest.mark.parametrize(
    "prompt",
    ["una palla rossa rimbalza sul prato", "eine rote Kugel hüpft auf der Wiese",
     "une balle rouge rebondit dans l'herbe", "una pelota roja rebotando en la hierba"],
)  # fmt: skip
def test_the_model_is_told_the_same_in_every_language(prompt):
    english = traits.of(parse.parse("a red ball bouncing on grass"))
    other = traits.of(parse.parse(prompt))
    assert np.array_equal(other.objects, english.objects)
    assert np.array_equal(other.scene, english.scene)


def test_traits_stay_within_their_tables():
    rng = np.random.default_rng(0)
    for _ in range(100):
        told = traits.of(parse.parse(training.prompt(rng, 2)[0]))
        assert (told.objects < np.array(traits.FIELDS)).all()
        assert (told.scene < np.array(traits.SCENE_FIELDS)).all()
    assert traits.nothing().objects.sum() == 0


def test_held_out_combinations_are_never_trained_on():
    rng = np.random.default_rng(1)

    def combinations(truth):
        for thing in truth["objects"]:
            for move in list(thing["motions"].values()) or [None]:
                yield thing["color"], thing["shape"], move

    seen = [c for _ in range(300) for c in combinations(training.prompt(rng, 2)[1])]
    assert not any(training.held_out(*c) for c in seen if c[0])
    unseen = [training.prompt(rng, 1, unseen=True)[1] for _ in range(40)]
    assert all(training.held_out(*c) for truth in unseen for c in combinations(truth))
    every = itertools.product(traits.COLOR, traits.SHAPE, [v for _, v in training.SIMPLE])
    share = np.mean([training.held_out(*c) for c in every])
    assert 0.08 < share < 0.12


# ---------------------------------------------------------------- refusals, before any torch


def test_info_is_complete_and_honest():
    assert isinstance(OnePass(), Generator)
    assert INFO.digital_source_type.endswith("/trainedAlgorithmicMedia")
    assert INFO.card == "cards/one-pass.md"
    assert "not photorealistic" in INFO.summary


def test_torch_is_named_when_it_is_missing(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"avsafe\[generate\]"):
        OnePass().generate(ask("a red ball"))


@pytest.mark.parametrize(
    ("request_", "error", "says"),
    [
        (ask("", parameters={}), NotUnderstood, "vocabulary"),
        (ask("xyzzy " * 2000), NotUnderstood, "vocabulary"),
        (ask("rain in the forest at night"), UsageError, "names none"),
        (ask("a red ball", parameters={"style": "x"}), UsageError, "no parameter"),
        (ask("a red ball", parameters={"steps": 2}), UsageError, "4 to 64"),
        (ask("a red ball", parameters={"guidance": "nan"}), UsageError, "1 to 4"),
        (ask("a red ball", width=33), UsageError, "even sides"),
        (ask("a red ball", duration_s=16), UsageError, "0.5 to 15"),
        (ask("a red ball", duration_s=float("nan")), UsageError, "clips of"),
    ],
)
def test_what_cannot_be_made_is_refused(request_, error, says):
    pytest.importorskip("torch")
    with pytest.raises(error, match=says):
        OnePass().generate(request_)


# ---------------------------------------------------------------- with the trained weights


@pytest.fixture(scope="module")
def model():
    pytest.importorskip("torch")
    from avsafe_generators.one_pass import model

    return model


def test_the_contract_of_a_generator(model):
    raw = check_generator(OnePass(), ask("a red rubber ball bouncing in a room, xyzzy", seed=2))
    assert raw.kind is Kind.VIDEO
    assert (raw.frame_count, raw.frame_rate) == (16, 16)
    assert raw.details["ignored"] == ["xyzzy"]
    assert raw.details["decoded"]["objects_asked"] == 1
    assert raw.details["asked"][0] == {
        "color": "red", "shape": "ball", "motions": {"height": "bounce"},
    }  # fmt: skip


def test_the_number_of_threads_changes_nothing(model):
    import torch

    text, made, before = parse.parse("a red ball moving left"), [], torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        made.append(model.make(text, 80, 1, steps=4, guidance=1.5))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert np.array_equal(*made)
    assert not np.array_equal(made[0], model.make(text, 80, 2, steps=4, guidance=1.5))


def test_cancel_is_heard_at_every_step(model):
    polls = 0

    def cancelled_at(number):
        nonlocal polls
        polls = 0

        def cancelled():
            nonlocal polls
            polls += 1
            return polls > number

        return cancelled

    request = ask("a red ball moving left", duration_s=0.5)
    raw = OnePass().generate(request, cancelled=cancelled_at(10**9))
    during = polls
    for number in (0, 3, during - 1):
        with pytest.raises(Cancelled):
            OnePass().generate(request, cancelled=cancelled_at(number))
    raw = OnePass().generate(request, cancelled=cancelled_at(during + 2))
    with pytest.raises(Cancelled):
        list(raw.frames)


def test_unused_words_are_told(model):
    raw = OnePass().generate(ask("three red balls swinging, the camera zooms in", duration_s=0.5))
    assert {"swinging", "zooms"} <= set(raw.details["unused"])
    assert raw.details["dropped_objects"] == 1


def test_a_long_clip_begins_like_no_other_and_has_no_seam(model):
    text = parse.parse("a green ball floating in a room")
    clip = model.make(text, 120, 5, steps=4, guidance=1.0)
    assert clip.shape == (maps.CHANNELS, 120, 8, 8)
    step = np.abs(np.diff(clip, axis=1)).mean(axis=(0, 2, 3))
    assert step[38:42].max() < 2.5 * np.median(step)
    assert step[78:82].max() < 2.5 * np.median(step)
