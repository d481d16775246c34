"""Real voices and synthetic ones under one policy, rebuilt from packages and a folder of media.

Legend: ``n`` samples at 16 kHz. A unit is an utterance of 2 to 5 s, int16, of one source.

The policy, the same for every class: silence at the ends and in pauses above 0.2 s taken out; short
recordings (letters, digits, words; real ones and synthetic ones) joined to utterances; the length
drawn from one law; one loudness; a low noise floor; what comes from no lossy file goes through a
lossy codec in six of ten cases, as most real recordings did; at last G.722 for everything (what
some of the real recordings are kept in), which also limits the band to 7 kHz.

A source is a speaker: of a package's folder, or a voice of an engine. Speakers of the same language
go to the same fold, because two packages may have the same person.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import UsageError
from avsafe_detectors.speech import augment, engines, revoice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]
else:
    Array = Any

log = logging.getLogger(__name__)
RATE_HZ = 16_000
SHORTEST_S, LONGEST_S = 2.0, 5.0
REAL, SYNTHETIC, RENDERED = 0, 1, 2
HOW = (
    "apt-get install asterisk-core-sounds-en-g722 asterisk-core-sounds-es-g722 "
    "asterisk-core-sounds-fr-g722 asterisk-core-sounds-it-g722 asterisk-core-sounds-ru-g722 "
    "festvox-ru klettres-data ktuberling-data tuxpaint-stamps-default fillets-ng-data "
    "fillets-ng-data-cs fillets-ng-data-nl pocketsphinx-testdata"
)
SHARE = Path("/usr/share")


@dataclass(frozen=True, eq=False)
class Unit:
    name: str
    label: int  # REAL, SYNTHETIC, RENDERED
    source: str  # speaker or voice
    group: str  # package of a real one, engine of a synthetic one, kind of re-rendering
    language: str
    speaker: str  # whose voice it was before re-rendering; else the source
    sound: NDArray[np.int16]


@dataclass(frozen=True)
class Speaker:
    """Recordings of one real person (or several of a cast, where they cannot be told apart)."""

    name: str
    language: str
    group: str
    files: tuple[Path, ...]
    most: int  # units taken
    lossy: bool = True  # the recordings were kept in a lossy codec


# ---------------------------------------------------------------- real people


def speakers(media: Path | None, share: Path = SHARE) -> list[Speaker]:
    """All real people there are. Raises UsageError where the packages are not installed."""
    found = [*_asterisk(share), *_learning(share), *_fillets(share), *_others(share)]
    if len(found) < 40:
        raise UsageError(f"Real voices are missing (found: {len(found)}). Install: {HOW}")
    return [*found, *(_talking(media) if media else [])]


def _asterisk(share: Path) -> Iterator[Speaker]:
    root = share / "asterisk" / "sounds"
    for folder, name, language in (
        ("en_US_f_Allison", "allison", "en"), ("es_MX_f_Allison", "allison", "es"),
        ("fr_CA_f_June", "june", "fr"), ("it_IT_m_Carlo", "carlo", "it"),
        ("ru_RU_f_IvrvoiceRU", "ivrvoice", "ru"),
    ):  # fmt: skip
        files = sorted((root / folder).rglob("*.g722"))
        files = [f for f in files if "silence" not in str(f) and "tone" not in f.name]
        if files:
            yield Speaker(f"asterisk {name}", language, "asterisk", tuple(files), 60, lossy=False)


def _learning(share: Path) -> Iterator[Speaker]:
    """klettres (letters, syllables), ktuberling (words), tuxpaint (names of stamps)."""
    for folder in sorted((share / "klettres").iterdir()) if (share / "klettres").is_dir() else ():
        files = sorted(folder.glob("*/*.ogg"))
        if files:
            yield Speaker(f"klettres {folder.name}", _language(folder.name), "klettres",
                          tuple(files), 20)  # fmt: skip
    root = share / "ktuberling" / "sounds"
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if folder.is_dir() and not folder.name.startswith("sr@"):  # three copies of sr
            files = [f for f in sorted(folder.iterdir()) if f.suffix in (".ogg", ".wav", ".opus")]
            yield Speaker(f"ktuberling {folder.name}", _language(folder.name), "ktuberling",
                          tuple(files), 20)  # fmt: skip
    held: dict[str, list[Path]] = {}
    for path in sorted((share / "tuxpaint" / "stamps").rglob("*_desc*.ogg")):
        code = path.stem.split("_desc")[1].strip("_").split(".")[0] or "en"
        held.setdefault(code, []).append(path)
    for code, paths in held.items():
        if len(paths) > 20:
            yield Speaker(f"tuxpaint {code}", _language(code), "tuxpaint", tuple(paths), 30)


def _fillets(share: Path) -> Iterator[Speaker]:
    """A game's dialogues: "m" the small fish, "v" the large one, others a cast."""
    root = share / "games" / "fillets-ng" / "sound"
    for language in ("cs", "nl", "en"):
        cast: dict[str, list[Path]] = {}
        for path in sorted(root.glob(f"*/{language}/*.ogg")):
            part = next((p for p in path.stem.split("-")[1:2] if p in ("m", "v")), "x")
            cast.setdefault(part, []).append(path)
        for part, paths in cast.items():
            if part != "x":
                yield Speaker(f"fillets {language} {part}", language, "fillets", tuple(paths), 50)


def _others(share: Path) -> Iterator[Speaker]:
    wav = share / "festival" / "voices" / "russian" / "msu_ru_nsh_clunits" / "wav"
    files = sorted(wav.glob("*.wav"))[::6]
    if files:
        yield Speaker("festvox nsh", "ru", "festvox-ru", tuple(files), 60, lossy=False)
    data = share / "pocketsphinx" / "test" / "data"
    for name in ("librivox", "cards"):
        files = sorted((data / name).glob("*.wav"))
        if files:
            yield Speaker(f"pocketsphinx {name}", "en", "pocketsphinx", tuple(files), 12, False)


# Sound of these clips is the person's own, or a real person's; what drives generated heads
# (Loopy, OmniHuman) is left out: nobody says whose voice it is, or whether it is one.
TALKING = ("grid_", "dfrf_", "latentsync_", "retalking_", "sadtalker_", "liveportrait_")


def _talking(media: Path) -> Iterator[Speaker]:
    for path in sorted((media / "real_talking").glob("*")):
        if path.name.startswith(TALKING):
            language = "fr" if path.name.startswith("dfrf") else "en"
            yield Speaker(f"clip {path.stem}", language, "clips", (path,), 8)


def _language(code: str) -> str:
    return code.replace("@latin", "").split("_")[0]


# ---------------------------------------------------------------- sound


def read(path: Path, least_hz: int = RATE_HZ) -> Array:
    """A file's sound as mono at 16 kHz; empty where it has none, or is kept below ``least_hz``."""
    import av

    blocks = []
    try:
        with av.open(str(path), metadata_errors="ignore") as held:
            stream = held.streams.audio[0]
            if stream.rate < least_hz:
                return np.zeros(0, np.float32)
            resampler = av.AudioResampler("flt", "mono", stream.rate)
            for frame in held.decode(stream):
                blocks += [f.to_ndarray()[0] for f in resampler.resample(frame)]
            rate = int(stream.rate)
    except (av.FFmpegError, IndexError, ValueError):
        return np.zeros(0, np.float32)
    if not blocks:
        return np.zeros(0, np.float32)
    return augment.moved(np.concatenate(blocks), rate, RATE_HZ)


def trimmed(x: Array, pause_s: float = 0.2) -> Array:
    """Without silence at the ends, and with pauses of at most ``pause_s``: what lies 35 dB below
    the loud parts (95 % of 20 ms levels) is silence."""
    step = 320
    count = len(x) // step
    if count < 5:
        return x[:0]
    level = np.square(x[: count * step].reshape(count, step)).mean(1) + 1e-10
    active = level > np.quantile(level, 0.95) * 10**-3.5
    keep, quiet = np.zeros(count, bool), 0
    allowed = int(pause_s * RATE_HZ / step)
    for i in range(count):
        quiet = 0 if active[i] else quiet + 1
        keep[i] = quiet <= allowed
    on = np.flatnonzero(active)
    keep[: on[0]] = False
    keep[on[-1] + 2 :] = False
    return x[: count * step].reshape(count, step)[keep].ravel()


def joined(pieces: Iterator[Array], most: int, rng: np.random.Generator) -> Iterator[Array]:
    """Utterances of 2 to 5 s out of trimmed pieces: short ones joined by pauses of 0.08 to 0.2 s,
    long ones cut."""
    made = 0
    held: list[Array] = []
    target = int(rng.uniform(SHORTEST_S, LONGEST_S) * RATE_HZ)
    for piece in pieces:
        if made >= most:
            return
        if len(piece) < 0.15 * RATE_HZ:
            continue
        held.append(augment.levelled(piece))
        if sum(map(len, held)) < target:
            held.append(np.zeros(int(rng.uniform(0.08, 0.2) * RATE_HZ), np.float32))
            continue
        whole = np.concatenate(held)
        start = int(rng.integers(0, len(whole) - target + 1))
        yield whole[start : start + target]
        made += 1
        held = []
        target = int(rng.uniform(SHORTEST_S, LONGEST_S) * RATE_HZ)
    if made < most and sum(map(len, held)) >= SHORTEST_S * RATE_HZ:
        yield np.concatenate(held)


def finished(x: Array, lossy: bool, last: bool, rng: np.random.Generator) -> NDArray[np.int16]:
    """The end of the policy: loudness, floor, a codec for what had none, G.722."""
    x = augment.levelled(x)
    x = x + np.asarray(rng.standard_normal(len(x)) * 0.06 * 10 ** -rng.uniform(2.25, 3), np.float32)
    if not lossy and rng.random() < 0.6:
        known = ("vorbis 64k", "vorbis 64k", "mp3 128k", "aac 96k", "opus 48k")
        x = augment.coded(x, known[int(rng.integers(len(known)))])
    if last:
        x = augment.coded(x, "g722")
    return (np.clip(x, -1, 1) * 32767).astype(np.int16)


# ---------------------------------------------------------------- the corpus


def seed_of(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def real_units(media: Path | None, share: Path = SHARE) -> Iterator[Unit]:
    for who in speakers(media, share):
        name = f"{who.name} {who.language}" if who.group == "asterisk" else who.name
        rng = seed_of(name)
        files = [who.files[i] for i in rng.permutation(len(who.files))]
        pieces = (trimmed(read(path)) for path in files)
        for k, sound in enumerate(joined(_split(pieces), who.most, rng)):
            yield Unit(f"{name} {k:03}", REAL, who.name, who.group, who.language, who.name,
                       finished(sound, who.lossy, True, rng))  # fmt: skip


def _split(pieces: Iterator[Array]) -> Iterator[Array]:
    """Long recordings give more than one piece."""
    longest = int(LONGEST_S * RATE_HZ)
    for piece in pieces:
        for start in range(0, max(1, len(piece) - RATE_HZ), longest):
            yield piece[start : start + longest]


def made_units(folder: Path, most: int = 190) -> Iterator[Unit]:
    """Of the engines; their raw speech is kept in ``folder``."""
    for engine in engines.ENGINES:
        voices: dict[tuple[str, str], list[Array]] = {}
        for voice, language, sound in raw(engine, folder):
            voices.setdefault((voice.split("*")[0], language), []).append(trimmed(sound))
        total = sum(sum(map(len, v)) for v in voices.values()) / RATE_HZ / 3.5
        for (voice, language), pieces in voices.items():
            rng = seed_of(f"{voice} {language}")
            share = sum(map(len, pieces)) / RATE_HZ / 3.5 / total
            pieces = [pieces[i] for i in rng.permutation(len(pieces))]
            count = max(2, round(most * share))
            for k, sound in enumerate(joined(_split(iter(pieces)), count, rng)):
                yield Unit(f"{voice} {language} {k:03}", SYNTHETIC, voice, engine,
                           language.split("-")[0], voice,
                           finished(sound, False, True, rng))  # fmt: skip


def raw(engine: str, folder: Path) -> list[tuple[str, str, Array]]:
    """What an engine says, made once."""
    path = folder / f"raw_{engine}.npz"
    if not path.is_file():
        made = list(engines.ENGINES[engine]())
        pcm = {f"{i:04}|{v}|{lang}": (np.clip(x, -1, 1) * 32767).astype(np.int16)
               for i, (v, lang, x) in enumerate(made)}  # fmt: skip
        np.savez(path, **pcm)  # type: ignore[arg-type]
    with np.load(path, allow_pickle=False) as held:
        return [
            (name.split("|")[1], name.split("|")[2], held[name].astype(np.float32) / 32767)
            for name in held.files
        ]


def rendered_units(real: Sequence[Unit], each: int = 140) -> Iterator[Unit]:
    """Re-renderings of real units, every speaker about as often as he speaks; the same words in the
    same voice, so that only the rendering differs."""
    for kind, render in revoice.KINDS.items():
        rng = seed_of(kind)
        weight = np.array([1.0 / sum(u.source == v.source for u in real) ** 0.5 for v in real])
        chosen = rng.choice(len(real), min(each, len(real)), replace=False, p=weight / weight.sum())
        for i in sorted(chosen):
            unit = real[i]
            sound = render(unit.sound.astype(np.float32) / 32767, rng)
            if not np.isfinite(sound).all() or np.abs(sound).max() < 1e-3:
                continue
            yield Unit(f"{kind} of {unit.name}", RENDERED, f"{kind} of {unit.source}", kind,
                       unit.language, unit.source, finished(sound, True, True, rng))  # fmt: skip


def save(units: Sequence[Unit], path: Path) -> None:
    """One array of samples and a table beside it."""
    table = [[u.name, u.label, u.source, u.group, u.language, u.speaker, len(u.sound)]
             for u in units]  # fmt: skip
    np.save(path.with_suffix(".npy"), np.concatenate([u.sound for u in units]))
    path.with_suffix(".json").write_text(json.dumps(table))


def load(path: Path) -> list[Unit]:
    sound = np.load(path.with_suffix(".npy"), mmap_mode="r")
    out, at = [], 0
    for name, label, source, group, language, speaker, count in json.loads(
        path.with_suffix(".json").read_text()
    ):
        part = np.asarray(sound[at : at + count])
        out.append(Unit(name, label, source, group, language, speaker, part))
        at += count
    return out
