"""The recipes of the command generator: filled, and run against a stand-in that checks its argv.

The stand-in is an interpreter that keeps what it was called with and leaves the files that the real
system leaves. Whether the real systems do what their READMEs say is not tested here.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from avsafe import media
from avsafe.errors import GeneratorFailed, MissingExtra, UsageError
from avsafe.testing import check_generator, sound_only, still, textured_clip
from avsafe.types import GenerationRequest, InputMedia, Kind, Principal, Task
from avsafe_generators.command import Command, recipe, shipped

STAND_IN = """#!{python}
import json, os, shutil, sys
argv = sys.argv[1:]
json.dump({{"argv": argv, "cwd": os.getcwd()}}, open({seen!r}, "w"))
def after(*names):
    return next(argv[i + 1] if a in names else a.partition("=")[2] for i, a in enumerate(argv)
                if a in names or a.partition("=")[0] in names)
stem = lambda path: os.path.splitext(os.path.basename(path))[0]
for option in ("--video", "-s", "-d", "-r", "-a", "--image", "--audio", "--source_image"):
    if option in argv or any(a.startswith(option + "=") for a in argv):
        assert os.path.getsize(after(option)) > 100, option
{leaves}
"""
# What each system leaves, as its source has it at the commit that the recipe names.
LEAVES = {
    "mmaudio": """
out = after("--output")
open(f"{out}/{stem(after('--video'))}.flac", "wb").write(b"flac")
shutil.copy(CLIP, f"{out}/{stem(after('--video'))}.mp4")
""",
    "joyvasa": """
name = f"{after('-o')}/{stem(after('-r'))}_{stem(after('-a'))}"
shutil.copy(CLIP, name + "_temp.mp4")
shutil.copy(CLIP, name + ".mp4")
""",
    "wan2.2-s2v": """
shutil.copy(CLIP, after("--save_file"))
""",
    "latentsync": """
os.makedirs(after("--temp_dir"))
shutil.copy(CLIP, after("--video_out_path"))
""",
    "liveportrait": """
open(os.path.splitext(after("-d"))[0] + ".pkl", "wb").write(b"motion")
name = f"{after('-o')}/{stem(after('-s'))}--{stem(after('-d'))}"
shutil.copy(CLIP, name + "_concat.mp4")
shutil.copy(CLIP, name + ".mp4")
""",
    "sadtalker": """
shutil.copy(CLIP, after("--result_dir") + "/2026_01_02_03.04.05.mp4")
""",
}
# What is typed after "python", with the inputs and folders of the run in capitals.
TYPED = {
    "mmaudio": "demo.py --video=VIDEO --prompt=a {fox} --negative_prompt= --duration=0.4 --seed=9 "
    "--output=OUT",
    "joyvasa": "inference.py -r IMAGE -a AUDIO --animation_mode human --cfg_scale 2.0 -o OUT",
    "wan2.2-s2v": "generate.py --task s2v-14B --size 832*480 --ckpt_dir CHECKOUT/Wan2.2-S2V-14B "
    "--offload_model True --convert_model_dtype --prompt=a {fox} --image IMAGE --audio AUDIO "
    "--base_seed 9 --save_file FILE",
    "latentsync": "-m scripts.inference --unet_config_path configs/unet/stage2_512.yaml "
    "--inference_ckpt_path checkpoints/latentsync_unet.pt --inference_steps 20 "
    "--guidance_scale 1.5 --enable_deepcache --video_path VIDEO --audio_path AUDIO "
    "--video_out_path FILE --temp_dir OUT/temp --seed 9",
    "liveportrait": "inference.py -s IMAGE -d VIDEO -o OUT",
    "sadtalker": "inference.py --driven_audio AUDIO --source_image IMAGE "
    "--checkpoint_dir CHECKOUT/checkpoints --result_dir OUT --still --preprocess full",
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    media.encode(textured_clip(0.4, 128, 96), folder / "my clip.mp4")
    media.encode(still(128, 96), folder / "me.png")
    media.encode(sound_only(0.4), folder / "voice.wav")
    roles = {"image": "me.png", "video": "my clip.mp4", "audio": "voice.wav"}
    return {role: InputMedia(media.probe(folder / name), role) for role, name in roles.items()}


@pytest.fixture(autouse=True)
def no_commands(monkeypatch):
    monkeypatch.delenv("AVSAFE_COMMANDS", raising=False)


@pytest.fixture
def checkout(tmp_path, inputs):
    """Name -> (a folder that looks like a checkout, a stand-in for its interpreter)."""

    def make(name, leaves=None):
        folder = tmp_path / f"{name} of {{mine}}"  # blanks and braces: one argument, taken as is
        for needed in shipped.content(name)["needs"]:
            path = folder / needed
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch() if path.suffix in (".py", ".pt") else path.mkdir()
        python = tmp_path / "python-of-it"
        text = (LEAVES[name] if leaves is None else leaves).replace(
            "CLIP", repr(str(inputs["video"].media.path))
        )
        python.write_text(
            STAND_IN.format(python=sys.executable, seen=str(tmp_path / "seen"), leaves=text)
        )
        python.chmod(0o755)
        return folder, python

    return make


def ask(name, folder, python, inputs, **more):
    said = shipped.content(name)
    wanted = [role for role in inputs if any(f"{{{role}}}" in e for e in said["argv"])]
    parameters = {"recipe": name, "checkout": str(folder), "python": str(python)}
    return GenerationRequest(
        Principal("u"), Task(said["tasks"][0]), "command", "a {fox}", seed=9,
        inputs=tuple(inputs[role] for role in wanted), parameters=parameters | more,
    )  # fmt: skip


def test_every_recipe_has_a_case():
    assert set(shipped.names()) == set(LEAVES) == set(TYPED)


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_a_recipe_types_what_the_readme_says_and_finds_what_is_left(
    name, checkout, inputs, tmp_path
):
    folder, python = checkout(name)
    raw = check_generator(Command(), ask(name, folder, python, inputs))
    assert (raw.kind, raw.width) == (Kind.VIDEO, 128)
    seen = json.loads((tmp_path / "seen").read_text())
    assert seen["cwd"] == str(folder)
    private = next(p for e in seen["argv"] for p in Path(e.partition("=")[2] or e).parents
                   if p.name == "work")  # fmt: skip
    shown = [
        element.replace(f"{private}/inputs/image.png", "IMAGE")
        .replace(f"{private}/inputs/video.mp4", "VIDEO")
        .replace(f"{private}/inputs/audio.wav", "AUDIO")
        .replace(f"{private}/output.mp4", "FILE")
        .replace(f"{private}/out", "OUT")
        .replace(str(folder), "CHECKOUT")
        for element in seen["argv"]
    ]
    assert " ".join(shown) == TYPED[name]


def test_what_a_program_leaves_beside_its_inputs_goes_with_the_run(checkout, inputs):
    folder, python = checkout("liveportrait")
    Command().generate(ask("liveportrait", folder, python, inputs))
    beside = inputs["video"].media.path.parent
    assert sorted(p.name for p in beside.iterdir()) == ["me.png", "my clip.mp4", "voice.wav"]
    assert not list(folder.rglob("*.pkl"))


@pytest.mark.parametrize(
    ("leaves", "says"),
    [
        ("", r"no file like \*\.mp4 .*holds: nothing"),
        ("open(after('--output') + '/a.flac', 'w')", r"no file like .*a\.flac"),
        ("for n in 'ab': shutil.copy(CLIP, f\"{after('--output')}/{n}.mp4\")", "several files"),
        ("os.symlink('/etc/passwd', after('--output') + '/a.mp4')", "link or special file"),
        (
            "o = after('--output'); os.rmdir(o); os.symlink(os.path.dirname(CLIP), o)",
            "in place of its output folder",
        ),
        ("open(after('--output') + '/a.mp4', 'w')", "is empty"),
        ("sys.exit('CUDA out of memory')", r"exit code 1[\s\S]*CUDA out of memory"),
    ],
)
def test_a_system_that_leaves_something_else(checkout, inputs, leaves, says):
    folder, python = checkout("mmaudio", leaves)
    with pytest.raises(GeneratorFailed, match=says):
        Command().generate(ask("mmaudio", folder, python, inputs))


def test_a_prompt_is_optional_only_where_the_system_says_so(checkout, inputs):
    from dataclasses import replace

    folder, python = checkout("mmaudio")
    raw = Command().generate(replace(ask("mmaudio", folder, python, inputs), prompt=""))
    assert raw.kind is Kind.VIDEO
    folder, python = checkout("wan2.2-s2v")
    with pytest.raises(UsageError, match="Give a prompt"):
        Command().generate(replace(ask("wan2.2-s2v", folder, python, inputs), prompt=""))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"recipe": "nobody"}, "no recipe 'nobody'.*mmaudio"),
        ({"recipe": "../generator"}, "no recipe"),
        ({"checkout": "/nowhere"}, "no complete checkout of mmaudio.*generators show mmaudio"),
        ({"checkout": None}, "checkout=FOLDER, a clone of https://github.com/hkchengrex/MMAudio"),
        ({"argv": "x {output}"}, "not both"),
        ({"recipe": None}, "goes with recipe=NAME"),
        ({"take": "*"}, "can't take take"),
        ({"licence": "MIT"}, "can't take licence"),
    ],
)
def test_recipes_that_cannot_run(checkout, inputs, change, says):
    folder, python = checkout("mmaudio")
    request = ask("mmaudio", folder, python, inputs, **change)
    for key in [key for key, value in request.parameters.items() if value is None]:
        request.parameters.pop(key)
    with pytest.raises(UsageError, match=says):
        Command().generate(request)


def test_an_interpreter_that_is_not_there(checkout, inputs):
    folder, _ = checkout("mmaudio")
    with pytest.raises(MissingExtra, match="no-such-python"):
        Command().generate(ask("mmaudio", folder, "no-such-python", inputs))


def test_who_may_choose(checkout, inputs, tmp_path, monkeypatch):
    """With $AVSAFE_COMMANDS a request names a command of the file, never a checkout."""
    folder, python = checkout("mmaudio")
    path = tmp_path / "commands.toml"
    path.write_text(
        f'[commands.sounds]\nrecipe = "mmaudio"\ncheckout = "{folder}"\npython = "{python}"\n'
        "timeout_s = 99\n"
    )
    path.chmod(0o600)
    made = recipe.from_file(path, "sounds")
    assert (made.name, made.timeout_s, made.take) == ("sounds", 99, "*.mp4")
    info = Command.from_file(path, "sounds").info
    assert (info.name, info.commercial_ok, info.tasks) == ("sounds", False, (Task.VIDEO_TO_AUDIO,))
    assert "CC-BY-NC-4.0" in info.licence
    assert "unknown" in Command().info.licence  # what the policy reads where a request chooses
    monkeypatch.setenv("AVSAFE_COMMANDS", str(path))
    with pytest.raises(UsageError, match="only name= is open"):
        Command().generate(ask("mmaudio", folder, python, inputs))
    request = ask("mmaudio", folder, python, inputs)
    request.parameters.clear()
    request.parameters["name"] = "sounds"
    assert Command().generate(request).kind is Kind.VIDEO


@pytest.mark.parametrize("name", shipped.names())
def test_every_recipe_says_what_the_policy_and_a_person_need(name):
    said = shipped.content(name)
    assert said["url"].startswith("https://github.com/")
    assert said["read"].startswith("commit ")
    assert isinstance(said["commercial_ok"], bool)
    assert said["licence"]
    assert said["setup"].strip().startswith("git clone")
    assert f"recipe={name}" in said["setup"]
    assert all(Task(task) for task in said["tasks"])


def test_templates_of_ones_own_may_use_the_output_folder(tmp_path, inputs):
    with pytest.raises(UsageError, match="needs take"):
        recipe.from_parameters({"argv": "x {output_dir}"})
    path = tmp_path / "commands.toml"
    clip = inputs["video"].media.path
    path.write_text(
        f'[commands.own]\nargv = ["cp", "{clip}", "{{output_dir}}"]\ntake = "*.mp4"\n'
        'defaults = { prompt = "x" }\n'
    )
    path.chmod(0o600)
    request = GenerationRequest(Principal("u"), Task.TEXT_TO_VIDEO, "own")
    assert Command.from_file(path, "own").generate(request).kind is Kind.VIDEO
    for bad in ('defaults = { colour = "x" }', "defaults = 3", "take = 3", "folder = 3"):
        path.write_text(f'[commands.own]\nargv = ["cp", "a", "{{output}}"]\n{bad}\n')
        with pytest.raises(UsageError):
            recipe.from_file(path, "own")
    assert os.access(clip, os.R_OK)
