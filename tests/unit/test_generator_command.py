"""The command generator: templates, limits, processes, output. Its programs are small scripts."""

import gc
import json
import os
import stat
import sys
import time
from pathlib import Path

import pytest

from avsafe import media
from avsafe.errors import Cancelled, GeneratorFailed, MissingExtra, UsageError
from avsafe.testing import check_generator, sound_only, textured_clip
from avsafe.types import GenerationRequest, Generator, InputMedia, Kind, Principal, Task
from avsafe_generators.command import Command, Recipe, recipe, runner, template

REPORT = (  # writes its own argv and environment where the test can see them, then copies a clip
    "import json, os, shutil, sys\n"
    "out, seen, clip = sys.argv[1:4]\n"
    "json.dump({'argv': sys.argv[4:], 'env': dict(os.environ), 'cwd': os.getcwd(),\n"
    "           'stdin': sys.stdin.read()}, open(seen, 'w'))\n"
    "shutil.copy(clip, out)\n"
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    media.encode(textured_clip(duration_s=0.4, width=128, height=96), path)
    return path


@pytest.fixture(autouse=True)
def private_temp(tmp_path, monkeypatch):
    """Every workspace below one folder, so that a test can see what is left."""
    folder = tmp_path / "temp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.delenv("AVSAFE_COMMANDS", raising=False)
    return folder


def script(tmp_path, code):
    path = tmp_path / "program.py"
    path.write_text(code)
    return str(path)


def ask(argv, task=Task.TEXT_TO_VIDEO, prompt="a cat", **more):
    parameters = {"argv": argv} | more.pop("parameters", {})
    return GenerationRequest(Principal("u"), task, "command", prompt, parameters=parameters, **more)


def python(tmp_path, code, *rest):
    return [sys.executable, script(tmp_path, code), "{output}", *rest]


def report(tmp_path, clip, *rest):
    return [
        sys.executable,
        script(tmp_path, REPORT),
        "{output}",
        str(tmp_path / "seen"),
        str(clip),
        *rest,
    ]


def seen(tmp_path):
    return json.loads((tmp_path / "seen").read_text())


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def pid_from(path, *, wait_s=10.0):
    end = time.monotonic() + wait_s
    while time.monotonic() < end:
        if path.exists() and path.read_text().strip():
            return int(path.read_text())
        time.sleep(0.02)
    raise AssertionError(f"{path} was never written")


# ---------------------------------------------------------------- contract


def test_the_contract_of_a_generator(clip):
    assert isinstance(Command(), Generator)
    raw = check_generator(Command(), ask(["cp", str(clip), "{output}"]))
    assert raw.kind is Kind.VIDEO
    assert raw.details["program"] == "cp"
    assert raw.width == 128


def test_the_file_lives_as_long_as_the_media_and_no_longer(clip, private_temp):
    raw = Command().generate(ask(["cp", str(clip), "{output}"]))
    frames = raw.frames
    del raw
    gc.collect()
    assert len(list(frames)) == len(list(frames)) > 0
    left = [path.name for path in private_temp.rglob("*") if path.is_file()]
    assert left == ["output.mp4"]
    del frames
    gc.collect()
    assert list(private_temp.iterdir()) == []


def test_info_promises_nothing_about_an_unknown_program():
    info = Command().info
    assert info.commercial_ok is False
    assert "unknown" in info.licence
    assert info.realism == "photorealistic"
    assert set(info.tasks) == set(Task) - {Task.RELEASE}


# ---------------------------------------------------------------- templates


@pytest.mark.parametrize(
    "prompt",
    [
        "a; touch pwned",
        "$(touch pwned)",
        "`touch pwned`",
        "a\nb\t'\"",
        "{seed}{output}{{x}}",
        "%s \\0",
        "ü🙂‮",
        "| cat > x",
        "*",
    ],
)
def test_a_prompt_is_one_argument_whatever_it_holds(prompt, tmp_path, clip):
    argv = report(tmp_path, clip, "--prompt={prompt}", "{prompt}", "x{seed}y{{z}}")
    Command().generate(ask(argv, prompt=prompt, seed=7))
    assert seen(tmp_path)["argv"] == [f"--prompt={prompt}", prompt, "x7y{z}"]
    assert not list(tmp_path.rglob("pwned"))


def test_a_string_template_is_split_without_a_shell(tmp_path, clip):
    argv = " ".join(report(tmp_path, clip, "'a b'", "$HOME", ";", "{prompt}"))
    Command().generate(ask(argv, prompt="x y"))
    assert seen(tmp_path)["argv"] == ["a b", "$HOME", ";", "x y"]


def test_a_prompt_that_looks_like_an_option(tmp_path, clip):
    with pytest.raises(UsageError, match="--option="):
        Command().generate(ask(report(tmp_path, clip, "{prompt}"), prompt="--output=/etc/passwd"))
    Command().generate(ask(report(tmp_path, clip, "--prompt={prompt}"), prompt="--output=/x"))
    assert seen(tmp_path)["argv"] == ["--prompt=--output=/x"]


def test_long_prompts_go_through_a_file(tmp_path, clip):
    prompt = "word " * 40_000
    with pytest.raises(UsageError, match="prompt_file"):
        Command().generate(ask(report(tmp_path, clip, "{prompt}"), prompt=prompt))
    code = REPORT.replace("sys.argv[4:]", "[open(sys.argv[4]).read()]")
    argv = [
        sys.executable,
        script(tmp_path, code),
        "{output}",
        str(tmp_path / "seen"),
        str(clip),
        "{prompt_file}",
    ]
    Command().generate(ask(argv, prompt=prompt))
    assert seen(tmp_path)["argv"] == [prompt]
    with pytest.raises(UsageError, match="NUL"):
        Command().generate(ask(report(tmp_path, clip, "{prompt}"), prompt="a\0b"))


@pytest.mark.parametrize(
    "argv",
    [
        ["sh", "-c", "make {prompt} {output}"],
        ["bash", "-lc", "{prompt}", "{output}"],
        ["/usr/bin/env", "sh", "-c", "x '{prompt}'", "{output}"],
        ["python3.12", "-c", "print('{prompt}')", "{output}"],
        ["perl", "-e{prompt}", "{output}"],
        ["node", "--eval", "{prompt}", "{output}"],
        ["nice", "ksh", "-c", "{negative_prompt}", "{output}"],
        ["awk", "{prompt}", "{output}"],
        ["ssh", "host", "gen {prompt}", "{output}"],
    ],
)
def test_a_prompt_never_becomes_code(argv):
    with pytest.raises(UsageError, match="code"):
        template.parse_argv(argv)


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        ([], "list of strings"),
        ("", "list of strings"),
        (["x", 3], "list of strings"),
        (7, "list of strings"),
        ("x 'open", "split"),
        (["x"], "no {output}"),
        (["{prompt}", "{output}"], "program"),
        (["x", "{home}", "{output}"], "Unknown placeholder"),
        (["x", "a}b", "{output}"], "Unknown placeholder"),
        (["x", "{", "{output}"], "Unknown placeholder"),
        (["x", "{prompt.__class__}", "{output}"], "Unknown"),
        (["x\0", "{output}"], "NUL"),
    ],
)
def test_bad_templates_are_usage_errors(argv, word):
    with pytest.raises(UsageError, match=word):
        template.parse_argv(argv)


@pytest.mark.parametrize(
    "name", ["width", "height", "duration", "image", "audio", "video", "mask", "prompt"]
)
def test_a_placeholder_without_value_says_what_to_give(name):
    with pytest.raises(UsageError, match=f"{{{name}}}"):
        Command().generate(ask(["true", f"{{{name}}}", "{output}"], prompt=""))


def test_inputs_and_numbers_are_filled_in(tmp_path, clip):
    inputs = (InputMedia(media.probe(clip), "video"), InputMedia(media.probe(clip), "portrait"))
    argv = report(
        tmp_path, clip, "{video}", "{image}", "{width}x{height}", "{duration}", "{negative_prompt}"
    )
    Command().generate(
        ask(
            argv,
            Task.EDIT_VIDEO,
            inputs=inputs,
            width=640,
            height=360,
            duration_s=2.5,
            negative_prompt="",
        )
    )
    assert seen(tmp_path)["argv"] == [str(clip), str(clip), "640x360", "2.5", ""]


# ---------------------------------------------------------------- what the program gets


def test_environment_folder_and_input_are_clean(tmp_path, clip, monkeypatch, private_temp):
    monkeypatch.setenv("AVSAFE_HOME", "/secret")
    monkeypatch.setenv("SOME_TOKEN", "secret")
    monkeypatch.setenv("HF_HOME", "/weights")
    Command().generate(ask(report(tmp_path, clip)))
    found = seen(tmp_path)
    assert "secret" not in json.dumps(found["env"])
    assert found["env"]["HF_HOME"] == "/weights"
    assert found["stdin"] == ""
    assert found["cwd"].startswith(str(private_temp))
    assert found["env"]["TMPDIR"] == found["cwd"]
    folder = recipe.Recipe(("x",), env=("SOME_TOKEN",))
    assert runner.environment(folder, tmp_path)["SOME_TOKEN"] == "secret"


# ---------------------------------------------------------------- failures


def test_failures_carry_code_and_last_lines_without_control_characters(tmp_path):
    code = "import sys\nsys.stderr.write('\\x1b[2Jout of memory on GPU 0\\n')\nsys.exit(3)"
    with pytest.raises(GeneratorFailed, match="exit code 3") as caught:
        Command().generate(ask(python(tmp_path, code)))
    assert "out of memory on GPU 0" in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_flood_of_output_neither_blocks_nor_fills_memory(tmp_path):
    code = (
        "import sys\nfor _ in range(3000): sys.stdout.write('x' * 10000)\n"
        "sys.stderr.write('\\nend\\n'); sys.exit(1)"
    )
    with pytest.raises(GeneratorFailed, match="end") as caught:
        Command().generate(ask(python(tmp_path, code)))
    assert len(str(caught.value)) < 20_000


@pytest.mark.parametrize("program", ["no-such-program-here", "/no/such/program", "/etc/passwd"])
def test_a_missing_program_says_what_to_do(program):
    with pytest.raises(MissingExtra, match="PATH"):
        Command().generate(ask([program, "{output}"]))


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("pass", "wrote no output.mp4"),
        ("import sys; open(sys.argv[1], 'w')", "empty"),
        ("import sys; open(sys.argv[1], 'wb').write(b'garbage' * 999)", "can't be read as media"),
        ("import os, sys; os.symlink('/etc/passwd', sys.argv[1])", "link"),
        ("import os, sys; os.mkfifo(sys.argv[1])", "special file"),
        ("import os, sys; os.mkdir(sys.argv[1])", "special file"),
        ("import os, sys; open('a', 'w').write('x'); os.link('a', sys.argv[1])", "link"),
        (
            "import os, sys; w = os.path.dirname(sys.argv[1]); a = w + '/../../mine'; os.mkdir(a); "
            "open(a + '/output.mp4', 'w').write('x'); os.rename(w, w + '2'); os.symlink(a, w)",
            "in place of its output folder",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "signal 11"),
    ],
)
def test_bad_output_is_the_programs_fault(code, word, tmp_path):
    with pytest.raises(GeneratorFailed, match=word):
        Command().generate(ask(python(tmp_path, code)))


def test_a_damaged_or_truncated_file(tmp_path, clip):
    code = (
        f"import sys; d = open({str(clip)!r}, 'rb').read()\n"
        "open(sys.argv[1], 'wb').write(d[:len(d) // 2])"
    )

    def read():
        list(Command().generate(ask(python(tmp_path, code))).frames)

    with pytest.raises(GeneratorFailed):
        read()


def test_the_kind_must_fit_the_task(clip):
    with pytest.raises(GeneratorFailed, match="needs image"):
        Command().generate(ask(["cp", str(clip), "{output}"], Task.TEXT_TO_IMAGE))


def test_a_program_that_speaks_writes_sound(clip, tmp_path):
    sound = tmp_path / "said.wav"
    media.encode(sound_only(1.0), sound)
    raw = Command().generate(ask(["cp", str(sound), "{output}"], Task.TEXT_TO_SPEECH))
    assert raw.kind is Kind.AUDIO
    with pytest.raises(GeneratorFailed, match="needs audio"):
        Command().generate(ask(["cp", str(clip), "{output}"], Task.TEXT_TO_SPEECH))


def test_the_workspace_is_removed_after_a_failure(private_temp):
    with pytest.raises(GeneratorFailed):
        Command().generate(ask(["false", "{output}"]))
    gc.collect()
    assert list(private_temp.iterdir()) == []


# ---------------------------------------------------------------- processes and limits

# A child, a grandchild in a session of its own, and a daemon that was orphaned on purpose.
FAMILY = (
    "import os, signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "here = sys.argv[2]\n"
    "p = subprocess.Popen(['sleep', '300'], start_new_session=True)\n"
    "open(here + '/grandchild', 'w').write(str(p.pid))\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork() == 0:\n"
    "        open(here + '/daemon', 'w').write(str(os.getpid()))\n"
    "        time.sleep(300)\n"
    "    os._exit(0)\n"
    "open(here + '/child', 'w').write(str(os.getpid()))\n"
)


@pytest.mark.parametrize("how", ["timeout", "cancel", "success", "failure"])
def test_nothing_of_the_family_survives(how, tmp_path, clip):
    ending = {
        "timeout": "time.sleep(300)",
        "cancel": "time.sleep(300)",
        "failure": "time.sleep(0.3); sys.exit(1)",
        "success": f"time.sleep(0.3); import shutil; shutil.copy({str(clip)!r}, sys.argv[1])",
    }[how]
    argv = python(tmp_path, FAMILY + ending, str(tmp_path))
    request = ask(argv, parameters={"timeout_s": "1.5" if how == "timeout" else "60"})
    stop = lambda: how == "cancel" and (tmp_path / "child").exists()  # noqa: E731
    if how == "success":
        Command().generate(request)
    else:
        error = Cancelled if how == "cancel" else GeneratorFailed
        with pytest.raises(error):
            Command().generate(request, cancelled=stop)
    for name in ("child", "grandchild", "daemon"):
        assert not alive(pid_from(tmp_path / name)), name


def test_nothing_survives_when_avsafe_itself_is_killed(tmp_path):
    import signal
    import subprocess

    code = (
        "from avsafe.types import *\nfrom avsafe_generators.command import Command\n"
        f"argv = {python(tmp_path, FAMILY + 'time.sleep(300)', str(tmp_path))!r}\n"
        "Command().generate(GenerationRequest(Principal('u'), Task.TEXT_TO_VIDEO, 'command', 'x',"
        " parameters={'argv': argv}))\n"
    )
    avsafe = subprocess.Popen([sys.executable, "-c", code])
    pids = [pid_from(tmp_path / name) for name in ("child", "grandchild", "daemon")]
    avsafe.send_signal(signal.SIGKILL)
    avsafe.wait()
    end = time.monotonic() + 10
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(alive, pids))


@pytest.mark.parametrize(
    ("code", "limit", "word"),
    [
        ("while True: pass", {"cpu_s": 1}, "cpu_s"),
        ("x = bytearray(1 << 30)", {"memory_gib": 0.25}, "MemoryError"),
        ("open('a', 'wb').write(bytes(50 << 20))", {"file_gib": 0.01}, "File too large"),
        (
            "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
            "open('a', 'wb').write(bytes(50 << 20))",
            {"file_gib": 0.01},
            "signal 25",
        ),
        (
            "import time\nfor i in range(300):\n  open(f'f{i}', 'wb').write(bytes(1 << 20))\n"
            "  time.sleep(0.02)",
            {"file_gib": 0.01},
            "into its folder",
        ),
        ("import time; time.sleep(60)", {"timeout_s": 0.5}, "timeout_s"),
    ],
)
def test_limits(code, limit, word, tmp_path):
    with pytest.raises(GeneratorFailed, match=word):
        Command().generate(ask(python(tmp_path, code), parameters=limit))


def test_progress_comes_from_the_program_or_from_the_clock(tmp_path, clip):
    code = (
        "import shutil, sys, time\n"
        "for n in (1, 5, 9): print(f'PROGRESS 0.{n} step {n}', flush=True); time.sleep(0.3)\n"
        f"shutil.copy({str(clip)!r}, sys.argv[1])"
    )
    told = []
    Command().generate(ask(python(tmp_path, code)), progress=lambda f, s: told.append((f, s)))
    fractions = [f for f, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert any(stage == "step 5" and 0.4 < f < 0.6 for f, stage in told)


# ---------------------------------------------------------------- where the argv comes from


def config(tmp_path, text, mode=0o600):
    path = tmp_path / "commands.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_named_commands_from_a_file(tmp_path, clip):
    path = config(
        tmp_path,
        f'[commands.copy]\nargv = ["cp", "{clip}", "{{output}}"]\n'
        'tasks = ["text-to-video"]\n'
                  'licence = "MIT"\ncommercial_ok = true\ntimeout_s = 20\n')  # fmt: skip
    request = GenerationRequest(
        Principal("u"),
        Task.TEXT_TO_VIDEO,
        "command",
        "x",
        parameters={"config": str(path), "name": "copy"},
    )
    assert Command().generate(request).frame_count > 0
    own = Command.from_file(path, "copy")
    assert (own.info.name, own.info.licence, own.info.commercial_ok) == ("copy", "MIT", True)
    assert own.info.tasks == (Task.TEXT_TO_VIDEO,)
    with pytest.raises(UsageError, match="no parameters"):
        own.generate(ask(["x", "{output}"]))
    with pytest.raises(UsageError, match="is not for text-to-image"):
        own.generate(GenerationRequest(Principal("u"), Task.TEXT_TO_IMAGE, "copy", "x"))


def test_a_server_fixes_the_commands(tmp_path, clip, monkeypatch):
    path = config(tmp_path, f'[commands.copy]\nargv = ["cp", "{clip}", "{{output}}"]\n')
    monkeypatch.setenv("AVSAFE_COMMANDS", str(path))
    for parameters in (
        {"argv": ["cp", "a", "{output}"]},
        {"config": str(path), "name": "copy"},
        {"name": "copy", "timeout_s": 9},
    ):
        with pytest.raises(UsageError, match="AVSAFE_COMMANDS"):
            Command().generate(
                GenerationRequest(
                    Principal("u"), Task.TEXT_TO_VIDEO, "command", "x", parameters=parameters
                )
            )
    request = GenerationRequest(
        Principal("u"), Task.TEXT_TO_VIDEO, "command", "x", parameters={"name": "copy"}
    )
    assert Command().generate(request).width == 128


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_refused(mode, tmp_path):
    path = config(tmp_path, '[commands.a]\nargv = ["true", "{output}"]\n', mode)
    with pytest.raises(UsageError, match="chmod go-w"):
        recipe.from_file(path, "a")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_refused(tmp_path):
    path = config(tmp_path, '[commands.a]\nargv = ["true", "{output}"]\n')
    os.chown(path, 12345, 12345)
    with pytest.raises(UsageError, match="another user"):
        recipe.from_file(path, "a")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[commands.b]\nargv=['x','{output}']", "no command 'a'"),
        ("nonsense", "not TOML"),
        ("", "no command"),
        ("[commands.a]\n", "Nothing to run"),
        ("[commands.a]\nargv=['x','{output}']\nshell=true", "Unknown key shell"),
        ("[commands.a]\nargv=['x','{output}']\ntasks=['fly']", "Unknown task"),
        ("[commands.a]\nargv=['x','{output}']\ntasks=['release']", "Unknown task"),
        ("[commands.a]\nargv=['x','{output}']\ntimeout_s=-1", "positive"),
        ("[commands.a]\nargv=['x','{output}']\ntimeout_s=nan", "positive"),
        ("[commands.a]\nargv=['x','{output}']\nsuffix='/../x'", "file ending"),
        ("[commands.a]\nargv=['x','{output}']\ncommercial_ok='yes'", "true or false"),
        ("[commands.a]\nargv=['x','{output}']\nrealism='real'", "stylised or photorealistic"),
        ("[commands.a]\nargv=['x','{output}']\nenv='PATH'", "list of strings"),
    ],
)
def test_bad_files_are_usage_errors(text, word, tmp_path):
    with pytest.raises(UsageError, match=word):
        recipe.from_file(config(tmp_path, text), "a")


def test_absent_and_odd_files(tmp_path):
    with pytest.raises(UsageError, match="can't be read"):
        recipe.from_file(tmp_path / "absent.toml", "a")
    with pytest.raises(UsageError):
        recipe.from_file(tmp_path, "a")


@pytest.mark.parametrize(
    "parameters",
    [{}, {"licence": "MIT", "argv": ["x", "{output}"]}, {"env": ["A"], "argv": ["x", "{output}"]}],
)
def test_a_request_cannot_say_more_than_what_to_run(parameters):
    with pytest.raises(UsageError):
        Command().generate(
            GenerationRequest(
                Principal("u"), Task.TEXT_TO_VIDEO, "command", "x", parameters=parameters
            )
        )


def test_the_private_folder_is_private(private_temp, tmp_path, clip):
    code = REPORT.replace("'cwd': os.getcwd()", "'cwd': oct(os.stat('..').st_mode & 0o777)")
    argv = [sys.executable, script(tmp_path, code), "{output}", str(tmp_path / "seen"), str(clip)]
    Command().generate(ask(argv))
    assert seen(tmp_path)["cwd"] == "0o700"
    assert stat.S_IMODE(private_temp.stat().st_mode) & 0o700


def test_a_recipe_of_ones_own(clip):
    own = Command(
        Recipe(argv=("cp", str(clip), "{output}"), name="copier", licence="MIT", commercial_ok=True)
    )
    assert own.info.name == "copier"
    raw = own.generate(GenerationRequest(Principal("u"), Task.TEXT_TO_VIDEO, "copier", "x"))
    assert len(list(raw.frames)) == raw.frame_count
