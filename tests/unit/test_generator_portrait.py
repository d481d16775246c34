"""The ``portrait`` generator: words, refusals, exact landmarks, determinism, hostile prompts."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from avsafe.errors import MissingExtra, NotUnderstood, UsageError
from avsafe.testing import check_generator
from avsafe.types import GenerationRequest, Principal, RawMedia, Task
from avsafe_generators.portrait import Portrait, words
from avsafe_generators.portrait.person import HAIR, SKIN, cast
from avsafe_generators.portrait.reading import Wish, read


def _request(prompt: str, seed: int = 0, **more: Any) -> GenerationRequest:
    return GenerationRequest(
        Principal("me"), Task.TEXT_TO_IMAGE, "portrait", prompt, seed=seed, **more
    )


def _draw(prompt: str, seed: int = 0, side: int = 128) -> tuple[RawMedia, Any]:
    raw = Portrait().generate(_request(prompt, seed, width=side, height=side))
    return raw, next(iter(raw.frames or ())).astype(float)


def _about(picture: Any, point: tuple[float, float], reach: int) -> Any:
    x, y = round(point[0]), round(point[1])
    return picture[y - reach : y + reach + 1, x - reach : x + reach + 1]


def test_contract() -> None:
    raw = check_generator(Portrait(), _request("a smiling woman", width=128, height=160))
    json.dumps(raw.details)  # plain data
    assert (raw.width, raw.height) == (128, 160)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a smiling young woman with long red hair, green eyes, blue shirt",
         {"sex": "woman", "age": "young adult", "hair": "long", "hair_color": "red",
          "eyes": "green", "clothing": "shirt", "cloth_color": "blue", "expression": "smile"}),
        ("un uomo anziano con barba bianca e occhiali rotondi",
         {"sex": "man", "age": "old", "beard": "beard", "hair_color": "white", "glasses": "round"}),
        ("donna con capelli ricci scuri, occhi azzurri e pelle chiara, sfondo verde",
         {"hair": "curly", "hair_color": "dark brown", "eyes": "blue", "skin": 2,
          "backdrop": "green"}),
        ("eine Frau mit langen blonden Haaren und grünen Augen",
         {"sex": "woman", "hair": "long", "hair_color": "blond", "eyes": "green"}),
        ("una mujer joven con pelo negro y gafas", {"age": "young adult", "hair_color": "black"}),
        ("une femme aux yeux verts", {"sex": "woman", "eyes": "green"}),
        ("a black woman in a red headscarf", {"skin": 9, "hat": "headscarf", "hat_color": "red"}),
        ("a 45 year old man without glasses", {"age": "adult", "glasses": "none"}),
        ("a man, no beard", {"beard": "none"}),
    ],
)  # fmt: skip
def test_words_become_what_they_say(prompt: str, expected: dict[str, object]) -> None:
    wish = read(prompt).wish
    assert {key: getattr(wish, key) for key in expected} == expected


def test_what_is_not_known_is_reported() -> None:
    reading = read("a man like Zork Xyzzy with a green beard")
    assert reading.ignored == ["like", "zork", "xyzzy"]
    assert "man" in reading.understood


@pytest.mark.parametrize("prompt", ["", "Zork Xyzzy", "portrait of somebody", "🦄" * 50, "\x00\n"])
def test_nothing_known_is_refused_with_examples(prompt: str) -> None:
    with pytest.raises(NotUnderstood, match="names of people are not understood"):
        read(prompt)


@pytest.mark.parametrize(
    "prompt",
    ["a child", "un bambino sorridente", "a 12 year old", "teenage girl", "woman with her baby",
     "ein Kind", "una ragazza", "un enfant", "un niño", "portrait of a 17-year-old woman"],
)  # fmt: skip
def test_children_are_refused(prompt: str) -> None:
    with pytest.raises(UsageError, match="adults only"):
        Portrait().generate(_request(prompt))


def test_an_adult_is_not_taken_for_a_child() -> None:
    assert read("an 18 year old woman").wish.age == "young adult"
    assert read("a woman, no children").wish.sex == "woman"


def test_a_long_prompt_is_read() -> None:
    assert read("woman " + "blah " * 10_000).n_ignored == 10_000


def test_every_concept_can_be_drawn_from() -> None:
    """Each word of the table alone is understood, or is an adjective or part that waits."""
    for row in words.lookup():
        reading = read("man with " + " ".join(row))
        assert not reading.ignored, row
    assert len(words.concepts()) > 90


def test_seed_and_words() -> None:
    same = [cast(read("a woman").wish, 5), cast(read("a woman").wish, 5)]
    assert same[0] == same[1]
    shapes = np.array([list(cast(Wish(sex="man"), seed).shape.values()) for seed in range(40)])
    assert (shapes.std(axis=0)[:35] > 0.003).mean() > 0.9
    worn = cast(Wish(sex="woman", glasses="round"), 5)
    assert worn.shape == same[0].shape  # a word changes what it names


def test_words_change_the_picture() -> None:
    raw, plain = _draw("a bald man with fair skin, blue background, no glasses, no beard", 4)
    x, y = raw.details["landmarks"]["nose"]
    _, dark = _draw("a bald man with dark skin, blue background, no glasses, no beard", 4)
    assert _about(plain, (x, y), 3).mean() > _about(dark, (x, y), 3).mean() + 60
    corner = plain[4:12, 4:12].mean(axis=(0, 1))
    assert corner[2] > corner[0] + 20
    _, shirt = _draw("a bald man with fair skin, red shirt, no glasses, no beard", 4)
    chest = shirt[-6:, 20:40].mean(axis=(0, 1))
    assert chest[0] > chest[2] + 40


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_landmarks_are_where_the_features_are(seed: int) -> None:
    prompt = "a bald man with fair skin and brown eyes, frontal, no beard, no glasses"
    raw, picture = _draw(prompt, seed, side=256)
    points = raw.details["landmarks"]
    luma = picture.mean(axis=2)
    for name in ("left_eye", "right_eye"):
        x, y = points[name]
        patch = luma[round(y) - 12 : round(y) + 13, round(x) - 12 : round(x) + 13]
        rows, columns = np.nonzero(patch < np.quantile(patch, 0.06))  # the pupil is darkest
        assert abs(float(np.median(columns)) - 12) < 3.0
        assert abs(float(np.median(rows)) - 12) < 5.0
    (lx, ly), (rx, ry) = points["mouth_left"], points["mouth_right"]
    x, y = round((lx + rx) / 2), round((ly + ry) / 2)
    column = luma[y - 14 : y + 15, x - 2 : x + 3].mean(axis=1)
    assert abs(int(column.argmin()) - 14) <= 6  # the line of the closed mouth
    assert lx < points["nose"][0] < rx


def test_a_face_for_a_detector() -> None:
    from avsafe.faces import detect

    raw, picture = _draw("a woman with glasses", 7, side=256)
    try:
        faces = detect(picture.astype(np.uint8))
    except MissingExtra:
        pytest.skip("the weights of the detector are not installed")
    assert len(faces) == 1
    found = np.asarray(faces[0].points, float)
    names = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    drawn = np.array([raw.details["landmarks"][name] for name in names])
    eyes = float(np.linalg.norm(drawn[0] - drawn[1]))
    assert np.linalg.norm(found - drawn, axis=1).max() < 0.2 * eyes


def test_caption_says_what_is_shown() -> None:
    raw = Portrait().generate(_request("an old woman with blue eyes and a green shirt"))
    caption = raw.details["caption"]
    assert "an old woman who does not exist" in caption
    assert "blue eyes" in caption
    assert "green shirt" in caption


@pytest.mark.parametrize(
    "more",
    [{"width": 126, "height": 128}, {"width": 129, "height": 128},
     {"width": 2048, "height": 2048}, {"parameters": {"pose": 1}}],
)  # fmt: skip
def test_odd_requests_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Portrait().generate(_request("a man", **more))


def test_scales_are_ordered() -> None:
    assert [sum(tone) for tone in SKIN] == sorted((sum(tone) for tone in SKIN), reverse=True)
    assert sum(HAIR["white"]) > sum(HAIR["blond"]) > sum(HAIR["brown"]) > sum(HAIR["black"])
