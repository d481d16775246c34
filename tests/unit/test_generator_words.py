"""The vocabulary and the grammar of the world generator."""

import time
from collections import defaultdict

import pytest

from avsafe.errors import NotUnderstood
from avsafe_generators.world import lamps, parse, scene, shading, solids, sound, words
from avsafe_generators.world.words import Concept


def read(prompt, negative=""):
    return parse.parse(prompt, negative)


def planned(prompt, seed=0, **more):
    size = {"width": 512, "height": 512, "duration_s": 4.0} | more
    return scene.plan(read(prompt), seed=seed, **size)


@pytest.mark.parametrize(
    "prompt",
    [
        "a red rubber ball bouncing by the sea",
        "una palla rossa di gomma che rimbalza sulla spiaggia",
        "une balle rouge en caoutchouc qui rebondit à la plage",
        "una pelota roja de caucho rebotando en la playa",
        "ein roter Ball aus Gummi hüpft am Strand",
    ],
)
def test_five_languages_give_the_same_scene(prompt):
    text = read(prompt)
    assert [w.shape for w in text.wishes] == ["ball"]
    assert text.wishes[0].traits == {"color": "red", "material": "rubber"}
    assert text.wishes[0].motions == {"height": "bounce"}
    assert text.setting == "sea"
    assert text.ignored == []


@pytest.mark.parametrize(
    ("prompt", "wishes"),
    [
        (
            "a red ball and a big blue cube",
            [("ball", {"color": "red"}), ("cube", {"size": "big", "color": "blue"})],
        ),
        ("a ball over a blue cube", [("ball", {}), ("cube", {"color": "blue"})]),
        ("boule rouge, cube bleu", [("ball", {"color": "red"}), ("cube", {"color": "blue"})]),
        ("the ball is green", [("ball", {"color": "green"})]),
        ("a silver moon over a ring", [("moon", {"material": "silver"}), ("ring", {})]),
        ("two golden stars under the stars", [("star", {"material": "gold"})]),
    ],
)
def test_adjectives_go_to_their_noun(prompt, wishes):
    assert [(w.shape, w.traits) for w in read(prompt).wishes] == wishes


@pytest.mark.parametrize(
    ("prompt", "axis", "motion"),
    [
        ("a ball rolling left", "across", "left"),
        ("a ball from the left", "across", "right"),
        ("a ball from left to right", "across", "right"),
        ("a spinning coin", "turn", "spin"),
        ("a coin. everything slowly rotating", "turn", "spin"),
    ],
)
def test_motions(prompt, axis, motion):
    assert read(prompt).wishes[0].motions[axis] == motion


def test_camera_words_are_not_motions_of_objects():
    assert read("a ball, camera pans right").camera == "pan-right"
    assert read("a ball, camera pans right").wishes[0].motions == {}
    assert read("a ball, zoom out").camera == "zoom-out"


def test_place_settings_weather_time_and_light():
    text = read("a cube on the right in a dark forest with fog")
    assert (text.wishes[0].place, text.setting, text.time, text.weather) == (
        "right",
        "forest",
        "night",
        ["fog"],
    )
    assert read("a star on a blue background").setting_color == "blue"
    assert read("blue background with a star").setting_color == "blue"


def test_negation_and_negative_prompt_leave_out():
    text = read("a ball in the desert, no rain, without snow")
    assert text.weather == []
    assert {"rain", "snow"} <= {c.value for c in text.excluded}
    for seed in range(20):
        body = scene.plan(
            read("a ball", "red, wood, studio"), width=512, height=512, duration_s=4, seed=seed
        )
        assert body.bodies[0].color != "red"
        assert body.bodies[0].material != "wood"
        assert body.setting != "studio"


def test_reports_understood_unused_and_ignored():
    text = read("a photorealistic red ball and a crowd of blurry dragons in the desert, blue")
    assert text.ignored == ["photorealistic", "crowd", "blurry", "dragons"]
    assert text.n_ignored == 4
    assert {"red", "ball", "desert"} <= set(text.understood)
    assert read("a red and blue ball and a green cube").unused == ["red"]
    assert read("a wooden metal ball").unused == ["wooden"]


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        " ",
        "the of and",
        "a president speaking",
        "zoom",
        "fast",
        "7",
        "🙂🙂",
        "\x00\x1b[31m",
        "‮",
        "日本語だけ",
    ],
)
def test_nothing_understood_is_refused_with_examples(prompt):
    with pytest.raises(NotUnderstood, match="a red ball"):
        read(prompt)


def test_hostile_prompts_are_read_in_linear_time():
    costs = []
    for size in (20_000, 80_000):
        prompt = "ball " + "blue and unknownword rolling not " * (size // 33)
        start = time.process_time()
        text = read(prompt)
        costs.append(time.process_time() - start)
        assert sum(w.count for w in text.wishes) <= words.MAX_COUNT
    assert costs[1] < 16 * costs[0] + 0.5  # 4 times the length; quadratic would be 16 times
    long = read("ball " + "x" * 100_000)
    assert len(long.ignored[0]) <= 40
    many = read(
        "ball "
        + " ".join(
            f"zq{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)}" for i in range(5000)
        )
    )
    assert len(many.ignored) == 200
    assert many.n_ignored == 5000


def test_too_many_objects_are_dropped_and_counted():
    text = read("four balls, four cubes and four stars falling")
    assert sum(w.count for w in text.wishes) == words.MAX_COUNT
    assert text.dropped == 6


def test_no_word_means_two_things_and_none_is_only_structure():
    meanings = defaultdict(set)
    for line in words._TABLE.replace("\n  ", " ").strip().splitlines():
        head, _, body = line.partition(":")
        for entry in body.split():
            for form in words._inflect(entry):
                meanings[form].add(head)
    assert {form: heads for form, heads in meanings.items() if len(heads) > 1} == {}
    assert set(words.lookup()) & words.STOP_WORDS == set()
    bare = [word.replace(" ", "") for word in words.lookup()]  # rows of words are read as one
    assert all(word.isalpha() or word.isdigit() for word in bare)
    assert 80 <= len(words.concepts()) <= 130


def test_every_concept_can_be_shown():
    by_kind = defaultdict(set)
    for concept in words.concepts():
        by_kind[concept.kind].add(concept.value)
    assert by_kind["shape"] == set(solids.SOLIDS)
    assert (
        by_kind["material"] == set(scene.RESTITUTION) == set(shading._NATURAL) == set(sound.MODES)
    )
    assert by_kind["color"] == set(scene.COLORS)
    assert by_kind["size"] == set(scene.SIZES)
    assert by_kind["setting"] == set(scene.SURFACE) == set(scene._WHERE)
    assert by_kind["motion"] == set(scene._ING) == set(parse.AXIS_OF_MOTION)
    assert by_kind["relation"] == set(scene._DOING) == set(parse.MAY_ALSO)
    assert by_kind["light"] == set(scene._LIGHT) == set(lamps.SHADOW)
    assert by_kind["camera"] == set(scene._CAMERA)


@pytest.mark.parametrize(
    "concept",
    [
        c
        for c in words.concepts()
        if c.kind in ("shape", "motion", "setting", "material", "color", "pattern", "size")
    ],
)
def test_the_caption_says_what_was_asked(concept):
    word = next(w for w, c in words.lookup().items() if c == concept and w != "stars")
    other = "" if concept.kind in ("shape", "setting") else " ball"
    shown = planned(
        f"one {word}{other}" if concept != Concept("shape", "moon") else "crescent"
    ).as_json()
    if concept.kind == "setting":
        assert shown["setting"] == concept.value
        return
    body = shown["objects"][0]
    found = {body["shape"], body["material"], body["color"], body["pattern"], *body["motions"]}
    if concept.kind == "size":
        assert body["radius"] == pytest.approx(scene.SIZES[concept.value])
    else:
        assert concept.value in found


def test_captions_are_sentences():
    assert planned("two green wooden cubes sliding left in the desert, zoom in").caption == (
        "Two green wooden cubes moving left and sliding in a desert by day, the camera zooms in."
    )
    assert planned("rain at night in the city").caption.startswith(
        "An empty scene in front of a city at night"
    )
