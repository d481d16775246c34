"""A person in words and as plain data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from avsafe_generators.portrait.person import Person

_SKIN = ("very fair", "fair", "light", "light olive", "tan", "light brown", "brown", "dark brown",
         "deep", "very deep")  # fmt: skip
_STYLE = {
    "short": "short {} hair", "side": "side-parted {} hair", "quiff": "{} hair combed up",
    "curly": "curly {} hair", "buzz": "{} hair cut very short", "long": "long {} hair",
    "bob": "a {} bob", "bun": "{} hair in a bun", "wavy": "long wavy {} hair",
    "ponytail": "{} hair in a ponytail", "fringe": "{} hair with a fringe", "afro": "a {} afro",
    "receding": "receding {} hair",
}  # fmt: skip
_WEAR = {"crew": "a {} jumper", "shirt": "a {} shirt", "v-neck": "a {} v-neck",
         "turtleneck": "a {} turtleneck", "suit": "a {} suit jacket"}  # fmt: skip
_WHERE = {"office": "in an office", "park": "in a park", "beach": "on a beach",
          "city": "in a city at night", "home": "at home", "library": "in a library",
          "night": "under a night sky"}  # fmt: skip
_LIGHT = {"soft": "soft light", "warm": "warm light", "cool": "cool light",
          "dramatic": "dramatic light", "golden": "golden light", "neon": "neon light",
          "bright": "bright light"}  # fmt: skip


def caption(person: Person) -> str:
    """What is really shown, in one English sentence: choices of the seed included."""
    age = {"young adult": "a young", "adult": "a", "old": "an old"}[person.age_word]
    face = {"smile": "smiling", "serious": "looking serious", "neutral": "with a calm face"}[
        person.expression
    ]
    features = [f"{_SKIN[person.tone - 1]} skin", f"{person.eye_name} eyes"]
    if person.hair == "bald":
        features.append("a bald head")
    elif person.hat != "headscarf":
        features.append(_STYLE[person.hair].format(person.hair_name))
    if person.beard != "none":
        article = "" if person.beard == "stubble" else "a "
        features.append(article + person.beard)
    if person.glasses == "sunglasses":
        features.append("sunglasses")
    elif person.glasses != "none":
        features.append(f"{person.glasses} glasses")
    if person.freckles > 0.3:
        features.append("freckles")
    worn = [_WEAR[person.clothing].format(person.cloth_name)]
    if person.hat != "none":
        worn.append(f"a {person.hat_name} {person.hat}")
    where = _WHERE.get(person.setting, f"before a {person.backdrop_name} backdrop")
    listed = ", ".join(features[:-1]) + " and " + features[-1]
    return (
        f"An illustrated portrait of {age} {person.sex} who does not exist, {face}, with {listed}, "
        f"in {' and '.join(worn)}, {where}, {_LIGHT[person.light]}."
    ).replace("a orange", "an orange")


def as_json(person: Person) -> dict[str, Any]:
    """All parameters as plain data."""

    def tidy(value: Any) -> Any:
        if isinstance(value, float):
            return round(value, 5)
        if isinstance(value, tuple | list):
            return [tidy(item) for item in value]
        if isinstance(value, dict):
            return {key: tidy(item) for key, item in value.items()}
        return value

    out: dict[str, Any] = tidy(asdict(person))
    return out
