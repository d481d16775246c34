"""Same weights, same numbers as the packages that publish these metrics.

The weights are random, drawn by Kaiming's rule, so that activations neither vanish nor explode: a
default I3D gives a distance of 5e-11 between any two videos, and everything agrees on that. Each
test asserts that its figure is far from 0.

Peers are imported piece by piece, around what their packages import and this does not need (and
panns_inference downloads when it is imported).
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from avsafe.errors import MissingExtra  # noqa: E402
from avsafe_metrics.sets import kernel  # noqa: E402
from avsafe_metrics.sets.backbones import i3d, inception, panns, passt, vggish  # noqa: E402
from avsafe_metrics.sets.frechet import frechet_distance  # noqa: E402
from avsafe_metrics.sets.inception_score import inception_score  # noqa: E402

RNG_SEED = 7


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def peer(package: str, *modules: str, install: str):
    """Modules of a peer without the code of its package's __init__; skips where it is absent."""
    if package not in sys.modules:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            pytest.skip(f"{package} is not installed (pip install --no-deps {install})")
        bare = types.ModuleType(package)
        bare.__path__ = list(spec.submodule_search_locations)
        sys.modules[package] = bare
    try:
        return [importlib.import_module(f"{package}.{module}") for module in modules]
    except ImportError as error:
        pytest.skip(f"{package} does not import: {error}")


def fidelity():
    """torch-fidelity, which needs a torchvision that imports."""
    spec = importlib.util.find_spec("torch_fidelity")
    if spec is None:
        pytest.skip("torch_fidelity is not installed (pip install --no-deps torch-fidelity==0.4.0)")
    mended()
    return importlib.import_module("torch_fidelity")


def mended() -> None:
    """Peers that import torchvision beside a CPU torch need it mended first."""
    try:
        from avsafe_metrics.text.compat import mend_torchvision

        mend_torchvision()
    except (ImportError, MissingExtra) as error:
        pytest.skip(f"torchvision: {error}")


def kaiming(module, seed: int = RNG_SEED) -> None:
    """Random weights that keep the scale of activations, and no trivial normalisation."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        weight = getattr(part, "weight", None)
        if weight is None:
            continue
        if weight.ndim > 1:
            fan = weight[0].numel()
            weight.data.normal_(0.0, (2.0 / fan) ** 0.5, generator=generator)
        else:
            weight.data.uniform_(0.8, 1.2, generator=generator)
        if getattr(part, "bias", None) is not None:
            part.bias.data.normal_(0.0, 0.1, generator=generator)
        if getattr(part, "running_mean", None) is not None:
            part.running_mean.normal_(0.0, 0.1, generator=generator)
            part.running_var.uniform_(0.8, 1.2, generator=generator)


def saved(state, path: Path, **wrapped) -> Path:
    torch.save({"model": state, **wrapped} if wrapped else state, path)
    return path


def pictures(n: int, seed: int, side: int = 40) -> np.ndarray:
    """Smooth pictures, (n, side, side, 3): white noise would look all alike to a random network."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0, 255, (n, 3, 4 + seed % 3, 4)))
    wide = torch.nn.functional.interpolate(coarse, (side, side + 8), mode="bilinear")
    noise = rng.normal(0, 6, (n, 3, side, side + 8))
    return np.clip(wide.numpy() + noise, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def sound(seconds: float, rate_hz: int, seed: int) -> np.ndarray:
    from avsafe.testing import babble

    return np.concatenate(babble(seconds, rate_hz, seed), axis=1)[0]


# ---------------------------------------------------------------- pictures


def picture_for(frame: np.ndarray) -> np.ndarray:
    tensor = torch.from_numpy(frame).permute(2, 0, 1).float()
    return ((inception.stretched(tensor) - 128) / 128).numpy()


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory) -> Path:
    net = inception.InceptionV3("fid")
    kaiming(net)
    net.eval()
    some = np.stack([picture_for(p) for p in (*pictures(3, 1), *pictures(3, 2))])
    with torch.inference_mode():
        found = net(torch.from_numpy(some))
    # all pictures look alike to a random network: the last layer looks at how they differ, or every
    # picture would be of one class and the Inception Score 1
    common = found.mean(dim=0) / found.mean(dim=0).norm()
    weight = net.fc.weight.data
    weight -= torch.outer(weight @ common, common)
    weight *= 2.0 / (found @ weight.T).std()
    return saved(net.state_dict(), tmp_path_factory.mktemp("weights") / "inception.pth")


def test_inception_fid_kid_and_score_are_those_of_torch_fidelity(inception_file, tmp_path):
    package = fidelity()
    n = 6
    ours = inception.Inception(inception_file)
    a, b = pictures(n, 1), pictures(n, 2)
    found = [
        ours.features(np.stack([ours.prepare(picture) for picture in some])) for some in (a, b)
    ]

    class Some(torch.utils.data.Dataset):
        def __init__(self, some):
            self.some = some

        def __len__(self):
            return len(self.some)

        def __getitem__(self, index):
            return torch.from_numpy(self.some[index]).permute(2, 0, 1)

    theirs = package.calculate_metrics(
        input1=Some(a), input2=Some(b), fid=True, kid=True, isc=True, cuda=False, batch_size=n,
        feature_extractor_weights_path=str(inception_file), kid_subsets=20, kid_subset_size=4,
        isc_splits=2, save_cpu_ram=True, verbose=False, cache=False,
    )  # fmt: skip
    x, y = (one["features"] for one in found)
    fid = frechet_distance(x, y)
    assert fid > 1.0
    assert fid == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)
    kid = kernel.kid_subsets(x, y, subsets=20, size=4)
    assert abs(kid.mean) > 1e-3
    assert kid.mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-4)
    assert kid.deviation == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-4)
    score = inception_score(found[0]["logits"], splits=2)
    assert score.mean > 1.02
    assert score.mean == pytest.approx(theirs["inception_score_mean"], rel=1e-5)
    assert score.deviation == pytest.approx(theirs["inception_score_std"], rel=1e-3)


def test_torchvisions_inception_is_torchvisions(tmp_path):
    mended()
    models = importlib.import_module("torchvision.models")
    theirs = models.inception_v3(
        weights=None, aux_logits=True, init_weights=False, transform_input=True
    )
    kaiming(theirs)
    theirs.eval()
    ours = inception.Inception(
        saved(theirs.state_dict(), tmp_path / "tv.pth"), layout="torchvision"
    )
    picture = pictures(1, 3, 90)[0]
    prepared = ours.prepare(picture)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    as_imagenet = ((torch.from_numpy(prepared) + 1) / 2 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    with torch.inference_mode():
        logits = theirs(as_imagenet[None]) - theirs.fc.bias
    found = ours.features(prepared[None])["logits"]
    assert np.abs(found).mean() > 0.1
    np.testing.assert_allclose(found, logits.numpy(), rtol=1e-3, atol=1e-3 * np.abs(found).max())


def test_fid_runs_over_a_clip(inception_file):
    from avsafe.testing import measured, textured_clip
    from avsafe_metrics.sets.fid import Fid

    metric = Fid(weights={"inception": str(inception_file)}, frames=2)
    found = measured(metric, textured_clip(0.2, 64, 48, sound=False)).features
    assert (found["features"].shape, found["logits"].shape) == ((2, 2048), (2, 1008))
    assert len(metric.digests()["inception"]) == 64


def test_frechet_and_kernel_are_those_of_torchmetrics():
    if importlib.util.find_spec("torch_fidelity") is not None:
        mended()  # torchmetrics imports torch_fidelity where it is there, and that torchvision
    from torchmetrics.image.fid import _compute_fid
    from torchmetrics.image.kid import poly_mmd

    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 48)) @ rng.standard_normal((48, 48))
    y = x[:200] * 1.3 + 0.5
    t, u = torch.from_numpy(x), torch.from_numpy(y)
    theirs = _compute_fid(t.mean(0), torch.cov(t.T), u.mean(0), torch.cov(u.T)).item()
    assert frechet_distance(x, y) == pytest.approx(theirs, rel=1e-9)
    assert kernel.mmd2(x[:200], y) == pytest.approx(poly_mmd(t[:200], u).item(), rel=1e-9)


# ---------------------------------------------------------------- video


def test_fvd_is_that_of_cd_fvd(tmp_path):
    package = "cd-fvd==0.1.1 (and requests, tqdm)"
    net_module, utils, stats = peer(
        "cdfvd", "third_party.i3d.pytorch_i3d", "third_party.i3d.utils", "utils.metric_utils",
        install=package,
    )  # fmt: skip
    theirs = net_module.InceptionI3d(400, in_channels=3)
    kaiming(theirs)
    path = saved(theirs.state_dict(), tmp_path / "i3d.pt")
    ours = i3d.I3D(path, frames=9)
    theirs.eval()
    rows: list[list[np.ndarray]] = [[], []]
    sums = [stats.FeatureStats(capture_mean_cov=True) for _ in rows]
    for side, seed in ((0, 1), (1, 2)):
        for clip in range(3):
            video = pictures(9, seed + 3 * clip, 32)
            with torch.inference_mode():
                logits = theirs(utils.preprocess_i3d(video[None]))
            sums[side].append_torch(logits, rank=0, num_gpus=1)
            prepared = np.stack([ours.prepare(frame) for frame in video])
            rows[side].append(ours.features(prepared[None])["features"])
            np.testing.assert_allclose(rows[side][-1], logits.numpy(), rtol=1e-4, atol=1e-4)
    x, y = (np.concatenate(some) for some in rows)
    mean1, cov1 = sums[0].get_mean_cov()
    mean2, cov2 = sums[1].get_mean_cov()
    import scipy.linalg

    root = scipy.linalg.sqrtm(cov1 @ cov2)  # what cdfvd.compute_fvd_from_stats does
    theirs_fvd = np.square(mean1 - mean2).sum() + np.trace(cov1 + cov2 - 2 * root).real
    fvd = frechet_distance(x, y, ddof=0)
    assert fvd > 1.0
    assert fvd == pytest.approx(theirs_fvd, rel=1e-4)
    assert frechet_distance(x, y, ddof=1) != pytest.approx(theirs_fvd, rel=1e-2)  # 1/n matters


def test_videomae_gives_the_mean_token_of_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    from avsafe_metrics.sets.backbones.videomae import VideoMAE

    config = transformers.VideoMAEConfig(
        image_size=32, patch_size=16, num_frames=4, tubelet_size=2, hidden_size=24,
        num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, use_mean_pooling=True,
    )  # fmt: skip
    theirs = transformers.VideoMAEForVideoClassification(config)
    kaiming(theirs)
    theirs.classifier = torch.nn.Identity()  # what remains is what the classifier would see
    theirs.eval()
    theirs.save_pretrained(tmp_path)
    ours = VideoMAE(str(tmp_path))
    window = np.stack([ours.prepare(frame) for frame in pictures(4, 5)])[None]
    with torch.inference_mode():
        expected = theirs(torch.from_numpy(window)).logits.numpy()
    found = ours.features(window)["features"]
    assert found.std() > 0.01
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(MissingExtra, match="There is no folder"):
        VideoMAE("owner/name")


# ---------------------------------------------------------------- sound


def test_vggish_is_torchvggish(tmp_path):
    mel, params, net = peer(
        "torchvggish", "mel_features", "vggish_params", "torchvggish", install="torchvggish==0.2"
    )
    theirs = net.VGG(net.make_layers(), postprocess=False)
    kaiming(theirs)
    theirs.eval()
    ours = vggish.Vggish(saved(theirs.state_dict(), tmp_path / "vggish.pth"))
    wave = sound(2.3, 16000, 3)
    log_mel = mel.log_mel_spectrogram(
        wave.astype(np.float64), audio_sample_rate=16000, log_offset=params.LOG_OFFSET,
        window_length_secs=0.025, hop_length_secs=0.010, num_mel_bins=64,
        lower_edge_hertz=params.MEL_MIN_HZ, upper_edge_hertz=params.MEL_MAX_HZ,
    )  # fmt: skip
    examples = mel.frame(log_mel, window_length=96, hop_length=96)
    np.testing.assert_allclose(vggish.patches(wave), examples, rtol=1e-5, atol=1e-5)
    with torch.inference_mode():
        expected = theirs(torch.from_numpy(examples)[:, None].float()).numpy()
    found = ours.features(wave)["features"]
    assert found.shape == (2, 128)
    assert found.std() > 0.01
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("rate_hz", "window"), [(32000, 1024), (16000, 512)])
def test_cnn14_is_that_of_panns_inference(tmp_path, rate_hz, window):
    pytest.importorskip("matplotlib")
    (models,) = peer(
        "panns_inference", "models", install="panns-inference==0.1.1 torchlibrosa==0.1.0"
    )
    high_hz = 14000 if rate_hz == 32000 else 8000
    theirs = models.Cnn14(rate_hz, window, window * 5 // 16, 64, 50, high_hz, 527)
    front = {k: v.clone() for k, v in theirs.state_dict().items() if "extractor" in k}
    kaiming(theirs)
    theirs.load_state_dict(front, strict=False)  # its spectrum and mel matrix stay what they are
    theirs.eval()
    ours = panns.Panns(saved(theirs.state_dict(), tmp_path / "cnn14.pth", epoch=1))
    assert ours.rate_hz == rate_hz
    wave = sound(0.8, rate_hz, 5)
    with torch.inference_mode():
        expected = theirs(torch.from_numpy(wave)[None])
    found = ours.features(wave)
    embedding = expected["embedding"].numpy()
    assert embedding.std() > 0.1
    scale = np.abs(embedding).max()
    np.testing.assert_allclose(found["features"], embedding, rtol=1e-3, atol=1e-4 * scale)
    sure = 1 / (1 + np.exp(-found["logits"]))
    np.testing.assert_allclose(sure, expected["clipwise_output"].numpy(), atol=1e-3)


def test_passt_is_hear21passt(tmp_path):
    if importlib.util.find_spec("timm") is None:
        pytest.skip("hear21passt imports timm, which is not installed (pip install --no-deps timm)")
    mended()
    (models,) = peer("hear21passt", "models.passt", install="hear21passt==0.0.26")
    models.first_RUN = False
    theirs = models.PaSST(
        img_size=(128, 998), stride=(10, 10), in_chans=1, num_classes=20, embed_dim=96, depth=2,
        num_heads=4, distilled=True,
    )  # fmt: skip
    kaiming(theirs)
    theirs.eval()
    ours = passt.Passt(saved(theirs.state_dict(), tmp_path / "passt.pt"), heads=4)
    mel = ours.log_mel(torch.from_numpy(sound(1.5, 32000, 1)))
    with torch.inference_mode():
        logits, tokens = theirs(mel[None, None])
        found = ours._net(mel[None, None])
    assert tokens.std() > 0.1
    np.testing.assert_allclose(found.numpy(), tokens.numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours._net.head(found).numpy(), logits.numpy(), rtol=1e-4, atol=1e-4)
