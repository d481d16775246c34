"""The core types, and the protocols of the four plugin kinds. Standard library only.

Legend: ``t`` frames, ``h`` ``w`` pixels, ``c`` channels, ``n`` samples.
A frame is ``(h, w, 3)`` uint8 RGB; a block of samples is ``(c, n)`` float32 in [-1, 1].
Frame rates are ``Fraction``; ``offset_ms`` is positive when the audio is late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from avsafe.faces import FaceTrack
    from avsafe.media.view import View

    Frame = NDArray[np.uint8]  # (h, w, 3) RGB
    Samples = NDArray[np.float32]  # (c, n) in [-1, 1]
    Features = Mapping[str, "NDArray[Any]"]  # what a FeatureExtractor carries out of the sandbox
else:
    Frame = Samples = Features = Any

# What a FeatureExtractor wants to see of the pictures; decoding costs only what somebody wants.
Picture = Literal["rgb", "luma", "none"]

# Blocks until done: called with a fraction 0..1 and a short stage name.
Progress = Callable[[float, str], None]
# Polled between steps; True means stop and raise errors.Cancelled.
Cancelled = Callable[[], bool]


RELEASING = "release"  # the stage in which the gate asks for the last time whether to stop


def no_progress(fraction: float, stage: str) -> None:
    """A Progress that shows nothing."""


def never_cancelled() -> bool:
    """A Cancelled that never asks to stop."""
    return False


class Task(StrEnum):
    """What is asked of the gate. ``release`` is media made elsewhere."""

    TEXT_TO_IMAGE = "text-to-image"
    TEXT_TO_VIDEO = "text-to-video"
    IMAGE_TO_VIDEO = "image-to-video"
    STYLIZE_VIDEO = "stylize-video"
    CINEMAGRAPH = "cinemagraph"
    INPAINT_VIDEO = "inpaint-video"
    EDIT_VIDEO = "edit-video"
    VIDEO_TO_AUDIO = "video-to-audio"
    TALKING_HEAD = "talking-head"
    TEXT_TO_SPEECH = "text-to-speech"
    RELEASE = "release"


class Kind(StrEnum):
    """What a piece of media is, by what it carries."""

    VIDEO = "video"  # moving pictures, with or without sound
    IMAGE = "image"
    AUDIO = "audio"


# ---------------------------------------------------------------- media


@dataclass(frozen=True)
class VideoStream:
    codec: str
    width: int  # as displayed, after rotation
    height: int
    frame_rate: Fraction | None  # None for a still image
    frame_count: int | None  # as the container declares; None when it does not
    duration_s: float | None
    pixel_format: str
    rotation_deg: int = 0  # clockwise turn that the decoder applies: 0, 90, 180, 270


@dataclass(frozen=True)
class AudioStream:
    codec: str
    rate_hz: int
    channels: int
    duration_s: float | None


@dataclass(frozen=True)
class Media:
    """A file on disk, probed. Frames and samples are decoded on demand by ``avsafe.media``."""

    path: Path
    sha256: str
    size_bytes: int
    container: str  # mp4, mov, webm, matroska, wav, flac, png, jpeg, ...
    mime: str
    kind: Kind
    video: VideoStream | None = None
    audio: AudioStream | None = None
    duration_s: float | None = None


@dataclass(frozen=True)
class RawMedia:
    """What a generator returns: frames and/or samples with their rates, never a path.

    ``frames`` and ``samples`` are *re-iterable*: every ``iter()`` starts again and yields the same
    values, so that the gate may embed a stronger mark in a second pass. Only the gate writes files.
    """

    kind: Kind
    frames: Iterable[Frame] | None = None
    frame_rate: Fraction | None = None  # None for a still image
    frame_count: int | None = None  # None when not known beforehand
    width: int = 0
    height: int = 0
    samples: Iterable[Samples] | None = None  # blocks (c, n), any n
    rate_hz: int = 0
    channels: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)  # understood/ignored words, caption...

    def with_frames(self, frames: Iterable[Frame]) -> RawMedia:
        return replace(self, frames=frames)

    def with_samples(self, samples: Iterable[Samples]) -> RawMedia:
        return replace(self, samples=samples)


# ---------------------------------------------------------------- request and decision


@dataclass(frozen=True)
class Principal:
    """Who asks. From the authenticated identity, never from what a client says of itself."""

    user: str
    teams: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    suspended: bool = False


@dataclass(frozen=True)
class InputMedia:
    """One input of a request, in the role it plays: portrait, voice, image, video, audio, mask."""

    media: Media
    role: str


@dataclass(frozen=True)
class Approval:
    """A reviewer looked at a request that these rules had sent to review, and let it pass."""

    reviewer: str
    rules: tuple[str, ...]
    reason: str
    at: str  # RFC 3339
    binds: tuple[tuple[str, str], ...] = ()  # SHA-256 of an input, consent that covers it


@dataclass(frozen=True)
class GenerationRequest:
    principal: Principal
    task: Task
    generator: str
    prompt: str = ""
    negative_prompt: str = ""
    inputs: tuple[InputMedia, ...] = ()
    consent_ids: tuple[str, ...] = ()
    purpose: str = "general"
    seed: int = 0
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    approval: Approval | None = None  # from the review queue, never from a client


class Effect(StrEnum):
    ALLOW = "allow"
    REVIEW = "review"
    DENY = "deny"


@dataclass(frozen=True)
class Obligation:
    """What a decision asks of the gate, e.g. ``label=visible``. An unknown one denies."""

    name: str
    value: str

    def __str__(self) -> str:
        return f"{self.name}={self.value}"


@dataclass(frozen=True)
class Decision:
    """Made only by ``policy.decide``. Tuples are sorted, so equal requests give equal decisions."""

    effect: Effect
    rules: tuple[str, ...]
    reasons: tuple[str, ...]
    obligations: tuple[Obligation, ...] = ()
    risk: Mapping[str, int] = field(default_factory=dict)  # 0-100 per category
    appeal: str | None = None
    policy_sha256: str = ""  # of the policy texts and the schema that decided
    details: Mapping[str, Any] = field(default_factory=dict)  # scorers that ran, registered or not


# ---------------------------------------------------------------- provenance


@dataclass(frozen=True)
class SoftBinding:
    """A mark or fingerprint that points from pixels or samples back to a manifest."""

    algorithm: str  # as in the C2PA soft-binding algorithm list, or a reverse-domain name
    value: bytes


@dataclass(frozen=True)
class Ingredient:
    """An input that went into a work; a credential it carries is preserved."""

    path: Path
    mime: str
    label: str  # "portrait", "voice", "video"...; unique within a manifest
    title: str
    relationship: str = "inputTo"  # inputTo | parentOf | componentOf


@dataclass(frozen=True)
class Manifest:
    """The C2PA claim as plain data. Never holds the prompt unless ``prompt`` is set on purpose."""

    title: str
    mime: str
    action: str  # c2pa.created | c2pa.edited
    digital_source_type: str  # IPTC URI
    generator: str
    generator_version: str
    created_at: datetime  # timezone-aware
    release_id: str
    prompt_hash: str | None = None  # salted HMAC-SHA256, hex
    prompt: str | None = None
    ingredients: tuple[Ingredient, ...] = ()
    soft_bindings: tuple[SoftBinding, ...] = ()
    training_mining: str = "notAllowed"
    visible_label: str | None = None  # the text burnt in, when an obligation asked for one
    details: Mapping[str, str] = field(default_factory=dict)


# ---------------------------------------------------------------- watermarks


@dataclass(frozen=True)
class Mark:
    """A mark that was embedded: what the registry needs to find the release again."""

    modality: Kind
    algorithm: str
    payload: int
    payload_bits: int
    psnr_db: float | None = None  # pictures: mean over frames, marked against unmarked
    snr_db: float | None = None  # audio


@dataclass(frozen=True)
class Detection:
    """What a watermark detector found with one key."""

    present: bool  # all parts of the joint test passed
    payload: int | None
    p_value: float  # of the joint test under "no mark with this key"
    details: Mapping[str, Any] = field(default_factory=dict)


# ---------------------------------------------------------------- release and verdict


@dataclass(frozen=True)
class Release:
    """Signed media with all that belongs to it. Built only by the gate; writing takes a Release."""

    release_id: str
    path: Path
    sha256: str
    kind: Kind
    decision: Decision
    manifest: Manifest
    manifest_id: str
    marks: tuple[Mark, ...]
    sidecar: Path | None = None
    cost: Mapping[str, float] = field(default_factory=dict)  # CPU-seconds per step
    details: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class EvidenceStatus(StrEnum):
    PRESENT = "present"
    ABSENT = "absent"
    INVALID = "invalid"
    FAILED = "failed"  # the source could not do its work; says nothing about the media
    ABSTAINED = "abstained"  # the source is not qualified for this media


@dataclass(frozen=True)
class Evidence:
    source: str  # credential | watermark.KIND | fingerprint | domain | detector.NAME
    status: EvidenceStatus
    summary: str  # one sentence that a person can read
    probability: float | None = None
    llr: float | None = None  # capped log-likelihood ratio, natural log
    calibration_id: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class Label(StrEnum):
    SYNTHETIC_DECLARED = "synthetic-declared"
    SYNTHETIC_RECOVERED = "synthetic-recovered"
    SYNTHETIC_SUSPECTED = "synthetic-suspected"
    ALTERED = "altered"
    DECLARED_OTHER = "declared-other"
    INCONCLUSIVE = "inconclusive"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Verdict:
    path: Path
    sha256: str
    label: Label
    evidence: tuple[Evidence, ...]


# ---------------------------------------------------------------- benchmark


@dataclass(frozen=True)
class Sample:
    """One item of a suite: its files by role, its texts by name, and whom it belongs to."""

    sample_id: str
    media: Mapping[str, Path]  # role -> file: "video", "reference", "source", "audio"...
    text: str = ""  # the prompt
    tags: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)  # source_prompt, transcript, identity...
    cluster: str = ""  # prompt or person; samples of one cluster are resampled together


@dataclass(frozen=True)
class Score:
    """One metric on one sample: a value, or the reason why there is none."""

    metric: str
    sample_id: str
    value: float | None
    reason: str | None = None

    @classmethod
    def unscored(cls, metric: str, sample_id: str, reason: str) -> Score:
        return cls(metric, sample_id, None, reason)


@dataclass(frozen=True)
class Aggregate:
    metric: str
    value: float
    low: float
    high: float
    n_scored: int
    n_expected: int
    interval: str = "95 % bootstrap"
    details: Mapping[str, Any] = field(default_factory=dict)  # a set metric's floor, sizes, notes


# ---------------------------------------------------------------- metrics

# What a metric asks of the pass: pictures as RGB or as the decoder's luma, blocks of sound at the
# file's own rate, the whole sound as mono at 16 kHz, or the main face of every frame.
Want = Literal["rgb", "luma", "sound", "mono16k", "faces"]
# A number, or the reason why there is none.
Value = float | str


@dataclass(frozen=True)
class Column:
    """One number that a metric gives. An empty ``name`` is the main number, which goes by the
    metric's own name; others go by ``metric.column``."""

    name: str
    unit: str  # "dB", "ms", "LUFS"; "" for a pure number
    better: Literal["higher", "lower", "none"]  # "none": it describes, and is no quality
    summary: str
    low: float | None = None  # the ends of its range; None where it has none
    high: float | None = None
    yes_no: bool = False  # 1 or 0 for each clip: its mean is a share, with the interval of one


@dataclass(frozen=True)
class MetricInfo:
    """What the runner and the report need to know of a metric before it runs."""

    name: str  # snake_case
    version: str  # another number for the same clip is another version
    title: str
    columns: tuple[Column, ...]
    wants: tuple[Want, ...]
    family: str  # video | sound | sync | text | talking | set | safety
    scope: Literal["clip", "set"] = "clip"
    beside: str = ""  # role of a second file that plays in step: "reference" or "source"
    texts: tuple[str, ...] = ()  # what it reads of the sample: "prompt", "source_prompt", ...
    weights: tuple[str, ...] = ()  # names of weights that the user must give
    source: str = ""  # paper and equation, or standard
    experimental: bool = False  # a floor was missed; its card says which

    def score_name(self, column: Column) -> str:
        """
        >>> loudness = Column("integrated", "LUFS", "none", "")
        >>> MetricInfo("loudness", "1", "Loudness", (loudness,), (), "sound").score_name(loudness)
        'loudness.integrated'
        """
        return f"{self.name}.{column.name}" if column.name else self.name


@dataclass(frozen=True)
class Shape:
    """What a pass will give; ``width`` is 0 without pictures, ``rate_hz`` without sound."""

    kind: Kind
    width: int = 0
    height: int = 0
    frame_rate: Fraction | None = None
    frame_count: int | None = None
    rate_hz: int = 0
    channels: int = 0
    duration_s: float | None = None


@dataclass(frozen=True)
class Clip:
    """What a metric is told before the first frame."""

    sample: Sample
    shape: Shape
    beside: Shape | None = None  # of the file that plays in step, where the metric wants one
    media: Media | None = None  # None for media in memory


@dataclass(frozen=True, eq=False)
class Gathered:
    """What was put together once for all metrics of a clip, after its last frame."""

    frame_count: int
    faces: FaceTrack | None = None
    mono16k: NDArray[np.float32] | None = None  # (n,)
    beside_mono16k: NDArray[np.float32] | None = None
    beside_faces: FaceTrack | None = None


class Meter(Protocol):
    """One metric on one clip: fed in one pass, in order, then asked once.

    Every method may raise ``errors.Unscorable`` with the reason. Arrays are shared: read them, do
    not write into them, and copy what is kept.
    """

    def frame(self, view: View, beside: View | None) -> None:
        """The next frame, and the one that the second file shows at that time."""
        ...

    def samples(self, block: Samples, rate_hz: int, role: str) -> None:
        """Sound at its own rate; ``role`` is "clip", or the role of the file that plays beside."""
        ...

    def finish(self, gathered: Gathered) -> Mapping[str, Value | NDArray[Any]]:
        """Column -> number or reason; a set metric gives arrays ``(k, d)``, its features."""
        ...


@runtime_checkable
class Metric(Protocol):
    """A number for a clip. Instances are made in every process from name, parameters and weights
    (keywords of the class), hold no state of a clip, and are never pickled."""

    @property
    def info(self) -> MetricInfo: ...

    def prepare(self) -> None:
        """Load packages and weights, once. Raises ``errors.MissingExtra`` when something is absent:
        the metric is then reported as not computed, with the reason."""
        ...

    def digests(self) -> Mapping[str, str]:
        """Name -> SHA-256 of all weights in use, after ``prepare``; {} without weights."""
        ...

    def open(self, clip: Clip) -> Meter: ...


@runtime_checkable
class SetMetric(Metric, Protocol):
    """A number for a set of clips, from the features of each.

    ``reduce`` depends on what is in the mappings, not on their order or on how a run was divided.
    """

    def reduce(
        self,
        items: Mapping[str, Mapping[str, NDArray[Any]]],
        reference: Mapping[str, Mapping[str, NDArray[Any]]],
    ) -> Mapping[str, Aggregate | str]:
        """Column -> figure or reason, from sample id -> feature name -> ``(k, d)``."""
        ...


# ---------------------------------------------------------------- plugin kinds


@dataclass(frozen=True)
class GeneratorInfo:
    """What the gate and the policy need to know of a generator before it runs."""

    name: str
    version: str
    tasks: tuple[Task, ...]
    kind: Kind
    licence: str  # SPDX id, or a name with a link
    commercial_ok: bool
    territory: str = "worldwide"
    realism: str = "stylised"  # stylised | photorealistic
    max_duration_s: float = 60.0
    max_pixels: int = 1920 * 1920
    # IPTC digital source type of what it makes; algorithmicMedia when nothing was trained
    digital_source_type: str = (
        "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    )
    # Names of parameters that steer a program (a command line, a limit) and wish for nothing; the
    # policy does not score them as prompts, save for whole sentences inside them.
    controls: tuple[str, ...] = ()
    summary: str = ""
    # Where its card lies (data, figures, limits): "cards/NAME.md" beside the plugin's package
    card: str = ""


@runtime_checkable
class Generator(Protocol):
    """Request in, raw media out. No path, no network, no weights fetched.

    The same request (seed included) gives identical output. ``progress`` is called at least once a
    second of work, ``cancelled`` is polled as often and raises ``errors.Cancelled``.
    """

    @property
    def info(self) -> GeneratorInfo: ...

    def generate(
        self,
        request: GenerationRequest,
        *,
        progress: Progress = no_progress,
        cancelled: Cancelled = never_cancelled,
    ) -> RawMedia: ...


@dataclass(frozen=True)
class EmbedderInfo:
    """What a network for likeness says of itself. Distances are Euclidean."""

    name: str
    version: str  # vectors of another version are not comparable
    modality: str  # face | voice
    dimensions: int
    same_below: float  # two vectors nearer than this are taken for one person
    other_above: float  # farther than this: two people; in between nobody knows
    licence: str
    source: str


class FeatureExtractor(Protocol):
    """Fed by one decoding pass inside the sandbox; knows no key and no registry.

    Returns named numpy arrays, which leave the sandbox without pickle. ``start`` is called once.
    ``picture`` names what ``frame`` is given: ``"rgb"`` ``(h, w, 3)`` uint8; ``"luma"`` ``(h, w)``
    uint8, full range, straight from the decoder where it has such a plane (a sixth of the cost);
    ``"none"``: ``frame`` is never called. Arrays are shared: read them, do not write into them.

    >>> class Brightness:
    ...     picture: Picture = "luma"
    """

    @property
    def picture(self) -> Picture: ...

    def start(self, media: Media) -> None: ...

    def frame(self, frame: Frame, time_s: float) -> None: ...

    def samples(self, block: Samples, rate_hz: int) -> None: ...

    def finish(self) -> Features: ...


class Embedder(Protocol):
    """One mark on one clip, inside the encode loop. Feed in order; one instance, one pass."""

    def frame(self, frame: Frame) -> Frame: ...

    def samples(self, block: Samples) -> Samples:
        """May hold samples back; what it returns, with ``flush``, is as long as what came in."""
        ...

    def flush(self) -> Samples:
        """The samples still held back (shape ``(c, 0)`` when none)."""
        ...

    def mark(self) -> Mark:
        """What was embedded, and the quality measured on the way; after the last frame or block."""
        ...


@runtime_checkable
class Watermarker(Protocol):
    """A keyed mark with a payload, for one modality. Detection has two halves so that the process
    which decodes a hostile file never holds a key: ``extractor`` names what runs in the sandbox,
    ``detect`` correlates its features with the key outside."""

    @property
    def algorithm(self) -> str: ...

    @property
    def modality(self) -> Kind: ...

    @property
    def payload_bits(self) -> int: ...

    @property
    def extractor(self) -> str:
        """``"package.module:Class"`` of the FeatureExtractor."""
        ...

    def embedder(self, raw: RawMedia, payload: int, key: bytes, *, attempt: int = 0) -> Embedder:
        """``attempt`` 0 is the normal strength; 1 is the strongest that the quality floor allows.
        Raises ``errors.CannotMark`` when the media is too small or too short to carry the payload.
        """
        ...

    def detect(self, features: Features, key: bytes) -> Detection: ...


class LikenessEmbedder(Protocol):
    """A network that turns a face, or a voice, into numbers that lie near for one person.

    ``extractor`` names the FeatureExtractor that runs in the sandbox. Its features: ``vectors``
    (k, d) float32, one for each face or voice; ``look`` (k,) int64, the picture of the clip that
    each was seen in; ``looks`` (1,) int64, how many pictures were looked at.
    """

    @property
    def info(self) -> EmbedderInfo: ...

    @property
    def extractor(self) -> str:
        """``"package.module:Class"``."""
        ...

    def prepare(self) -> None:
        """Raises ``errors.MissingExtra`` when weights or a package are absent."""
        ...


@runtime_checkable
class Detector(Protocol):
    """A passive detector: evidence from the media itself. Two halves, as a watermarker: extractors
    run in the sandbox, ``judge`` outside. Abstains, with the reason, outside what was measured.

    ``judge`` takes the features of each extractor under its own name. They are what a hostile file
    may have made of them: check shapes, and let a wrong one raise (KeyError, ValueError). Where an
    extractor raised ``errors.Unscorable`` or MissingExtra, the panel abstains for the detector.

    Evidence of source ``detector.NAME`` (``domain`` for the domain gate). ``llr`` is capped and
    positive for synthetic; ``details`` as ``avsafe.calibration`` writes them: ``modality``,
    ``condition``, ``timeline``, ``heatmap``.
    """

    @property
    def name(self) -> str: ...

    @property
    def kinds(self) -> tuple[Kind, ...]: ...

    @property
    def modality(self) -> str:
        """What it looks at: "speech", "image", "video", "audio-visual", or "domain". Evidence of
        one modality is not independent, and fused as one."""
        ...

    @property
    def extractors(self) -> Mapping[str, str]:
        """Own name -> ``"package.module:Class"``; what several detectors name runs once."""
        ...

    def judge(self, features: Mapping[str, Features], media: Media) -> Evidence: ...
