"""A made-up person: what the words say, the rest drawn from the seed. Nobody is a model for it.

Legend: lengths in units of about 10 cm of a head 23 cm high; angles in radians; colours in sRGB
0..1. x to the right of the picture, y up, z to the viewer; the eyes are at y = 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from avsafe_generators.portrait.reading import Wish

Color = tuple[float, float, float]

# Ten steps from the lightest to the darkest, set by eye
SKIN: tuple[Color, ...] = (
    (0.965, 0.835, 0.765), (0.945, 0.795, 0.705), (0.920, 0.745, 0.640), (0.880, 0.690, 0.565),
    (0.820, 0.615, 0.475), (0.735, 0.525, 0.385), (0.625, 0.425, 0.300), (0.515, 0.335, 0.235),
    (0.405, 0.260, 0.185), (0.310, 0.200, 0.150),
)  # fmt: skip
HAIR: dict[str, Color] = {
    "black": (0.070, 0.060, 0.060), "dark brown": (0.155, 0.100, 0.075),
    "brown": (0.280, 0.175, 0.110), "light brown": (0.440, 0.300, 0.190),
    "auburn": (0.400, 0.150, 0.080), "red": (0.640, 0.250, 0.090),
    "blond": (0.790, 0.600, 0.340), "platinum": (0.900, 0.830, 0.690),
    "gray": (0.520, 0.510, 0.500), "white": (0.860, 0.850, 0.830),
    "pink": (0.900, 0.450, 0.620), "blue": (0.150, 0.330, 0.750), "green": (0.150, 0.520, 0.330),
    "purple": (0.430, 0.200, 0.620), "orange": (0.850, 0.380, 0.080),
}  # fmt: skip
EYES: dict[str, Color] = {
    "dark brown": (0.170, 0.090, 0.050), "brown": (0.330, 0.180, 0.080),
    "hazel": (0.430, 0.320, 0.130), "green": (0.270, 0.470, 0.270),
    "blue": (0.250, 0.470, 0.720), "gray": (0.460, 0.530, 0.570),
}  # fmt: skip
CLOTH: dict[str, Color] = {
    "red": (0.690, 0.130, 0.140), "green": (0.160, 0.400, 0.250), "blue": (0.150, 0.300, 0.620),
    "navy": (0.090, 0.130, 0.260), "yellow": (0.920, 0.740, 0.220), "orange": (0.870, 0.430, 0.130),
    "purple": (0.380, 0.200, 0.520), "pink": (0.900, 0.560, 0.640), "white": (0.910, 0.905, 0.890),
    "black": (0.075, 0.075, 0.085), "gray": (0.420, 0.430, 0.450), "brown": (0.370, 0.240, 0.150),
    "cyan": (0.130, 0.500, 0.540), "beige": (0.800, 0.710, 0.590),
}  # fmt: skip
FEMALE_HAIR = ("long", "bob", "bun", "wavy", "curly", "ponytail", "short", "fringe")
MALE_HAIR = ("short", "side", "quiff", "curly", "buzz", "short", "side")


@dataclass(frozen=True)
class Person:
    """All that the renderer needs; equal persons give equal pictures."""

    seed: int
    sex: str  # woman | man: of the shape of the head; "person" lets the seed choose
    age: float  # 0 young adult .. 1 old
    age_word: str
    skin: Color
    tone: int  # 1..10
    hair: str  # style
    hair_name: str
    hair_color: Color
    eye_name: str
    eye_color: Color
    beard: str  # none | stubble | moustache | goatee | beard
    glasses: str  # none | round | square | sunglasses
    expression: str  # neutral | smile | serious
    clothing: str
    cloth_name: str
    cloth_color: Color
    hat: str  # none | beanie | headscarf
    hat_name: str
    hat_color: Color
    setting: str
    backdrop_name: str
    backdrop: Color
    light: str
    light_side: float  # -1 left .. 1 right
    yaw: float
    pitch: float
    roll: float
    makeup: float
    freckles: float
    shape: dict[str, float] = field(default_factory=dict)


def cast(wish: Wish, seed: int) -> Person:
    """Fill in what the words leave open. The same draws happen whatever the words say, so that a
    word changes what it names and little else."""
    rng = np.random.Generator(np.random.PCG64(seed))
    draw = {name: float(value) for name, value in zip(_DRAWS, rng.uniform(size=64), strict=False)}
    normal = np.clip(rng.standard_normal(40), -2.0, 2.0)

    def pick(key: str, options: tuple[str, ...]) -> str:
        return options[int(draw[key] * len(options))]

    sex = wish.sex or pick("sex", ("woman", "man"))
    woman = sex == "woman"
    age_word = wish.age or pick("age", ("young adult", "adult", "adult"))
    spread = draw["years"]
    age = {"young adult": 0.18 * spread, "adult": 0.25 + 0.25 * spread, "old": 0.8 + 0.2 * spread}[
        age_word
    ]
    tone = wish.skin or 1 + int(draw["tone"] * 10)
    skin = np.array(SKIN[tone - 1]) * (1 + 0.02 * normal[0])
    skin = np.clip(skin + np.array([0.008, 0.0, -0.012]) * normal[1], 0, 1)
    naturals = ("black", "dark brown", "brown", "light brown", "blond", "auburn", "red")
    reachable = naturals[:2] if tone >= 7 else naturals[:3] if tone >= 5 else naturals
    hair_name = wish.hair_color or (
        ("gray", "white")[int(spread > 0.5)] if age_word == "old" else pick("hair_color", reachable)
    )
    hair = wish.hair or pick("hair", FEMALE_HAIR if woman else MALE_HAIR)
    if wish.hair is None and age_word == "old" and not woman and draw["bald"] < 0.45:
        hair = ("bald", "receding")[int(draw["bald"] < 0.25)]
    dark_eyes = ("dark brown", "brown", "dark brown")
    eye_name = wish.eyes or pick(
        "eyes", dark_eyes if tone >= 6 else ("brown", "hazel", "green", "blue", "gray", "brown")
    )
    beard = wish.beard or (
        "none" if woman or draw["beard"] < 0.5
        else pick("beard_style", ("stubble", "stubble", "beard", "goatee", "moustache"))
    )  # fmt: skip
    expression = wish.expression or pick("expression", ("neutral", "smile"))
    clothing = wish.clothing or pick("clothing", ("crew", "shirt", "v-neck", "turtleneck", "crew"))
    cloth_name = wish.cloth_color or pick("cloth_color", tuple(CLOTH))
    hat_name = wish.hat_color or pick(
        "hat_color", ("gray", "navy", "red", "cyan", "beige", "purple")
    )
    setting = wish.setting or "studio"
    backdrop_name = wish.backdrop or pick(
        "backdrop", ("gray", "blue", "cyan", "beige", "green", "pink", "white")
    )
    light = wish.light or "soft"
    side = -1.0 if draw["light_side"] < 0.5 else 1.0
    turn = {"frontal": 0.0, "left": -0.27, "right": 0.27}.get(wish.turn or "")
    yaw = turn if turn is not None else (draw["yaw"] - 0.5) * 0.30

    def vary(index: int, mean: float, spread: float) -> float:
        return float(mean + spread * normal[index])

    old = age
    shape = {
        "cran_w": vary(2, 0.765 if woman else 0.785, 0.018),
        "cran_h": vary(3, 0.85, 0.025),
        "face_w": vary(4, 0.615 if woman else 0.655, 0.028),
        "face_h": vary(5, 0.80, 0.025),
        "jaw": vary(6, 0.015 if woman else 0.085, 0.035),
        "chin_w": vary(7, 0.155 if woman else 0.215, 0.028),
        "chin_y": vary(8, -0.890 if woman else -0.925, 0.028),
        "cheek": vary(9, 0.085, 0.022),
        "cheek_y": vary(10, -0.24, 0.03),
        "full": vary(11, 0.045 if woman else 0.03, 0.03) - 0.05 * old,
        "brow": vary(12, 0.018 if woman else 0.06, 0.015),
        "socket": vary(13, 0.09, 0.015) + 0.025 * old,
        "eye_x": vary(14, 0.335, 0.012),
        "eye_w": vary(15, 0.180 if woman else 0.170, 0.008),
        "eye_up": vary(16, 0.088 if woman else 0.074, 0.007) - 0.012 * old,
        "eye_low": vary(17, 0.046, 0.005),
        "eye_tilt": vary(18, 0.07 if woman else 0.03, 0.06) - 0.06 * old,
        "lid_peak": vary(19, -0.12, 0.12),
        "hood": vary(20, 0.045, 0.012),
        "nose_w": vary(21, 0.112 if woman else 0.132, 0.014),
        "nose_y": vary(22, -0.37, 0.03) - 0.015 * old,
        "nose_z": vary(23, 0.0, 0.025),
        "nose_r": vary(24, 0.086 if woman else 0.099, 0.009),
        "bridge": vary(25, 0.058 if woman else 0.068, 0.008),
        "bridge_z": vary(26, 0.0, 0.02),
        "mouth_y": vary(27, -0.645, 0.02),
        "mouth_w": vary(28, 0.255 if woman else 0.27, 0.018),
        "lip_up": vary(29, 0.062 if woman else 0.048, 0.009) - 0.014 * old,
        "lip_low": vary(30, 0.083 if woman else 0.068, 0.010) - 0.016 * old,
        "cupid": vary(31, 0.30, 0.10),
        "brow_y": vary(32, 0.245 if woman else 0.215, 0.016),
        "brow_arch": vary(33, 0.050 if woman else 0.030, 0.014),
        "brow_t": vary(34, 0.030 if woman else 0.043, 0.006),
        "brow_tilt": vary(35, 0.02, 0.03),
        "ear": vary(36, 1.0, 0.07) + 0.1 * old,
        "neck": vary(37, 0.365 if woman else 0.455, 0.02),
        "shoulder": vary(38, 1.38 if woman else 1.62, 0.06),
        "hairline": vary(39, 0.70 if woman else 0.71, 0.025),
        "part": 0.34 if draw["part"] < 0.4 else (-0.34 if draw["part"] < 0.8 else 0.0),
        "asym": (draw["asym"] - 0.5) * 0.03,
        "gaze": yaw * -0.6,
    }  # fmt: skip
    return Person(
        seed, sex, age, age_word, (float(skin[0]), float(skin[1]), float(skin[2])), tone, hair,
        hair_name, HAIR[hair_name], eye_name, EYES[eye_name], beard, wish.glasses or "none",
        expression, clothing, cloth_name, CLOTH[cloth_name], wish.hat or "none", hat_name,
        CLOTH[hat_name], setting, backdrop_name, CLOTH[backdrop_name], light, side, yaw,
        (draw["pitch"] - 0.5) * 0.09, (draw["roll"] - 0.5) * 0.07,
        (1.0 if wish.makeup else 0.5 + 0.5 * draw["makeup"] if woman and age < 0.75 else 0.0),
        (draw["freckles"] if tone <= 4 and draw["freckles"] > 0.65 else 0.0)
        if wish.freckles is None else wish.freckles, shape,
    )  # fmt: skip


_DRAWS = (
    "sex", "age", "years", "tone", "hair_color", "hair", "bald", "eyes", "beard", "beard_style",
    "expression", "clothing", "cloth_color", "hat_color", "backdrop", "light_side", "yaw", "pitch",
    "roll", "makeup", "freckles", "part", "asym",
)  # fmt: skip
