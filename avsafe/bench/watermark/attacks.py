"""The table of attacks: what is done to a release before its mark is looked for.

A picture attack is a damage and the codec that stores the result: H.264 at CRF 23, preset medium,
where the title says nothing else. A sound attack is a damage stored as 16-bit WAV, or a codec.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from avsafe.bench.watermark import picture_damage as p
from avsafe.bench.watermark import sound_damage as s
from avsafe.bench.watermark.recode import (
    AV1,
    VP9,
    WAV,
    Codec,
    aac,
    h264,
    h265,
    mp3,
    opus,
    picture,
)
from avsafe.errors import UsageError
from avsafe.types import Kind

RELEASED = "released"  # nothing is done: the file as it left the gate


@dataclass(frozen=True)
class Attack:
    name: str
    group: str
    title: str
    kind: Kind
    damage: Callable[[Any], Any]
    codec: Codec | None  # None: the release itself
    quick: bool = False


_V, _I, _A = Kind.VIDEO, Kind.IMAGE, Kind.AUDIO
_CRF23 = h264(23)

# name, group, title, damage; stored as H.264 CRF 23 for clips, JPEG 90 for pictures
_GEOMETRY: tuple[tuple[str, str, str, p.Damage], ...] = (
    ("resize_720", "size", "resize to 720p (short side, up or down)", p.resize(720)),
    ("resize_480", "size", "resize to 480p", p.resize(480)),
    ("resize_360", "size", "resize to 360p", p.resize(360)),
    ("crop_10", "crop", "crop 10 % of each side's length (81 % of the area stays)", p.crop(0.1)),
    ("crop_30", "crop", "crop 30 % of each side's length (49 % of the area stays)", p.crop(0.3)),
    ("crop_50", "crop", "crop 50 % of each side's length (25 % of the area stays)", p.crop(0.5)),
    ("narrow", "shape", "aspect changed: width x 0.75", p.stretch(0.75)),
    ("wide", "shape", "aspect changed: width x 1.25", p.stretch(1.25)),
    ("letterbox", "shape", "letterbox: black bars, a quarter of the height", p.letterbox(0.25)),
    ("rotate_2", "rotation", "rotated by 2 degrees", p.rotate(2)),
    ("rotate_5", "rotation", "rotated by 5 degrees", p.rotate(5)),
    ("rotate_90", "rotation", "rotated by 90 degrees", p.turn),
    ("mirror", "rotation", "mirrored left to right", p.mirror),
)
_VALUES: tuple[tuple[str, str, str, p.Damage], ...] = (
    ("brighter", "values", "brightness x 1.3", p.brightness(1.3)),
    ("darker", "values", "brightness x 0.7", p.brightness(0.7)),
    ("contrast_up", "values", "contrast x 1.4", p.contrast(1.4)),
    ("contrast_down", "values", "contrast x 0.6", p.contrast(0.6)),
    ("gamma_06", "values", "gamma 0.6", p.gamma(0.6)),
    ("gamma_16", "values", "gamma 1.6", p.gamma(1.6)),
    ("hue_30", "values", "hue turned by 30 degrees", p.hue(30)),
    ("grey", "values", "grey", p.grey),
    ("blur_1", "values", "blur, sigma 1 pixel", p.blur(1)),
    ("blur_2", "values", "blur, sigma 2 pixels", p.blur(2)),
    ("noise_5", "values", "noise, sigma 5 levels", p.noise(5)),
    ("noise_10", "values", "noise, sigma 10 levels", p.noise(10)),
    ("sharpen", "values", "sharpened (unsharp mask, 1 pixel, amount 1)", p.sharpen(1.0)),
    ("logo", "overlay", "a logo over a corner", p.logo),
    ("subtitle", "overlay", "subtitles", p.subtitle),
)
_QUICK = {"h264_crf28", "resize_360", "crop_10", "mp3_64k", "noise_20db", "jpeg_75"}


def _video() -> list[Attack]:
    coded: list[tuple[str, str, str, p.Damage, Codec]] = [
        (f"h264_crf{crf}", "H.264", f"H.264 CRF {crf}", p.same, h264(crf))
        for crf in (23, 28, 35, 40)
    ]
    coded += [
        ("h265_crf28", "other codecs", "H.265 CRF 28", p.same, h265(28)),
        ("h265_crf35", "other codecs", "H.265 CRF 35", p.same, h265(35)),
        ("vp9_crf33", "other codecs", "VP9 CRF 33", p.same, VP9),
        ("av1_crf35", "other codecs", "AV1 CRF 35 (SVT, preset 8)", p.same, AV1),
    ]
    coded += [(*row, _CRF23) for row in _GEOMETRY]
    coded += [
        ("fps_30", "time", "to 30 frames/s by timestamps", p.retime(30), _CRF23),
        ("fps_24", "time", "to 24 frames/s by timestamps", p.retime(24), _CRF23),
        ("fps_15", "time", "to 30, 24, then 15 frames/s", _down_to_15(), _CRF23),
        ("trim_3s", "time", "trimmed to 3 s, off a key frame", p.trim(3), _CRF23),
        ("trim_2s", "time", "trimmed to 2 s, off a key frame", p.trim(2), _CRF23),
        ("trim_1s", "time", "trimmed to 1 s, off a key frame", p.trim(1), _CRF23),
    ]
    coded += [(*row, _CRF23) for row in _VALUES]
    as_png = replace(_CRF23, still="png")
    as_jpeg = replace(_CRF23, still="jpeg", quality=50)
    coded += [
        (
            "screenshot_png", "screenshot", "one frame of a CRF 23 copy, as PNG",
            p.same, as_png,
        ),
        (
            "screenshot_jpeg", "screenshot", "one frame of a CRF 23 copy, as JPEG 50",
            p.same, as_jpeg,
        ),
        (
            "social", "combined", "social upload: 480p, crop 5 %, 30 frames/s, CRF 30",
            p.chain(p.shrink(480), p.crop(0.05), p.retime(30)), h264(30),
        ),
    ]  # fmt: skip
    return [Attack(n, g, t, _V, d, c, n in _QUICK) for n, g, t, d, c in coded]


def _down_to_15() -> p.Damage:
    return p.chain(p.retime(30), p.retime(24), p.retime(15))


def _image() -> list[Attack]:
    stored = [
        ("png", "codec", "PNG", p.same, picture("png")),
        *(
            (f"jpeg_{q}", "codec", f"JPEG {q}", p.same, picture("jpeg", q))
            for q in (90, 75, 50, 30)
        ),
        *((*row, picture("jpeg", 90)) for row in (*_GEOMETRY, *_VALUES)),
    ]
    return [Attack(n, g, t, _I, d, c, n in _QUICK) for n, g, t, d, c in stored]


def _audio() -> list[Attack]:
    rows: list[tuple[str, str, str, s.Damage, Codec]] = [
        ("mp3_32k", "codec", "MP3 32 kbit/s", s.same, mp3(32)),
        ("mp3_64k", "codec", "MP3 64 kbit/s", s.same, mp3(64)),
        ("mp3_128k", "codec", "MP3 128 kbit/s", s.same, mp3(128)),
        ("aac_32k", "codec", "AAC 32 kbit/s", s.same, aac(32)),
        ("aac_64k", "codec", "AAC 64 kbit/s", s.same, aac(64)),
        ("aac_128k", "codec", "AAC 128 kbit/s", s.same, aac(128)),
        ("opus_24k", "codec", "Opus 24 kbit/s", s.same, opus(24)),
        ("resample_16k", "channel", "resampled to 16 kHz", s.resample(16_000), WAV),
        ("resample_8k", "channel", "resampled to 8 kHz", s.resample(8_000), WAV),
        ("noise_20db", "channel", "white noise at 20 dB SNR", s.noise(20), WAV),
        ("noise_10db", "channel", "white noise at 10 dB SNR", s.noise(10), WAV),
        ("echo", "channel", "echo: 90 ms at -6 dB, 170 ms at -10 dB", s.echo, WAV),
        ("low_pass_4k", "channel", "low-pass 4 kHz (Butterworth, order 8)", s.low_pass(4000), WAV),
        ("music", "channel", "mixed with music 10 dB below", s.music(-10), WAV),
        ("gain_up", "level", "gain +6 dB, clipped at full scale", s.gain(6), WAV),
        ("gain_down", "level", "gain -6 dB", s.gain(-6), WAV),
        ("clipping", "level", "the loudest 5 % of samples clipped", s.clipping(0.05), WAV),
    ]
    for percent in (-10, -5, 5, 10):
        sign = f"{'plus' if percent > 0 else 'minus'}_{abs(percent)}"
        factor = 1 + percent / 100
        rows += [
            (f"speed_{sign}", "time", f"speed {percent:+d} %", s.speed(factor), WAV),
            (f"tempo_{sign}", "time", f"tempo {percent:+d} % (WSOLA)", s.tempo(factor), WAV),
        ]
    rows += [
        ("pitch_plus_1", "time", "pitch +1 semitone (resampling and WSOLA)", s.pitch(1), WAV),
        ("pitch_minus_1", "time", "pitch -1 semitone (resampling and WSOLA)", s.pitch(-1), WAV),
        ("trim_10s", "trim", "trimmed to 10 s", s.trim(10), WAV),
        ("trim_5s", "trim", "trimmed to 5 s", s.trim(5), WAV),
        ("trim_3s", "trim", "trimmed to 3 s", s.trim(3), WAV),
        ("trim_2s", "trim", "trimmed to 2 s", s.trim(2), WAV),
    ]
    short = [
        (f"{name}.5s", "5 s pieces", f"a piece of 5 s, {title}", s.chain(s.trim(5), damage), codec)
        for name, _, title, damage, codec in rows
        if name in SHORT_SOUND
    ]
    return [Attack(n, g, t, _A, d, c, n in _QUICK) for n, g, t, d, c in rows + short]


# measured on pieces of 5 s too, because a floor asks for it
SHORT_SOUND = (
    "mp3_64k", "aac_64k", "resample_16k", "resample_8k", "noise_20db",
    "speed_plus_5", "speed_minus_5", "tempo_plus_5", "tempo_minus_5",
)  # fmt: skip


def _released(kind: Kind) -> Attack:
    return Attack(RELEASED, "release", "the file as it left the gate", kind, p.same, None, True)


def table(kind: Kind) -> dict[str, Attack]:
    """Name -> attack for one kind of media, in the order of the report.

    >>> list(table(Kind.VIDEO))[:3]
    ['released', 'h264_crf23', 'h264_crf28']
    """
    made = {Kind.VIDEO: _video, Kind.IMAGE: _image, Kind.AUDIO: _audio}[kind]()
    return {attack.name: attack for attack in (_released(kind), *made)}


def choose(
    names: Sequence[str] | None, kinds: Sequence[Kind], *, quick: bool
) -> dict[Kind, list[str]]:
    """Kind -> names of the attacks to run. UsageError lists the known ones for an unknown name."""
    tables = {kind: table(kind) for kind in dict.fromkeys(kinds)}
    known = {name for one in tables.values() for name in one}
    unknown = sorted(set(names or ()) - known)
    if unknown:
        listed = "; ".join(f"{kind}: {', '.join(one)}" for kind, one in tables.items())
        raise UsageError(f"No attack {', '.join(unknown)}. Known are, {listed}.")
    return {
        kind: [
            name
            for name, attack in one.items()
            if (name in names if names else (attack.quick or not quick))
        ]
        for kind, one in tables.items()
    }
