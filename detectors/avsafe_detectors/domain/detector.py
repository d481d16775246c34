"""The domain gate: says what a file is like, for the reader and for the other detectors."""

from __future__ import annotations

from collections.abc import Mapping

from avsafe.types import Evidence, EvidenceStatus, Features, Kind, Media
from avsafe_detectors.domain.describe import Domain, describe

EXTRACTOR = "avsafe_detectors.domain.extractor:DomainExtractor"

_LOOKS = {
    "photo": "photo-like",
    "drawn": "drawn",
    "screen": "screen-like",
    "cgi": "computer-rendered",
    "blank": "blank",
}
_SOUNDS = {
    "speech": "speech",
    "music": "music",
    "tone": "a tone",
    "noise": "noise",
    "effects": "sound effects",
    "silence": "silence",
}
_CODECS = {"h264": "H.264", "hevc": "H.265", "av1": "AV1", "vp8": "VP8", "vp9": "VP9",
           "mpeg4": "MPEG-4", "mpeg1video": "MPEG-1", "mpeg2video": "MPEG-2", "jpeg": "JPEG",
           "mjpeg": "Motion JPEG", "png": "PNG", "webp": "WebP", "gif": "GIF", "mp3": "MP3",
           "aac": "AAC", "opus": "Opus", "vorbis": "Vorbis", "flac": "FLAC", "pcm_mulaw": "mu-law",
           "pcm_alaw": "A-law"}  # fmt: skip


class DomainGate:
    """A ``types.Detector`` that suspects nothing: evidence of source "domain", status "present",
    no llr, and the ``Domain`` as details.

    >>> DomainGate().modality
    'domain'
    """

    name = "domain"
    kinds = tuple(Kind)
    modality = "domain"
    extractors: Mapping[str, str] = {"domain": EXTRACTOR}

    def judge(self, features: Mapping[str, Features], media: Media) -> Evidence:
        """Raises KeyError or ValueError for features that are none."""
        domain = describe(features["domain"], media)
        details = {"modality": self.modality, **domain.as_details()}
        return Evidence("domain", EvidenceStatus.PRESENT, sentence(domain), details=details)


def sentence(domain: Domain) -> str:
    """What the file is like, e.g. "A photo-like video of 10.0 s, 1280x720, H.264 at 2.1 Mbit/s,
    with speech (16 kHz band)."""
    what = {"image": "picture", "audio": "sound"}.get(domain.kind, "video")
    look = _LOOKS.get(domain.picture_class or "", "")
    words = [f"{look} {what}".strip()]
    if domain.duration_s is not None and domain.kind != "image":
        words[0] += f" of {domain.duration_s:.1f} s"
    if domain.width and domain.height:
        words.append(f"{domain.width}x{domain.height}")
    codec = domain.video_codec or domain.audio_codec
    if codec:
        named = _CODECS.get(codec, codec)
        words.append(named + (f" at {_rate(domain.total_kbps)}" if domain.total_kbps else ""))
    if domain.jpeg_quality is not None and domain.kind == "image":
        source = "quality" if domain.container == "jpeg" else "once a JPEG of quality"
        words.append(f"{source} {domain.jpeg_quality:.0f}")
    if domain.still:
        words.append("in which nothing moves")
    if domain.sound_class:
        band = f" ({domain.bandwidth_hz / 1000:.0f} kHz band)" if domain.bandwidth_hz else ""
        words.append(f"with {_SOUNDS[domain.sound_class]}{band}")
    text = ", ".join(words)
    return f"{'An' if text[0] in 'aeiou' else 'A'} {text}."


def _rate(kbps: float) -> str:
    return f"{kbps / 1000:.1f} Mbit/s" if kbps >= 1000 else f"{kbps:.0f} kbit/s"
