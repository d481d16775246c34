"""What objects of the world generator do to one another: momentum, contact times, places, words."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from avsafe.testing import check_generator
from avsafe.types import GenerationRequest, Principal, Task
from avsafe_generators.world import World, parse, relations, render, scene, sound
from avsafe_generators.world.words import lookup


def planned(prompt, *, seed=0, width=512, height=512, duration_s=4.0):
    return scene.plan(
        parse.parse(prompt), width=width, height=height, duration_s=duration_s, seed=seed
    )


def ask(prompt, **more):
    small = {"width": 128, "height": 96, "duration_s": 1.0} | more
    return GenerationRequest(Principal("u"), Task.TEXT_TO_VIDEO, "world", prompt, **small)


def at(body, *times):
    return body.track.at(np.array(times, float))


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("prompt", "relation"),
    [
        ("a red ball hits a blue cube", "hit"),
        ("a red ball bumps into a blue cube", "hit"),
        ("una palla rossa colpisce un cubo blu", "hit"),
        ("une balle rouge heurte un cube bleu", "hit"),
        ("una pelota roja golpea un cubo azul", "hit"),
        ("ein roter Ball stößt einen blauen Würfel", "hit"),
        ("a red ball chases a blue cube", "chase"),
        ("una palla rossa insegue un cubo blu", "chase"),
        ("a red ball pushes a blue cube", "push"),
        ("une balle rouge pousse un cube bleu", "push"),
        ("a red ball on top of a blue cube", "stack"),
        ("una palla rossa in cima al cubo blu", "stack"),
        ("a red ball circles around a blue cube", "around"),
        ("una palla rossa gira intorno al cubo blu", "around"),
        ("a red ball next to a blue cube", "beside"),
        ("a red ball to the left of a blue cube", "leftof"),
        ("ein roter Ball rechts von einem blauen Würfel", "rightof"),
        ("a red ball behind a blue cube", "behind"),
        ("una pelota roja delante de un cubo azul", "front"),
    ],
)
def test_relations_in_five_languages(prompt, relation):
    text = parse.parse(prompt)
    assert [(w.shape, w.traits.get("color")) for w in text.wishes] == [
        ("ball", "red"),
        ("cube", "blue"),
    ]
    assert text.wishes[0].relation == relation
    assert text.wishes[0].target is text.wishes[1]
    assert text.unused == []
    shown = planned(prompt)
    assert scene._DOING[relation] in shown.caption
    assert (shown.bodies[0].relation, shown.bodies[0].target) == (relation, 1)


@pytest.mark.parametrize(
    ("prompt", "unused"),
    [
        ("a ball in front of mountains", ["in front of"]),
        ("a ball hits", ["hits"]),
        ("a bouncing ball hits a cube", ["bouncing"]),
        ("hits a ball", ["hits"]),
        ("three balls push a cube", ["push"]),
    ],
)
def test_what_cannot_be_shown_is_unused(prompt, unused):
    assert set(unused) <= set(parse.parse(prompt).unused)


def test_rows_of_words_do_not_swallow_what_they_meant_before():
    assert parse.parse("a ball on the left of the picture").wishes[0].place == "left"
    assert parse.parse("a ball from left to right").wishes[0].motions == {"across": "right"}
    assert parse.parse("a glowing neon ball").wishes[0].traits["material"] == "light"
    assert parse.parse("a light blue ball").light is None
    assert parse.parse("a ball, camera pans left").camera == "pan-left"


@pytest.mark.parametrize("light", sorted({c.value for c in lookup().values() if c.kind == "light"}))
def test_lights_change_the_picture(light):
    word = next(w for w, c in lookup().items() if (c.kind, c.value) == ("light", light))
    plain, other = (
        World().generate(ask(f"a white marble ball in a gray studio{more}", duration_s=0.5))
        for more in ("", f", {word}")
    )
    assert other.details["scene"]["light"] == light
    a, b = (next(iter(raw.frames)).astype(float) for raw in (plain, other))
    assert np.abs(a - b).mean() > 8
    if light in ("warm", "golden"):
        assert (b[..., 0] - b[..., 2]).mean() > (a[..., 0] - a[..., 2]).mean() + 15


@pytest.mark.parametrize(
    ("words", "camera"),
    [("camera tilts up", "tilt-up"), ("tilt down", "tilt-down"), ("handheld camera", "shake"),
     ("the camera shakes", "shake")],
)  # fmt: skip
def test_cameras_move_the_picture(words, camera):
    raw = World().generate(ask(f"a red cube in the city, {words}"))
    assert raw.details["scene"]["camera"] == camera
    frames = [frame.astype(float) for frame in raw.frames]
    assert np.abs(frames[2] - frames[-3]).mean() > 2


# ---------------------------------------------------------------- physics


@pytest.mark.parametrize(
    ("masses", "bounce"), [((1.0, 1.0), 0.9), ((3.0, 1.0), 0.5), ((0.2, 4.0), 0.7)]
)
def test_momentum_is_kept_and_energy_is_not_gained(masses, bounce):
    pucks = [
        relations._Puck(x, v, 0.0, mass, 0.0, True, [(0.0, x, v, 0.0)])
        for x, v, mass in ((0.0, 2.0, masses[0]), (1.0, 0.0, masses[1]))
    ]
    met = relations.collide(pucks, [0.4], [bounce], 0.0)
    assert [(round(t, 9), round(v, 9)) for t, v, *_ in met] == [(0.3, 2.0)]
    assert sum(p.mass * p.v for p in pucks) == pytest.approx(2.0 * masses[0])
    assert pucks[1].v - pucks[0].v == pytest.approx(bounce * 2.0)
    assert sum(p.mass * p.v**2 for p in pucks) <= 4.0 * masses[0]


@pytest.mark.parametrize("prompt", [
    "a metal ball hits a wooden cube", "a rubber ball rolling left hits three glass cubes",
    "two golden balls collide on grass", "a big stone cube hits a small plastic ball",
    "five marble balls collide", "a ball pushes a huge box", "a star hits a heart",
])  # fmt: skip
@pytest.mark.parametrize("seed", [0, 3])
def test_bodies_do_not_pass_through_one_another(prompt, seed):
    world = planned(prompt, seed=seed)
    t = np.arange(0, 4, 1 / 240)
    paths = [(body, body.track.at(t).x) for body in world.bodies]
    paths.sort(key=lambda item: item[1][0])
    for (one, x_one), (two, x_two) in pairwise(paths):
        assert (x_two - x_one >= relations._touch(one, two) - 1e-6).all()
    rest = np.array([body.track.at(np.array([30.0, 60.0])).x for body in world.bodies])
    assert np.allclose(rest[:, 0], rest[:, 1])  # the floor stops them, and they stay
    speeds = [np.abs(np.diff(x)).max() * 240 for _, x in paths]
    assert max(speeds) <= 3.2
    assert world.impacts()
    assert all(row["other"] != row["object"] for row in world.impacts())


@pytest.mark.parametrize("prompt", [
    "a metal ball hits a wooden cube", "a rubber ball rolling left hits three glass cubes, zoom in",
    "two golden balls collide on grass", "a huge ball pushes a huge cube", "a cube chases a ball",
    "four balls chase each other, camera tilts up", "a coin circles around a huge ball, pan left",
    "three huge cubes stacked on top of each other", "a huge star on top of a huge box",
    "a huge cone to the left of a huge cube", "a huge ball behind a huge cube, handheld camera",
])  # fmt: skip
@pytest.mark.parametrize("size", [(512, 512), (640, 360), (288, 512)])
def test_related_objects_stay_in_the_frame(prompt, size):
    width, height = size
    world = planned(prompt, seed=width, width=width, height=height, duration_s=5.0)
    renderer = render.Renderer(world, Fraction(24))
    for body in world.bodies:
        boxes = np.array([renderer.bounds(body, t) for t in np.arange(0, 5, 0.1)])
        assert boxes[:, :2].min() >= -1
        assert boxes[:, 2].max() <= width + 1
        assert boxes[:, 3].max() <= height + 1


def test_the_struck_one_moves_only_after_the_contact():
    world = planned("a red metal ball hits a blue wooden cube in a white studio")
    hit = world.impacts()[0]
    assert (hit["name"], hit["other_name"]) == ("red metal ball", "blue wooden cube")
    assert (hit["material"], hit["surface"], hit["other"]) == ("metal", "wood", 1)
    cube = at(world.bodies[1], 0.0, hit["time_s"], hit["time_s"] + 0.2).x
    assert cube[0] == pytest.approx(cube[1])
    assert cube[2] > cube[1] + 0.03


def test_the_picture_shows_the_contact_when_the_plan_says_so():
    """From the frames alone: the blue cube begins to move at the contact."""
    raw = World().generate(
        ask("a red plastic ball hits a blue plastic ball in a white studio", width=256, height=256,
            duration_s=2.0, parameters={"frame_rate": 30})
    )  # fmt: skip
    middle = []
    for frame in raw.frames:
        r, g, b = (frame[..., k].astype(int) for k in range(3))
        middle.append(np.argwhere((b > 90) & (b > 1.6 * r) & (b > 1.3 * g))[:, 1].mean())
    moved = int(np.argmax(np.abs(np.array(middle) - middle[0]) > 0.8))
    hit = raw.details["impacts"][0]["time_s"]
    assert abs(moved / 30 - hit) <= 2.2 / 30


@pytest.mark.parametrize("materials", [("metal", "wood"), ("glass", "stone"), ("rubber", "gold")])
def test_contacts_sound_of_both_at_the_time_of_the_plan(materials):
    one, two = materials
    world = planned(f"a {one} ball hits a {two} cube in a studio", seed=4)
    hit = world.impacts()[0]["time_s"]
    events = np.concatenate([e for e, _ in sound.stems(world, 2 * sound.RATE_HZ)], axis=1)
    energy = (events.sum(axis=0).reshape(-1, 24) ** 2).sum(axis=1)  # half a millisecond each
    late = np.convolve(energy, np.ones(8))[7:][: energy.size - 8]
    early = np.convolve(energy, np.ones(40))[: energy.size - 8] + 1e-9
    rise = np.log(late[1:] / early[:-1] + 1e-9)
    where = round(hit * 2000)
    window = slice(max(0, where - 60), where + 60)
    onset = max(0, where - 60) + int(np.argmax(rise[window])) + 1
    assert abs(onset / 2 - hit * 1000) <= 5.0
    voices = [sound._Voice(body, world, index) for index, body in enumerate(world.bodies)]
    for voice in voices:
        blocks = [voice.block(s, sound.BLOCK)[0] for s in range(0, 2 * sound.RATE_HZ, sound.BLOCK)]
        heard = np.concatenate(blocks)
        first = round(hit * sound.RATE_HZ)
        assert np.abs(heard[first : first + 4800]).max() > 1e-3  # each body rings


# ---------------------------------------------------------------- places


def test_places_are_where_they_say():
    left = planned("a ball to the left of a cube").bodies
    assert at(left[0], 0.0).x[0] < at(left[1], 0.0).x[0] - left[1].radius
    right = planned("a ball to the right of a cube").bodies
    assert at(right[0], 0.0).x[0] > at(right[1], 0.0).x[0] + right[1].radius
    behind = planned("a ball behind a cube").bodies
    assert at(behind[0], 0.0).z[0] > at(behind[1], 0.0).z[0] + 0.3
    front = planned("a ball in front of a cube").bodies
    assert at(front[0], 0.0).z[0] < at(front[1], 0.0).z[0] - 0.3


def test_a_pile_stands():
    world = planned("three wooden cubes stacked on top of each other")
    heights = [at(body, 0.0, 2.0).y for body in world.bodies]
    tall = relations._tall(world.bodies[0])
    assert [round(float(y[0] / tall), 3) for y in heights] == [0.0, 1.0, 2.0]
    assert "Three" in world.caption
    assert "on top of one another" in world.caption


def test_what_stands_on_something_rides_along():
    ball, cube = planned("a ball on top of a cube bouncing").bodies
    t = np.linspace(0, 4, 100)
    assert np.ptp(cube.track.at(t).y) > 0.3
    assert np.allclose(ball.track.at(t).y - cube.track.at(t).y, relations._tall(cube), atol=1e-9)


def test_who_chases_is_behind():
    ball, cube = planned("a ball chases a cube").bodies
    t = np.linspace(0, 4, 200)
    a, b = ball.track.at(t), cube.track.at(t)
    lag = 1.25 / ball.track.orbit[2]  # seconds later it is where the other was
    assert np.allclose(ball.track.at(t + lag).x, b.x, atol=1e-6)
    assert np.hypot(a.x - b.x, a.z - b.z).min() > 0.35


def test_contract_with_a_collision():
    raw = check_generator(World(), ask("two copper balls collide on a stage, spotlight", seed=3))
    assert raw.details["impacts"][0]["other"] == 1
