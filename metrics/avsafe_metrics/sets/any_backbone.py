"""Which backbone a metric that takes any of them is to use.

Legend: ``name`` is one of ``BACKBONES``; weights go by the same name.
"""

from __future__ import annotations

from collections.abc import Mapping

from avsafe.errors import UsageError
from avsafe.types import Clip, Meter, Want
from avsafe_metrics.sets.backbones.weights import path_of, require_torch
from avsafe_metrics.sets.feeding import Backbone, PictureMeter, SoundMeter, WindowMeter
from avsafe_metrics.sets.figures import SetMetricBase

PICTURES = ("inception", "inception_torchvision", "clip")
VIDEO = ("i3d", "videomae")
SOUND = ("vggish", "panns", "passt")
FREE = ("motion_texture", "sound_texture")
BACKBONES = (*PICTURES, *VIDEO, *SOUND, *FREE)
_EXPECTED = {
    "inception": "FID's Inception-v3 of 1008 classes",
    "inception_torchvision": "torchvision's Inception-v3 of 1000 classes",
    "clip": "a CLIP model of open_clip",
    "i3d": "I3D of Kinetics-400 in pytorch-i3d's layout",
    "videomae": "the folder of a VideoMAE model of transformers",
    "vggish": "VGGish in torchvggish's layout",
    "panns": "Cnn14 of PANNs",
    "passt": "PaSST-S in hear21passt's layout",
}


def known(name: str) -> str:
    """The name, if there is such a backbone. Raises UsageError, naming those that there are."""
    if name not in BACKBONES:
        raise UsageError(f"No backbone {name!r}. There are: {', '.join(BACKBONES)}.")
    return name


def wants(name: str) -> tuple[Want, ...]:
    """What a meter over this backbone asks of the pass."""
    if name in FREE:
        return ("luma",) if name == "motion_texture" else ("mono16k",)
    return ("sound",) if name in SOUND else ("rgb",)


class OverBackbone(SetMetricBase):
    """A metric whose backbone is a parameter."""

    def __init__(
        self, backbone: str, weights: Mapping[str, str] | None, device: str, frames: int,
        windows: int, architecture: str,
    ) -> None:  # fmt: skip
        super().__init__()
        self.name = known(backbone)
        self._weights, self._device, self._architecture = weights, device, architecture
        self._frames, self._windows = frames, windows

    def make_backbone(self) -> Backbone:
        name = self.name
        if name in FREE:
            return self._free().make_backbone()
        require_torch()
        path = path_of(self._weights, name, _EXPECTED[name])
        if name in ("inception", "inception_torchvision"):
            from avsafe_metrics.sets.backbones.inception import Inception

            return Inception(path, "fid" if name == "inception" else "torchvision", self._device)
        if name == "clip":
            from avsafe_metrics.sets.backbones.clip import Clip as Tower

            return Tower(str(path), self._architecture, self._device)
        if name == "i3d":
            from avsafe_metrics.sets.backbones.i3d import I3D

            return I3D(path, self._device)
        if name == "videomae":
            from avsafe_metrics.sets.backbones.videomae import VideoMAE

            return VideoMAE(str(path), self._device)
        if name == "vggish":
            from avsafe_metrics.sets.backbones.vggish import Vggish

            return Vggish(path, self._device)
        if name == "panns":
            from avsafe_metrics.sets.backbones.panns import Panns

            return Panns(path, self._device)
        from avsafe_metrics.sets.backbones.passt import Passt

        return Passt(path, self._device)

    def open(self, clip: Clip) -> Meter:
        if self.name in FREE:
            return self._free().open(clip)
        if self.name in PICTURES:
            return PictureMeter(self.backbone, clip, self._frames)
        if self.name in VIDEO:
            return WindowMeter(self.backbone, clip, self._windows)
        return SoundMeter(self.backbone, clip.shape)

    def _free(self) -> SetMetricBase:
        if self.name == "motion_texture":
            from avsafe_metrics.sets.fd_motion_texture import FdMotionTexture

            return FdMotionTexture(windows=max(4, self._windows))
        from avsafe_metrics.sets.fd_sound_texture import FdSoundTexture

        return FdSoundTexture()
