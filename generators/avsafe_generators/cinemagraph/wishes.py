"""Words of a prompt -> how a region is to move. English and Italian."""

from __future__ import annotations

from dataclasses import dataclass

from avsafe_generators.cinemagraph import phrases

MOTIONS = ("flow", "ripple", "swirl", "sway", "flicker")
DIRECTIONS = {"right": 0.0, "down": 90.0, "left": 180.0, "up": 270.0}  # degrees, clockwise

_TABLE = """
thing:water = water, river, stream, brook, creek, flow, flows, flowing, current, rapids, running water, acqua, fiume, ruscello, torrente, corrente, scorre, scorrere, scorrono, scorrendo, fluire, fluisce, canale
thing:fall = waterfall, waterfalls, cascade, fountain, falling water, pouring, pours, falls, cascata, cascate, fontana, versa, cade, cadono
thing:waves = sea, lake, ocean, wave, waves, pond, pool, ripple, ripples, rippling, reflection, reflections, mare, lago, oceano, onda, onde, stagno, piscina, increspature, increspatura, riflesso, riflessi, laguna
thing:clouds = cloud, clouds, cloudy, sky, drift, drifts, drifting, nuvola, nuvole, cielo, nubi, deriva, scivolano
thing:smoke = smoke, smoking, steam, steaming, fog, mist, vapour, vapor, haze, fumo, fuma, vapore, nebbia, foschia
thing:fire = fire, flame, flames, candle, candles, burning, fireplace, campfire, torch, fuoco, fiamma, fiamme, candela, candele, camino, falo, brucia, torcia
thing:light = light, lights, lamp, lamps, neon, lantern, flicker, flickers, flickering, glow, glowing, shimmer, shimmering, stars, luce, luci, lampada, lampade, lanterna, tremola, tremolante, sfarfallio, bagliore, scintillio, stelle
thing:leaves = leaves, leaf, tree, trees, grass, hair, flag, cloth, dress, curtain, curtains, wind, windy, breeze, sway, sways, swaying, flowers, flower, fur, foglie, foglia, albero, alberi, erba, capelli, bandiera, stoffa, vestito, tenda, tende, vento, brezza, ondeggia, ondeggiare, ondeggiano, fiori, fiore, pelo
thing:vortex = swirl, swirls, swirling, whirl, whirlpool, vortex, spiral, stir, stirring, coffee, tea, galaxy, vortice, gorgo, mulinello, spirale, caffe, mescola, galassia
dir:left = left, leftward, leftwards, to the left, sinistra, a sinistra, verso sinistra
dir:right = right, rightward, rightwards, to the right, destra, a destra, verso destra
dir:up = up, upward, upwards, rising, rises, rise, su, in su, verso l'alto, sale, salgono
dir:down = down, downward, downwards, giu, in giu, verso il basso, scende, scendono
speed:0.5 = slow, slowly, gentle, gently, calm, calmly, lento, lenta, lenti, lente, lentamente, piano, dolce, dolcemente, calmo, calma
speed:0.35 = very slow, very slowly, barely, molto lento, molto lenta, molto lentamente, lentissimo
speed:1.8 = fast, quick, quickly, rapid, strong, strongly, veloce, veloci, velocemente, rapido, rapida, forte
speed:2.5 = very fast, violent, stormy, storm, molto veloce, tempesta, velocissimo
"""  # noqa: E501  a table

_HALVES = """
where:0,0,1,0.5 = top half, upper half, top, upper part, meta superiore, parte superiore, parte alta, meta alta
where:0,0.5,1,0.5 = bottom half, lower half, bottom, lower part, meta inferiore, parte inferiore, parte bassa, meta bassa
where:0,0,0.5,1 = left half, left side, left part, meta sinistra, parte sinistra, lato sinistro
where:0.5,0,0.5,1 = right half, right side, right part, meta destra, parte destra, lato destro
where:0,0,1,1 = everything, whole picture, whole image, tutto, tutta l'immagine, tutta la foto
"""  # noqa: E501  a table

# thing -> motion, direction in degrees (None: from the picture), speed, share of turbulence
_HOW: dict[str, tuple[str, float | None, float, float]] = {
    "water": ("flow", None, 1.0, 0.25),
    "fall": ("flow", 90.0, 1.5, 0.12),
    "waves": ("ripple", 90.0, 1.0, 0.0),
    "clouds": ("flow", 0.0, 0.4, 0.2),
    "smoke": ("flow", 270.0, 0.6, 0.6),
    "fire": ("flicker", 270.0, 1.0, 1.0),
    "light": ("flicker", 270.0, 0.8, 0.0),  # brightness alone: a lamp keeps its shape
    "leaves": ("sway", 0.0, 1.0, 0.0),
    "vortex": ("swirl", 0.0, 1.0, 0.1),
}
AMBIENT = phrases.table(_TABLE)
HALVES = phrases.table(_HALVES)


@dataclass(frozen=True)
class Wish:
    """How a region is to move."""

    motion: str  # one of MOTIONS
    angle_deg: float | None  # 0 right, 90 down; None: along the streaks of the picture
    speed: float  # 1 is the usual one of the motion
    turbulence: float  # 0..1
    thing: str = ""  # which word class decided; empty when none did


def wish(found: phrases.Phrases, motion: str, direction: str, speed: float) -> Wish:
    """The wish of a prompt; ``motion`` and ``direction`` other than "auto" go before its words.

    >>> wish(phrases.match("slow clouds to the left", AMBIENT), "auto", "auto", 1.0)
    Wish(motion='flow', angle_deg=180.0, speed=0.2, turbulence=0.2, thing='clouds')
    """
    things = found.of("thing")
    thing = things[0] if things else ""
    usual, angle, pace, turbulence = _HOW.get(thing, ("flow", None, 1.0, 0.2))
    if motion not in ("auto", usual):
        usual, angle, turbulence = motion, (90.0 if motion == "ripple" else None), 0.2
    named = found.of("dir")
    if named:
        angle = DIRECTIONS[named[-1]]
    if direction != "auto":
        angle = DIRECTIONS[direction]
    for value in found.of("speed"):
        pace *= float(value)
    return Wish(usual, angle, pace * speed, turbulence, thing)
