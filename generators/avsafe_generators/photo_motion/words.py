"""Words of a prompt -> the camera's move. English and Italian; moving things are those of
``avsafe_generators.cinemagraph.wishes``."""

from __future__ import annotations

from dataclasses import dataclass

from avsafe_generators.cinemagraph import phrases, wishes

MOVES = (
    "orbit", "zoom-in", "zoom-out", "pan-left", "pan-right", "pan-up", "pan-down", "dolly-zoom",
    "ken-burns", "breathing", "still",
)  # fmt: skip
_TABLE = """
move:pan-left = pan left, pans left, pan to the left, panning left, camera left, camera moves left, move left, track left, truck left, slide left, panoramica a sinistra, panoramica verso sinistra, carrellata a sinistra, camera a sinistra
move:pan-right = pan right, pans right, pan to the right, panning right, camera right, camera moves right, move right, track right, truck right, slide right, panoramica a destra, panoramica verso destra, carrellata a destra, camera a destra
move:pan-up = pan up, tilt up, crane up, camera up, camera rises, panoramica in alto, panoramica verso l'alto, camera in alto, verso l'alto
move:pan-down = pan down, tilt down, crane down, camera down, panoramica in basso, panoramica verso il basso, camera in basso, verso il basso
move:zoom-in = zoom in, zooms in, zooming in, zoom, push in, dolly in, dolly forward, move closer, closer, come closer, approach, fly in, forward, avvicina, avvicinati, avvicinamento, zoom avanti, zoom in avanti, ingrandisci, carrellata in avanti, carrellata avanti, avanti
move:zoom-out = zoom out, zooms out, zooming out, pull back, pull out, dolly out, dolly back, move away, fly out, backward, backwards, allontana, allontanati, allontanamento, zoom indietro, carrellata indietro, indietro
move:orbit = orbit, orbits, orbiting, around, arc, circle, circling, parallax, 3d, parallasse, orbita, intorno, attorno, girare intorno, tridimensionale
move:dolly-zoom = dolly zoom, vertigo, vertigo effect, hitchcock, hitchcock zoom, zolly, vertigine, effetto vertigo, contro zoom
move:ken-burns = ken burns, ken burns effect, documentary, slideshow, slide show, documentario, presentazione
move:breathing = breathing, breathe, breathes, handheld, hand held, floating camera, alive, respiro, respira, a mano, macchina a mano, viva
move:still = still camera, static camera, fixed camera, camera still, no camera movement, tripod, static, locked off, camera fissa, camera ferma, inquadratura fissa, statico, statica
side:pan-left = left, leftwards, sinistra, a sinistra, verso sinistra
side:pan-right = right, rightwards, destra, a destra, verso destra
side:pan-up = up, upward, upwards, su, in alto
side:pan-down = down, downward, downwards, giu, in basso
loop: = loop, looping, seamless loop, endless, ciclo, in loop, senza fine
size:0.6 = subtle, slightly, small, little, leggero, leggera, leggermente, appena
size:1.5 = dramatic, big, wide, drammatico, drammatica, ampio, ampia
"""  # noqa: E501  a table
_MOVES = phrases.table(_TABLE)
_PACE = {  # the share of the usual way that the camera goes in the same time
    concept: words for words, concept in wishes.AMBIENT.items() if concept.startswith("speed:")
}
# a bare direction belongs to what moves where something does; the camera's phrases win over both
KNOWN = {**wishes.AMBIENT, **{k: v for k, v in _MOVES.items() if not v.startswith("side:")}}
_SIDES = {"left": "pan-left", "right": "pan-right", "up": "pan-up", "down": "pan-down"}


@dataclass(frozen=True)
class Plan:
    """What a prompt asks of a photo."""

    move: str
    size: float  # 1 is the usual way of the camera
    loop: bool
    ambient: bool  # something of the picture is to move
    understood: tuple[str, ...]
    ignored: tuple[str, ...]
    n_ignored: int
    said: phrases.Phrases
    by_default: bool  # no word named a move


def read(prompt: str, negative: str = "") -> Plan:
    """The plan of a prompt; an empty one, or one without a known word, is the default move.

    >>> read("slow zoom in").move, read("clouds drifting left").move, read("").move
    ('zoom-in', 'still', 'orbit')
    """
    said = phrases.match(prompt, KNOWN, negative)
    moves, things, sides = said.of("move"), said.of("thing"), said.of("dir")
    ambient = bool(things)
    if moves:
        move = moves[0]
    elif sides and not ambient:
        move = _SIDES[sides[-1]]
    else:
        move = "still" if ambient else "orbit"
    size = 1.0
    for value in said.of("size"):
        size *= float(value)
    if not ambient:
        for value in said.of("speed"):
            size *= max(0.5, min(1.6, float(value)))
    extra = moves[1:]
    ignored = list(said.ignored)
    kept, seen = [], 0
    for concept, words in said.found:
        if concept.startswith("move:"):
            seen += 1
            if seen > 1:
                ignored.append(words)
                continue
        kept.append(words)
    return Plan(
        move=move,
        size=max(0.3, min(1.8, size)),
        loop=any(concept.startswith("loop:") for concept, _ in said.found),
        ambient=ambient,
        understood=tuple(kept),
        ignored=tuple(ignored),
        n_ignored=said.n_ignored + len(extra),
        said=said,
        by_default=not moves and not (sides and not ambient) and not ambient,
    )
