"""Records what others' code says of given frames, for tests/unit/test_metric_video*.py.

    python tests/parity/record_video.py tests/parity/video.json

Run it in an environment of its own, which has this project, torch, and with ``pip install
--no-deps``: scikit-image 0.26, lazy-loader, tifffile, imageio, networkx; lpips 0.1.4 and the
torchvision that matches torch; siti-tools 0.6 and plotille; vbench 0.1.5. Of vbench only the module
of temporal flickering is imported: the package around it asks for two dozen others that this
formula never calls. torchvision's compiled operators may be absent; nothing here calls one.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import itertools
import json
import sys
import types
from pathlib import Path

import cv2  # noqa: TID253  a program, imported by nobody
import numpy as np
import torch  # noqa: TID253

sys.path.insert(0, str(Path(__file__).parent))
from video_frames import backbone, pair, steps


def skimage_ssim() -> dict[str, float]:
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    one, other = pair()
    luma = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (one, other))
    found = structural_similarity(
        *luma, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    return {
        "ssim": float(found),
        "psnr": float(peak_signal_noise_ratio(other, one, data_range=255)),
    }


def package_lpips(net: str) -> float:
    kept = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        with contextlib.suppress(RuntimeError):  # torchvision loaded its own
            kept.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import lpips

    model = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    state = {name: torch.from_numpy(value) for name, value in backbone(net).items()}
    own = model.state_dict()
    for name in own:
        if name.startswith("net.slice"):
            index, kind = name.split(".")[-2:]
            own[name] = state[f"features.{index}.{kind}"]
    model.load_state_dict(own)
    tensors = [
        torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1 for picture in pair()
    ]
    with torch.no_grad():
        return float(model(*tensors))


def siti() -> dict[str, float]:
    from siti_tools.siti import SiTiCalculator

    frames = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in steps()]
    limited = [16 + 219 * frame.astype(np.float64) / 255 for frame in frames]
    changes = [SiTiCalculator.ti(after, before) for before, after in itertools.pairwise(limited)]
    return {
        "si": float(max(SiTiCalculator.si(frame) for frame in limited)),
        "ti": float(max(change for change in changes if change is not None)),
    }


def vbench_flicker() -> float:
    spec = importlib.util.find_spec("vbench")
    package = types.ModuleType("vbench")
    package.__path__ = list(spec.submodule_search_locations)
    utils = types.ModuleType("vbench.utils")
    utils.load_dimension_info = None
    sys.modules |= {"vbench": package, "vbench.utils": utils}
    module = importlib.import_module("vbench.temporal_flickering")
    module.get_frames = lambda _: [frame[..., ::-1] for frame in steps()]  # as OpenCV reads: BGR
    return float(module.cal_score(""))


def main() -> None:
    found = {
        "skimage": skimage_ssim(),
        "lpips": {net: package_lpips(net) for net in ("alex", "vgg")},
        "siti_tools": siti(),
        "vbench": {"temporal_flickering": vbench_flicker()},
        "versions": {
            name: importlib.metadata.version(name)
            for name in (
                "scikit-image", "lpips", "torch", "torchvision", "siti-tools", "vbench", "numpy",
            )
        },
    }  # fmt: skip
    text = json.dumps(found, indent=2)
    Path(sys.argv[1]).write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
