"""Benign control sets and bad inputs: media of which no detector may say that they were generated.

Drawn by programs, deterministic, small, offline. They serve tests (nothing is ever flagged), the
benchmark (how often a set is flagged), and calibration. A set with ``of`` can be made from real
media (``given``); without it a drawn stand-in takes their place.

>>> from avsafe_detectors.benign import SETS
>>> raw = SETS["cartoon"].raw(seed=1, seconds=0.2)
>>> raw.frame_count, next(iter(raw.frames)).shape
(5, (360, 640, 3))
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from avsafe.types import Kind
from avsafe_detectors.benign import damaged, moving, pictures, sound
from avsafe_detectors.benign.control import Control as Control

A, V, P = Kind.AUDIO, Kind.VIDEO, Kind.IMAGE

_ALL = (
    # sound
    Control("silence", A, "digital silence", sound.silence, demand="abstain"),
    Control("faint", A, "a silent room before an open microphone", sound.faint, demand="abstain"),
    Control("tone", A, "one pure tone", sound.tone, demand="abstain"),
    Control("sweep", A, "a rising tone", sound.sweep, demand="abstain"),
    Control("keypad", A, "telephone keys", sound.keypad, demand="abstain"),
    Control("chords", A, "held chords", sound.chords, seconds=4.0),
    Control("plucked", A, "a melody on strings", sound.plucked, seconds=4.0),
    Control("drums", A, "a drum loop", sound.drums, seconds=4.0),
    Control("white-noise", A, "white noise", sound.white_noise, demand="abstain"),
    Control("pink-noise", A, "pink noise", sound.pink_noise, demand="abstain"),
    Control("birds", A, "birdsong", sound.birds, seconds=4.0),
    Control("engine", A, "a motor", sound.engine, seconds=4.0),
    Control(
        "telephone", A, "speech through a telephone: 8 kHz, mu-law", sound.telephone, of="speech",
        seconds=4.0,
    ),
    # pictures
    Control("photo", P, "a photo, PNG", pictures.plain, of="photo"),
    Control("photo-jpeg", P, "a photo, JPEG 50", pictures.plain, of="photo", suffix=".jpg",
            quality=50),
    Control("photo-webp", P, "a photo, WebP 75", pictures.plain, of="photo", suffix=".webp",
            quality=75),
    Control("denoised", P, "a photo after noise reduction", pictures.denoised, of="photo"),
    Control("enlarged", P, "a photo enlarged", pictures.enlarged, of="photo"),
    Control("sharpened", P, "a photo sharpened", pictures.sharpened, of="photo"),
    Control("night", P, "a dark photo with much noise", pictures.night, of="photo"),
    Control("foliage", P, "leaves: fine texture everywhere", pictures.foliage),
    Control("scan", P, "a scanned page", pictures.scanned),
    Control("qr-code", P, "a QR code", pictures.qr_code),
    Control("gradient", P, "a colour gradient", pictures.gradient),
    Control("drawing", P, "a flat drawing", pictures.drawing),
    Control("diagram", P, "a chart", pictures.diagram),
    Control("tiny-picture", P, "a picture of 16 x 16", pictures.tiny, of="photo", demand="abstain"),
    # moving pictures
    Control("clip", V, "a clip from a camera", moving.clip, of="clip"),
    Control("cartoon", V, "a drawn scene in motion", moving.cartoon),
    Control("slides", V, "slides of text", moving.slides),
    Control("narrated", V, "slides while somebody speaks", moving.narrated, of="speech"),
    Control("music-video", V, "a cartoon with drums", moving.music_video),
    Control("screen", V, "a recorded screen", moving.screen),
    Control("black", V, "black frames", moving.black, demand="abstain"),
    Control("bars", V, "colour bars", moving.bars, demand="abstain"),
    Control("frozen", V, "one frame, held", moving.frozen, of="photo"),
    Control("ken-burns", V, "pan and zoom over a photo", moving.ken_burns, of="photo"),
    Control("doubled", V, "every frame twice", moving.doubled, of="clip"),
    Control("time-lapse", V, "every eighth frame", moving.time_lapse, of="clip"),
    Control("letterbox", V, "a clip between black bars", moving.letterbox, of="clip"),
    Control("recompressed", V, "a clip after JPEG 25", moving.recompressed, of="clip"),
    Control("three-frames", V, "a clip of three frames", moving.three_frames, of="clip",
            demand="abstain"),
    Control("one-frame", V, "a clip of one frame", moving.one_frame, of="clip", demand="abstain"),
    Control("tiny-clip", V, "a clip of 16 x 16", moving.tiny, of="clip", demand="abstain"),
    # damaged files
    Control("cut-short", V, "an MP4 cut in the middle", moving.clip, of="clip", demand="refuse",
            damage=damaged.cut_short),
    Control("flipped", V, "an MP4 with bytes changed", moving.clip, of="clip", demand="quiet",
            damage=damaged.flipped),
    Control("header-only", V, "the first bytes of an MP4", moving.clip, of="clip", seconds=0.2,
            demand="refuse", damage=damaged.header_only),
    Control("zeroed-webm", V, "a WebM whose end is zero", moving.clip, of="clip", seconds=1.0,
            demand="quiet", suffix=".webm", damage=damaged.zeroed),
    Control("cut-short-jpeg", P, "a JPEG cut in the middle", pictures.plain, of="photo",
            demand="refuse", suffix=".jpg", damage=damaged.cut_short),
    Control("flipped-sound", A, "an Ogg with bytes changed", sound.chords, demand="quiet",
            suffix=".ogg", damage=damaged.flipped),
)  # fmt: skip

SETS: Mapping[str, Control] = MappingProxyType({control.name: control for control in _ALL})
