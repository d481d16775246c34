"""The diffusers adapter against pipelines of the library itself, with random weights.

Skipped without the extra: pip install 'avsafe[diffusers]'.
"""

from __future__ import annotations

import json
import shutil
from fractions import Fraction

import numpy as np
import pytest

from avsafe import media
from avsafe.errors import Cancelled, GeneratorFailed, MissingExtra, UsageError
from avsafe.testing import check_generator, sound_only, still, textured_clip
from avsafe.types import GenerationRequest, Generator, InputMedia, Kind, Principal, Task
from avsafe_generators.diffusers import Diffusers, library

try:
    library.diffusers()
    import torch

    from tests import tiny_pipelines

    torch.set_num_threads(1)
except MissingExtra as missing:
    pytest.skip(str(missing), allow_module_level=True)

SIDE = 64


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Name -> a folder as save_pretrained writes it; each is built once."""
    built = {}

    def folder(name):
        if name not in built:
            torch.manual_seed(0)
            built[name] = tmp_path_factory.mktemp(name)
            getattr(tiny_pipelines, name)().save_pretrained(built[name], safe_serialization=True)
        return str(built[name])

    return folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A clip of eight frames with sound, and a picture."""
    folder = tmp_path_factory.mktemp("inputs")
    media.encode(textured_clip(0.5, SIDE, SIDE, Fraction(16)), folder / "clip.mp4")
    media.encode(still(80, SIDE), folder / "picture.png")
    clip, picture = media.probe(folder / "clip.mp4"), media.probe(folder / "picture.png")
    return {"video": InputMedia(clip, "video"), "image": InputMedia(picture, "image")}


@pytest.fixture(autouse=True)
def no_list(monkeypatch):
    monkeypatch.delenv("AVSAFE_MODELS", raising=False)


def ask(folder, task, prompt="a red ball", inputs=(), seed=5, size=SIDE, **parameters):
    duration = parameters.pop("duration", None)
    negative = parameters.pop("negative", "")
    return GenerationRequest(
        Principal("u"), task, "diffusers", prompt, negative_prompt=negative, inputs=tuple(inputs),
        seed=seed, width=size, height=size, duration_s=duration,
        parameters={"model": folder, "steps": 2} | parameters,
    )  # fmt: skip


def frames(raw):
    return np.stack(list(raw.frames))


# ---------------------------------------------------------------- every family, end to end


@pytest.mark.parametrize(
    ("name", "rate", "made"), [("wan", 16, 8), ("ltx", 25, 12), ("animate_diff", 8, 4)]
)
def test_text_to_video(model, name, rate, made):
    assert isinstance(Diffusers(), Generator)
    raw = check_generator(Diffusers(), ask(model(name), Task.TEXT_TO_VIDEO, duration=0.5))
    assert (raw.kind, raw.width, raw.height) == (Kind.VIDEO, SIDE, SIDE)
    assert (raw.frame_rate, raw.frame_count) == (rate, made)
    assert raw.details["frame_rate_from"] in (
        "the pipeline's default",
        "what its family was trained at",
    )
    assert raw.details["safety_checker"] is None


def test_the_seed_and_the_prompt_change_the_output(model):
    generator = Diffusers()
    one = frames(generator.generate(ask(model("wan"), Task.TEXT_TO_VIDEO, num_frames=5)))
    seed = generator.generate(ask(model("wan"), Task.TEXT_TO_VIDEO, num_frames=5, seed=6))
    assert not np.array_equal(frames(seed), one)
    words = [
        frames(generator.generate(
            ask(model("wan"), Task.TEXT_TO_VIDEO, prompt, num_frames=5, guidance=99)
        ))
        for prompt in ("a red ball", "rain on roof")
    ]  # fmt: skip
    assert not np.array_equal(*words)  # random weights hear little of the prompt, but they do


def test_text_to_image(model):
    raw = check_generator(Diffusers(), ask(model("stable_diffusion"), Task.TEXT_TO_IMAGE))
    assert (raw.kind, raw.frame_rate, raw.frame_count) == (Kind.IMAGE, None, 1)
    # a video family makes a picture as a video of one frame
    raw = Diffusers().generate(ask(model("wan"), Task.TEXT_TO_IMAGE))
    assert (raw.kind, len(frames(raw))) == (Kind.IMAGE, 1)


def test_image_to_video(model, inputs):
    request = ask(
        model("wan_image_to_video"), Task.IMAGE_TO_VIDEO, inputs=[inputs["image"]], num_frames=5
    )
    raw = check_generator(Diffusers(), request)
    assert (raw.frame_count, raw.width) == (5, SIDE)


def test_the_size_of_an_input_is_rounded_to_what_the_model_makes(model, inputs):
    request = ask(
        model("wan_image_to_video"), Task.IMAGE_TO_VIDEO, inputs=[inputs["image"]], num_frames=5,
        size=None,
    )  # fmt: skip
    raw = Diffusers().generate(request)
    assert (raw.width, raw.height) == (80, 64)  # 80 x 64 is on Wan's grid of 16


def test_video_to_video_keeps_length_rate_and_sound(model, inputs):
    request = ask(
        model("wan_video_to_video"), Task.STYLIZE_VIDEO, inputs=[inputs["video"]], strength=0.9
    )
    raw = check_generator(Diffusers(), request)
    assert (raw.frame_rate, raw.frame_count) == (16, 8)  # 9 were made, on Wan's grid of 4n + 1
    heard = np.concatenate(list(raw.samples), axis=1)
    assert heard.shape[1] == pytest.approx(0.5 * raw.rate_hz, abs=2000)
    assert np.abs(heard).max() > 0.01


def test_inpainting_leaves_the_rest_as_it_was(model, inputs):
    request = ask(
        model("wan_vace"), Task.INPAINT_VIDEO, inputs=[inputs["video"]], mask="0,0,0.5,1",
        num_frames=5,
    )  # fmt: skip
    raw = check_generator(Diffusers(), request)
    source = np.stack(list(media.decode(inputs["video"].media.path).frames)[:5])
    made = frames(raw)
    half = SIDE // 2
    assert np.array_equal(made[:, :, half:], source[:, :, half:])
    assert np.abs(made[:, :, :half].astype(int) - source[:, :, :half]).mean() > 10


def test_what_a_mask_covers_is_not_shown_to_the_model(model, inputs, tmp_path):
    """The same clip with other content below the mask gives the same output."""
    source = list(media.decode(inputs["video"].media.path).frames)[:5]
    pair = []
    for value in (0, 255):
        changed = [frame.copy() for frame in source]
        for frame in changed:
            frame[:, : SIDE // 2] = value
        pair.append(changed)
    seen = []
    from avsafe_generators.diffusers import making

    grey = np.full_like(source[0], making._GREY)
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[:, : SIDE // 2] = 1
    for changed in pair:
        seen.append(np.stack([making._blend(frame, grey, mask) for frame in changed]))
    assert np.array_equal(*seen)
    assert (seen[0][:, :, : SIDE // 2] == making._GREY).all()


def test_edits_go_frame_by_frame_or_to_one_picture(model, inputs):
    folder = model("instruct_pix2pix")
    request = ask(folder, Task.EDIT_VIDEO, "make it snow", [inputs["video"]], num_frames=2, steps=1)
    raw = check_generator(Diffusers(), request)
    assert (raw.kind, raw.frame_count) == (Kind.VIDEO, 2)
    assert raw.details["made_as"] == "each-frame"
    raw = Diffusers().generate(ask(folder, Task.TEXT_TO_IMAGE, "make it snow", [inputs["image"]]))
    assert (raw.kind, raw.details["made_as"]) == (Kind.IMAGE, "picture")


def test_an_image_model_inpaints_every_frame(model, inputs):
    request = ask(
        model("inpaint"), Task.INPAINT_VIDEO, inputs=[inputs["video"]], mask="0.5,0,0.5,1",
        num_frames=2, steps=1,
    )  # fmt: skip
    made = frames(Diffusers().generate(request))
    source = np.stack(list(media.decode(inputs["video"].media.path).frames)[:2])
    assert np.array_equal(made[:, :, : SIDE // 2], source[:, :, : SIDE // 2])
    assert np.abs(made[:, :, SIDE // 2 :].astype(int) - source[:, :, SIDE // 2 :]).mean() > 10


def test_sound_alone_and_under_a_video(model, inputs):
    folder = model("stable_audio")
    request = ask(folder, Task.VIDEO_TO_AUDIO, "rain on a roof", size=None, duration=0.5)
    raw = check_generator(Diffusers(), request)
    assert (raw.kind, raw.channels, raw.rate_hz) == (Kind.AUDIO, 2, 4000)
    assert sum(block.shape[1] for block in raw.samples) == 2000
    request = ask(folder, Task.VIDEO_TO_AUDIO, "rain", [inputs["video"]], size=None)
    raw = Diffusers().generate(request)
    assert (raw.kind, raw.frame_count) == (Kind.VIDEO, 8)
    assert sum(block.shape[1] for block in raw.samples) == 2000  # as long as the video
    assert "does not see the video" in raw.details["note"]


# ---------------------------------------------------------------- progress and cancel


@pytest.mark.parametrize("name", ["wan", "stable_audio"])  # step callbacks of both kinds
def test_steps_move_the_progress(model, name):
    task = Task.VIDEO_TO_AUDIO if name == "stable_audio" else Task.TEXT_TO_VIDEO
    seen = []
    request = ask(model(name), task, size=None if name == "stable_audio" else SIDE,
                  duration=0.5, steps=4)  # fmt: skip
    Diffusers().generate(request, progress=lambda at, stage: seen.append(at))
    assert seen == sorted(seen)
    between = {round(at, 3) for at in seen if 0.1 < at < 0.95}
    assert len(between) >= 4


def test_cancel_stops_inside_a_step_and_leaves_no_hook(model):
    generator, asked = Diffusers(), []
    request = ask(model("wan"), Task.TEXT_TO_VIDEO, num_frames=5, steps=50)

    def cancelled():
        asked.append(True)
        return len(asked) == 12  # some way into the first step

    with pytest.raises(Cancelled):
        generator.generate(request, cancelled=cancelled)
    assert len(asked) == 12
    parts = [p for p in generator._loaded.pipeline.components.values() if hasattr(p, "modules")]
    assert not any(m._forward_pre_hooks for part in parts for m in part.modules())


def test_a_pipeline_without_step_reports_still_moves_and_stops(model, monkeypatch):
    """As HunyuanVideo15Pipeline: the hooks on its modules do what a step report would."""
    from avsafe_generators.diffusers.fitting import Signature

    whole = Signature.of
    silent = {"callback_on_step_end", "callback", "callback_steps"}
    monkeypatch.setattr(
        Signature, "of",
        classmethod(lambda cls, p: Signature(
            p.__name__, {k: v for k, v in whole(p).defaults.items() if k not in silent})),
    )  # fmt: skip
    seen = []
    request = ask(model("wan"), Task.TEXT_TO_VIDEO, num_frames=5, steps=3)
    raw = Diffusers().generate(request, progress=lambda at, stage: seen.append(at))
    assert raw.details["steps_reported"] is False
    assert seen == sorted(seen)
    with pytest.raises(Cancelled):
        Diffusers().generate(request, cancelled=lambda: seen.append(0) or len(seen) > 40)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("name", "task", "says"),
    [
        ("stable_diffusion", Task.TEXT_TO_VIDEO, "no number of frames"),
        ("wan", Task.IMAGE_TO_VIDEO, "no video from a picture"),
        ("wan_image_to_video", Task.TEXT_TO_VIDEO, "needs an input"),
        ("wan", Task.STYLIZE_VIDEO, "neither a video nor a picture"),
        ("wan_video_to_video", Task.INPAINT_VIDEO, "no mask"),
        ("wan", Task.VIDEO_TO_AUDIO, "no sound"),
        ("stable_audio", Task.TEXT_TO_VIDEO, "sound alone"),
    ],
)
def test_a_task_that_the_pipeline_cannot_do(model, inputs, name, task, says):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "load", lambda *a, **k: pytest.fail("weights were read in vain"))
        with pytest.raises(UsageError, match=says):
            Diffusers().generate(ask(model(name), task, inputs=list(inputs.values())))


@pytest.mark.parametrize(
    ("name", "more", "says"),
    [
        ("wan", {"strength": 0.5}, "takes no strength"),
        ("stable_audio", {"strength": 0.5}, "takes no strength"),
        ("wan", {"prompt": " "}, "needs a prompt"),
        ("wan", {"size": 72}, "multiples of 16.*64x64"),
        ("wan", {"num_frames": 5, "duration": 1.0}, "not both"),
        ("wan", {"duration": 60.0}, "at most 257"),
        ("wan", {"colour": "red"}, "no parameter colour"),
        ("wan", {"device": "cuda"}, "no CUDA device"),
    ],
)
def test_wishes_that_the_pipeline_would_ignore(model, name, more, says):
    if more.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    task = Task.VIDEO_TO_AUDIO if name == "stable_audio" else Task.TEXT_TO_VIDEO
    with pytest.raises(UsageError, match=says):
        Diffusers().generate(ask(model(name), task, **more))


def test_a_long_prompt_is_said_to_be_cut(model):
    for prompt, cut in (("a red ball", False), ("a red ball " * 900, True)):
        request = ask(model("wan"), Task.TEXT_TO_IMAGE, prompt, steps=1)
        assert Diffusers().generate(request).details["prompt_cut"] is cut


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / "unet" / "model.bin").write_bytes(b"\x80\x04."), "only safetensors"),
        (lambda f: (f / "pipeline.py").write_text("raise SystemExit"), "is code"),
        (lambda f: edit(f / "model_index.json", _class_name="../evil"), "names no pipeline class"),
        (lambda f: edit(f / "model_index.json", _class_name="OwnPipeline"), "does not have"),
        (lambda f: edit(f / "model_index.json", _class_name="AutoencoderKL"), "does not have"),
        (lambda f: edit(f / "model_index.json", vae=["os", "system"]), "no part of"),
        (lambda f: edit(f / "model_index.json", vae=["my_code", "Vae"]), "no part of"),
        (lambda f: edit(f / "model_index.json", vae=["diffusers.models", "X"]), "is not loaded"),
        (lambda f: edit(f / "text_encoder" / "config.json", auto_map={"A": "m.M"}), "auto_map"),
        (lambda f: linked(f / "text_encoder"), "link to a folder"),
        (lambda f: (f / "model_index.json").write_text("[" * 100_000), "JSON"),
        (lambda f: (f / "model_index.json").unlink(), "no diffusers pipeline"),
    ],
)  # fmt: skip
def test_folders_that_could_run_code_are_not_loaded(model, tmp_path, spoil, says):
    folder = tmp_path / "model"
    shutil.copytree(model("stable_diffusion"), folder)
    spoil(folder)
    with pytest.raises(UsageError, match=says):
        Diffusers().generate(ask(str(folder), Task.TEXT_TO_IMAGE))


def linked(folder):
    """What lies behind a link is loaded as well, so it would have to be looked at."""
    away = folder.parent.parent / "away"
    folder.rename(away)
    (away / "model.pkl").write_bytes(b"x")
    folder.symlink_to(away)


def edit(path, **change):
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def test_broken_weights_are_the_models_fault(model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(model("stable_diffusion"), folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(GeneratorFailed, match="can't be loaded"):
        Diffusers().generate(ask(str(folder), Task.TEXT_TO_IMAGE))


def test_a_model_that_is_not_here_is_not_fetched(tmp_path, monkeypatch):
    from avsafe_generators.diffusers import hub

    monkeypatch.setattr(hub, "fetch", lambda *a: pytest.fail("the network was used"))
    for name in ("owner/name", str(tmp_path / "nothing"), ""):
        with pytest.raises(UsageError, match=r"model=|no folder|neither a folder"):
            Diffusers().generate(ask(name, Task.TEXT_TO_IMAGE))


def test_a_download_is_asked_for_and_brings_no_code(model, monkeypatch, tmp_path):
    """The process that fetches is a stand-in: it answers with a folder, as the real one does."""
    from avsafe_generators.diffusers import hub

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    stand_in = tmp_path / "fetch.py"
    stand_in.write_text(f"import sys; assert sys.argv[-1] == 'o/n'; print({model('wan')!r})")
    monkeypatch.setattr(hub.sys, "executable", shutil.which("python3"))
    real = hub.subprocess.Popen
    monkeypatch.setattr(
        hub.subprocess, "Popen",
        lambda command, **k: real([command[0], str(stand_in), *command[3:]], **k),
    )  # fmt: skip
    raw = Diffusers().generate(ask("o/n", Task.TEXT_TO_IMAGE, allow_download="true"))
    assert raw.kind is Kind.IMAGE
    assert not any(pattern.endswith((".bin", ".py", ".pt")) for pattern in hub.PATTERNS)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE"):
        Diffusers().generate(ask("o/n", Task.TEXT_TO_IMAGE, allow_download="true"))


def test_output_that_is_not_finite_is_no_black_clip(model, monkeypatch):
    generator = Diffusers()
    request = ask(model("stable_diffusion"), Task.TEXT_TO_IMAGE, steps=1)
    generator.generate(request)
    vae = generator._loaded.pipeline.vae
    with torch.no_grad():
        vae.decoder.conv_out.bias.fill_(float("nan"))
    with pytest.raises(GeneratorFailed, match="not finite"):
        generator.generate(request)


def test_a_flagged_output_is_an_error_with_a_reason():
    from types import SimpleNamespace

    from avsafe_generators.diffusers import running

    black = [np.zeros((8, 8, 3), np.float32)]
    for flags, fails in (([True], True), ([False], False), (None, False)):
        output = SimpleNamespace(images=black, nsfw_content_detected=flags)
        if fails:
            with pytest.raises(GeneratorFailed, match="flagged"):
                running.frames_of(output, "P")
        else:
            assert len(running.frames_of(output, "P")) == 1


def test_frames_and_sound_of_one_output():
    """As LTX2Pipeline: frames (b, n, h, w, c) and sound (b, c, n) in one output."""
    from types import SimpleNamespace

    from avsafe_generators.diffusers import running

    output = SimpleNamespace(
        frames=np.full((1, 3, 8, 10, 3), 0.5, np.float32), audio=torch.full((1, 2, 100), 2.0)
    )
    vocoder = SimpleNamespace(config=SimpleNamespace(output_sampling_rate=24000))
    assert [f.shape for f in running.frames_of(output, "P")] == [(8, 10, 3)] * 3
    assert running.frames_of(output, "P")[0].max() == 128
    sound, rate_hz = running.sound_of(output, SimpleNamespace(vocoder=vocoder), "P")
    assert (sound.shape, rate_hz, float(sound.max())) == ((2, 100), 24000, 1.0)


# ---------------------------------------------------------------- the file of an administrator


def listing(tmp_path, text, monkeypatch):
    path = tmp_path / "models.toml"
    path.write_text(text)
    path.chmod(0o600)
    monkeypatch.setenv("AVSAFE_MODELS", str(path))
    return path


def test_a_listed_model_brings_its_licence_and_is_all_there_is(model, tmp_path, monkeypatch):
    assert (Diffusers().info.commercial_ok, Diffusers().info.realism) == (False, "photorealistic")
    assert "unknown" in Diffusers().info.licence
    path = listing(
        tmp_path,
        f'[models.small]\npath = "{model("wan")}"\nlicence = "Apache-2.0"\ncommercial_ok = true\n'
        'realism = "stylised"\n',
        monkeypatch,
    )
    info = Diffusers().info
    assert (info.licence, info.commercial_ok, info.realism) == ("Apache-2.0", True, "stylised")
    for name in ("small", ""):
        assert Diffusers().generate(ask(name, Task.TEXT_TO_IMAGE)).kind is Kind.IMAGE
    with pytest.raises(UsageError, match="no '/etc'"):
        Diffusers().generate(ask("/etc", Task.TEXT_TO_IMAGE))
    with pytest.raises(UsageError, match="no parameter allow_download"):
        Diffusers().generate(ask("small", Task.TEXT_TO_IMAGE, allow_download="true"))
    own = Diffusers.from_file(path, "small")
    assert (own.info.name, own.info.licence) == ("small", "Apache-2.0")


def test_of_several_models_the_policy_reads_the_strictest(tmp_path, monkeypatch):
    listing(
        tmp_path,
        '[models.a]\npath = "/a"\nlicence = "MIT"\ncommercial_ok = true\n'
        '[models.b]\npath = "/b"\nlicence = "other"\nterritory = "worldwide except EU, GB"\n',
        monkeypatch,
    )
    info = Diffusers().info
    assert (info.licence, info.commercial_ok) == ("MIT or other", False)
    assert info.territory == "worldwide except EU, GB"


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        ('[models.a]\npath = "/a"\nlicense = "MIT"\n', 0o600, "unknown key license"),
        ('[models.a]\npath = 3\n', 0o600, "path must be str"),
        ("[servers.a]\n", 0o600, r"no \[models"),
        ('[models.a]\npath = "/a"\n', 0o666, "can be written by others"),
        ("models = [", 0o600, "is not TOML"),
    ],
)  # fmt: skip
def test_a_file_of_models_that_is_wrong(tmp_path, monkeypatch, text, mode, says):
    listing(tmp_path, text, monkeypatch).chmod(mode)
    with pytest.raises(UsageError, match=says):
        Diffusers().generate(ask("a", Task.TEXT_TO_IMAGE))


def test_an_eight_hour_sound_is_no_video(model, tmp_path):
    path = tmp_path / "sound.wav"
    media.encode(sound_only(1.0), path)
    sound = InputMedia(media.probe(path), "video")
    with pytest.raises(Exception, match="video") as caught:
        Diffusers().generate(ask(model("wan_video_to_video"), Task.EDIT_VIDEO, inputs=[sound]))
    assert isinstance(caught.value, UsageError) or caught.value.exit_code == 3
