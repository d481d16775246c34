"""Our SyncNet against the package syncnet-python 0.2.3, same weights, same crops, same sound.

Needs `pip install --no-deps syncnet-python==0.2.3 python_speech_features==0.6`; skipped without.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from avsafe import testing
from avsafe_metrics.sync import syncnet, syncnet_input
from avsafe_metrics.sync.syncnet_network import Encoders

cv2 = pytest.importorskip("cv2")
torch = pytest.importorskip("torch")
pytest.importorskip("python_speech_features")
wavfile = pytest.importorskip("scipy.io.wavfile")


@pytest.fixture(scope="module")
def package():
    """Modules of the package, past its ``__init__``, which wants its detectors' dependencies."""
    spec = importlib.util.find_spec("syncnet_python")
    if spec is None or spec.origin is None:
        pytest.skip("syncnet-python is not installed")
    folder = Path(spec.origin).parent
    stubs = {"ffmpeg": {}, "scenedetect": dict.fromkeys(
        ("ContentDetector", "SceneManager", "StatsManager")),
        "scenedetect.video_manager": {"VideoManager": None}}  # fmt: skip
    parent = types.ModuleType("syncnet_peer")
    parent.__path__ = [str(folder)]
    added = {"syncnet_peer": parent}
    for name, members in stubs.items():
        module = types.ModuleType(name)
        module.__dict__.update(members)
        added[name] = module
    before = {name: sys.modules.get(name) for name in added}
    sys.modules.update(added)
    try:
        yield types.SimpleNamespace(
            instance=importlib.import_module("syncnet_peer.SyncNetInstance"),
            model=importlib.import_module("syncnet_peer.SyncNetModel"),
            pipeline=importlib.import_module("syncnet_peer.syncnet_pipeline"),
        )
    finally:
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module


@pytest.fixture(scope="module")
def model(package):
    """Kaiming weights, with running statistics from a pass of noise: features that vary."""
    torch.manual_seed(7)
    net = package.model.S()
    for module in net.modules():
        if hasattr(module, "weight") and module.weight.dim() > 1:
            torch.nn.init.kaiming_normal_(module.weight)
    net.train()
    with torch.no_grad():
        net.forward_lip(255 * torch.rand(6, 3, 5, 224, 224))
        net.forward_aud(8 * torch.randn(16, 1, 13, 20))
    return net.eval()


FRAMES = 26


@pytest.fixture(scope="module")
def scene():
    raw = testing.textured_clip(FRAMES / 25, 320, 240, rate_hz=16000, seed=3)
    frames = [np.ascontiguousarray(frame) for frame in raw.frames]
    sound = syncnet_input.to_int16(np.concatenate(list(raw.samples), axis=1)[0])
    boxes = [np.array([90 + i, 50.0, 190 + i, 170 + 0.5 * i]) for i in range(FRAMES)]
    return frames, boxes, sound


def peer_scores(package, model, folder):
    instance = package.instance.SyncNetInstance(model, device="cpu")
    opt = types.SimpleNamespace(tmp_dir=str(folder), batch_size=20, vshift=15)
    return instance.evaluate(opt)


def our_scores(model, crops, sound):
    encoders = Encoders(dict(model.state_dict()), "cpu")
    windows = np.stack([np.stack(crops[i : i + 5]) for i in range(len(crops) - 4)])
    lips = np.concatenate([encoders.lips(windows[i : i + 12]) for i in range(0, len(windows), 12)])
    return syncnet.score(encoders, lips, sound), lips


def test_mfcc_is_that_of_python_speech_features(scene):
    import python_speech_features

    for sound in (scene[2], scene[2][:5000], np.zeros(3000, np.int16)):
        theirs = python_speech_features.mfcc(sound, 16000)
        assert np.abs(syncnet_input.mfcc(sound) - theirs).max() < 1e-9


def test_same_crops_same_numbers(package, model, scene, tmp_path):
    frames, boxes, sound = scene
    for index, (frame, box) in enumerate(zip(frames, boxes, strict=True)):
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        crop = syncnet_input.crop(np.ascontiguousarray(frame[..., ::-1]), x, y, 60.0)
        cv2.imwrite(str(tmp_path / f"{index:06d}.jpg"), crop)
    wavfile.write(tmp_path / "audio.wav", 16000, sound)
    theirs = peer_scores(package, model, tmp_path)
    crops = [cv2.imread(str(path)) for path in sorted(tmp_path.glob("*.jpg"))]
    ours, lips = our_scores(model, crops, sound)
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert ours[2] > 0.5, "a distance near 0 would agree whatever we computed"
    assert float(lips.std(axis=0).mean()) > 1e-3, "features that never change would agree too"


@pytest.fixture(scope="module")
def their_published(package, model, published):
    return peer_scores(package, model, published)


@pytest.fixture(scope="module")
def published(package, scene, tmp_path_factory):
    """The package's own path from frames and boxes to the folder that it evaluates."""
    exe = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    frames, boxes, sound = scene
    folder = tmp_path_factory.mktemp("published")
    stills = []
    for index, frame in enumerate(frames):
        path = folder / f"frame{index:03d}.jpg"
        still = syncnet_input.Recoder("mjpeg", quantiser=2)
        picture = next(iter(still.take(np.ascontiguousarray(frame[..., ::-1]))))
        cv2.imwrite(str(path.with_suffix(".png")), picture)
        stills.append(str(path.with_suffix(".png")))
    wavfile.write(folder / "speech.wav", 16000, sound)
    pipeline = package.pipeline.SyncNetPipeline.__new__(package.pipeline.SyncNetPipeline)
    pipeline.cfg = package.pipeline.PipelineConfig(ffmpeg_bin=exe)
    track = {"frame": np.arange(FRAMES), "bbox": np.stack(boxes)}
    film = pipeline._crop(track, stills, str(folder / "speech.wav"), folder / "cut" / "00000")
    crops = folder / "crops"
    crops.mkdir()
    run = [exe, "-v", "error", "-i", film]
    subprocess.run([*run, "-f", "image2", "-threads", "1", str(crops / "%06d.jpg")], check=True)
    more = ["-ac", "1", "-acodec", "pcm_s16le", "-ar", "16000", "-af", "aresample=async=1"]
    subprocess.run([*run, *more, str(crops / "audio.wav")], check=True)
    return crops


def test_reference_mode_follows_the_published_path(model, scene, published, their_published):
    """Frames and boxes in: the crops that come out of our codecs are those of theirs."""
    frames, boxes, sound = scene
    made = syncnet_input.Crops(published=True)
    crops = [c for f, b in zip(frames, boxes, strict=True) for c in made.take(f, b)]
    crops += list(made.rest())
    assert len(crops) == FRAMES
    read = [cv2.imread(str(path)) for path in sorted(published.glob("*.jpg"))]
    apart = [float(np.abs(a.astype(int) - b).mean()) for a, b in zip(crops, read, strict=True)]
    assert max(apart) < 0.5, "grey levels; 0 where both link one version of FFmpeg"
    ours, _ = our_scores(model, crops, sound)
    assert ours == pytest.approx(their_published, abs=1e-4 if max(apart) == 0 else 0.5)


def test_fast_mode_is_another_number(model, scene, their_published):
    frames, boxes, sound = scene
    made = syncnet_input.Crops(published=False)
    crops = [c for f, b in zip(frames, boxes, strict=True) for c in made.take(f, b)]
    crops += list(made.rest())
    ours, _ = our_scores(model, crops, sound)
    assert abs(ours[2] - their_published[2]) > 1e-3, "fast mode is labelled because it differs"
