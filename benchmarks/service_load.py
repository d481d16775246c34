"""The service under load, while its processes are killed: is anything lost, doubled or unsigned?

Starts `avsafe serve --generate` with server processes and workers of its own, then at the same time
    jobs      are queued, each with an idempotency key
    uploads   are verified, all at once: releases of ours, the same without their credential,
              unsigned pictures, sounds and videos, hostile files
    kills     SIGKILL a worker or a server process, chosen by chance, every few seconds
and afterwards looks at every file, the registry, the ledger and the folders.

    python benchmarks/service_load.py --out reports/service_load
    python benchmarks/service_load.py --uploads 20 --jobs 5 --kills 2 --out OUT      # in a minute
    python benchmarks/service_load.py --database postgresql --out reports/service_load

With `--database postgresql` it starts the server of the tests (Debian's package). A client repeats
a request whose connection broke, as after a restart; any other error counts against the service.
Memory is what all processes hold (PSS: shared pages are counted once), from /proc, so Linux only.
Writes NAME.json, NAME.svg (NAME is the database) and README.md of all that lie in the folder.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))
from service_load_checks import checks
from service_load_report import write

PROMPTS = ("a red metal ball bouncing on grass", "a blue cube on sand", "two green balls on snow")
BROKEN = (httpx.ConnectError, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
TRIES = 20


@dataclass
class Upload:
    kind: str
    data: bytes
    labels: frozenset[str]  # one of these is right


@dataclass
class Run:
    """What is seen while it runs; times are seconds since its begin."""

    began: float = field(default_factory=time.monotonic)
    samples: list[dict[str, float]] = field(default_factory=list)
    kills: list[dict[str, Any]] = field(default_factory=list)
    uploads: list[dict[str, Any]] = field(default_factory=list)
    retried: Counter[str] = field(default_factory=Counter)
    jobs: list[str] = field(default_factory=list)
    open_uploads: int = 0
    queue: dict[str, int] = field(default_factory=dict)
    over: bool = False

    @property
    def now(self) -> float:
        return round(time.monotonic() - self.began, 2)


# ---------------------------------------------------------------- what is uploaded


def material(home: Path, folder: Path) -> list[Upload]:
    """One of each kind; the releases are made through the gate of the same state folder."""
    from PIL import Image

    from avsafe import gate, media
    from avsafe.home import Home
    from avsafe.media import EncodeSpec
    from avsafe.policy import local_principal
    from avsafe.testing import sound_only, still, textured_clip
    from avsafe.types import GenerationRequest, InputMedia, Task
    from avsafe.workspace import open_workspace

    made: list[Upload] = []

    def add(kind: str, path: Path | bytes, *labels: str) -> None:
        data = path if isinstance(path, bytes) else path.read_bytes()
        made.append(Upload(kind, data, frozenset(labels)))

    def write_raw(raw: Any, name: str) -> Path:
        path = folder / name
        media.encode(raw, path, spec=EncodeSpec())
        return path

    unsigned = ("inconclusive", "synthetic-suspected")
    video = write_raw(textured_clip(2.0, seed=1), "video.mp4")
    picture = write_raw(still(seed=2), "picture.png")
    sound = write_raw(sound_only(4.0, seed=3), "sound.wav")
    add("unsigned video", video, *unsigned)
    add("unsigned picture", picture, *unsigned)
    add("unsigned sound", sound, *unsigned)
    with open_workspace(Home(home)) as workspace:
        for source, name in (
            (write_raw(textured_clip(3.0, seed=4), "a.mp4"), "released video"),
            (write_raw(still(640, 480, seed=5), "b.png"), "released picture"),
        ):
            request = GenerationRequest(
                local_principal(), Task.RELEASE, "benchmark",
                inputs=(InputMedia(media.probe(source), "source"),),
            )  # fmt: skip
            out = folder / f"out-{source.name}"
            gate.generate(request, out, workspace)
            add(name, out, "synthetic-declared")
            stripped = folder / f"stripped-{source.name}"
            if out.suffix == ".png":
                Image.open(out).convert("RGB").save(stripped)
            else:
                from vertical import remux

                remux(out, stripped)
            add(name.replace("released", "stripped"), stripped, "synthetic-recovered")
    boxes = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2"
    add("100,000 boxes", boxes + struct.pack(">I4s", 8, b"free") * 100_000, "unreadable")
    add("script", b"<html><script>alert(1)</script>" * 50, "unreadable")
    add("cut video", video.read_bytes()[: len(video.read_bytes()) // 3], "unreadable", *unsigned)
    return made


# ---------------------------------------------------------------- the clients


async def repeated(run: Run, what: str, ask: Any) -> httpx.Response:
    """Ask again when the connection broke, as a client does whose server was restarted."""
    for number in range(TRIES):
        try:
            return await ask()
        except BROKEN as error:
            run.retried[f"{what}: {type(error).__name__}"] += 1
            await asyncio.sleep(0.2 * (number + 1))
    raise SystemExit(f"{what}: no answer in {TRIES} tries")


async def upload(client: httpx.AsyncClient, run: Run, number: int, one: Upload) -> None:
    began = time.monotonic()
    run.open_uploads += 1
    files = {"file": (f"{number}.bin", one.data)}
    answer = await repeated(run, "upload", lambda: client.post("/api/verify", files=files))
    run.open_uploads -= 1
    label = answer.json().get("label", "") if answer.status_code == 200 else ""
    run.uploads.append({
        "kind": one.kind, "status": answer.status_code, "label": label,
        "right": label in one.labels, "seconds": round(time.monotonic() - began, 2),
    })  # fmt: skip


async def queue_jobs(client: httpx.AsyncClient, run: Run, count: int) -> None:
    for number in range(count):
        wanted = {"model": "world", "prompt": PROMPTS[number % len(PROMPTS)], "seconds": "1",
                  "size": "256x192", "seed": number}  # fmt: skip
        key = {"Idempotency-Key": f"load-{number}"}
        answer = await repeated(
            run, "job", lambda w=wanted, k=key: client.post("/v1/videos", json=w, headers=k)
        )
        answer.raise_for_status()
        run.jobs.append(answer.json()["id"])


async def follow_jobs(client: httpx.AsyncClient, run: Run, count: int) -> None:
    while True:
        answer = await repeated(run, "list", lambda: client.get("/v1/videos?limit=100"))
        run.queue = Counter(job["state"] for job in answer.json()["data"])
        left = run.queue.get("queued", 0) + run.queue.get("running", 0)
        if len(run.jobs) == count and not left:
            return
        await asyncio.sleep(1.0)


async def clients(address: str, key: str, kinds: list[Upload], run: Run, args: Any) -> None:
    limits = httpx.Limits(max_connections=args.uploads + 10)
    async with (
        httpx.AsyncClient(base_url=address, timeout=args.patience_s, limits=limits) as anybody,
        httpx.AsyncClient(
            base_url=address, timeout=60, headers={"authorization": f"Bearer {key}"}
        ) as team,
    ):
        await asyncio.gather(
            queue_jobs(team, run, args.jobs),
            follow_jobs(team, run, args.jobs),
            *(upload(anybody, run, n, kinds[n % len(kinds)]) for n in range(args.uploads)),
        )


# ---------------------------------------------------------------- the processes


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            children = [int(one) for one in (task / "children").read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def memory_mb(pids: list[int]) -> tuple[float, float]:
    """Proportional and resident memory of processes together."""
    pss = rss = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        sizes = {line.split(":")[0]: line.split()[1] for line in lines[1:] if ":" in line}
        pss += int(sizes.get("Pss", 0))
        rss += int(sizes.get("Rss", 0))
    return round(pss / 1024, 1), round(rss / 1024, 1)


def watch(run: Run, parent: int) -> None:
    while not run.over:
        pids = [parent, *descendants(parent)]
        pss, rss = memory_mb(pids)
        run.samples.append({
            "t": run.now, "pss_mb": pss, "rss_mb": rss, "processes": len(pids),
            "uploads": run.open_uploads, "queued": run.queue.get("queued", 0),
            "running": run.queue.get("running", 0), "released": run.queue.get("released", 0),
        })  # fmt: skip
        time.sleep(0.5)


def kill(run: Run, parent: int, args: Any) -> None:
    chance = random.Random(args.seed)
    what = ["worker"] * args.kills + ["server"] * args.server_kills
    chance.shuffle(what)
    for name in what:
        time.sleep(args.kill_every_s * chance.uniform(0.5, 1.5))
        if run.over:
            return
        mark = b"serve_from" if name == "server" else b"work("
        found = [
            p for p in descendants(parent) if mark in cmdline(p) and b"processes" in cmdline(p)
        ]
        if found:
            pid = chance.choice(found)
            os.kill(pid, signal.SIGKILL)
            run.kills.append({"t": run.now, "what": name})


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# ---------------------------------------------------------------- all of it


def measure(root: Path, args: Any) -> dict[str, Any]:
    home, folder, run = root / "home", root / "material", Run()
    load_before = round(os.getloadavg()[0], 1)
    folder.mkdir()
    os.environ |= {
        "AVSAFE_HOME": str(home), "OPENBLAS_NUM_THREADS": "1",
        "AVSAFE_SERVE_TEAM_JOBS": str(args.jobs + 1), "AVSAFE_SERVE_DETECTORS": args.detectors,
        "AVSAFE_SERVE_LOG": "json",
    }  # fmt: skip
    kinds = material(home, folder)
    from avsafe.home import Home
    from avsafe.registry.database import Database
    from avsafe.server.people import People

    with Database.open(Home(home).database) as database:
        key = People(database).add("ada", "lab", "creator")
    address = f"http://127.0.0.1:{(port := free_port())}"
    metrics_port = free_port()
    command = [
        sys.executable, "-c", "from avsafe.cli import main; main()", "serve", "--generate",
        "--port", str(port), "--workers", str(args.servers), "--makers", str(args.makers),
        "--metrics-port", str(metrics_port),
    ]  # fmt: skip
    with (root / "log").open("wb") as log:
        service = subprocess.Popen(command, stderr=log, cwd=root)
    try:
        wait_for(address + "/readyz", service)
        run.began = time.monotonic()
        threads = [
            threading.Thread(target=watch, args=(run, service.pid)),
            threading.Thread(target=kill, args=(run, service.pid, args)),
        ]
        for thread in threads:
            thread.start()
        try:
            asyncio.run(clients(address, key, kinds, run, args))
        finally:
            took_s, run.over = run.now, True
            for thread in threads:
                thread.join()
        asked = {"authorization": f"Bearer {key}"}
        files = {}
        with httpx.Client(base_url=address, headers=asked, timeout=60) as client:
            for job_id in run.jobs:
                answer = client.get(f"/v1/videos/{job_id}/content")
                files[job_id] = answer.content if answer.status_code == 200 else b""
        shown = httpx.get(f"http://127.0.0.1:{metrics_port}/metrics").text
        stopping = time.monotonic()
        service.terminate()
        code = service.wait(90)
        stopped_s = round(time.monotonic() - stopping, 2)
    finally:
        service.kill()
    return {
        "setting": vars(args) | {"out": None, "cpus": os.cpu_count()},
        "load_before": load_before, "took_s": took_s, "exit_code": code, "stopped_s": stopped_s,
        "log": levels(root / "log"), "shares": shares(root / "log"),
        "analysis_mean_s": mean_of(shown, "avsafe_analysis_duration_seconds"),
        "kills": run.kills, "retried": dict(run.retried),
        "uploads": told(run.uploads), "memory": memory(run.samples),
        "samples": run.samples[:: max(1, len(run.samples) // 400)],
    } | checks(Home(home), run.jobs, files, folder / "downloaded")  # fmt: skip


def wait_for(address: str, service: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and service.poll() is None:
        try:
            if httpx.get(address).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise SystemExit("The service does not start.")


def mean_of(shown: str, histogram: str) -> float:
    """Of what the service itself measured, in all its processes."""
    found = dict(line.split(" ") for line in shown.splitlines() if line.startswith(histogram + "_"))
    return round(float(found[f"{histogram}_sum"]) / float(found[f"{histogram}_count"]), 2)


def told(uploads: list[dict[str, Any]]) -> dict[str, Any]:
    seconds = sorted(one["seconds"] for one in uploads)
    wrong = [one for one in uploads if one["status"] != 200 or not one["right"]]
    return {
        "n": len(uploads),
        "answered": sum(one["status"] == 200 for one in uploads),
        "right": sum(one["right"] for one in uploads),
        "p50_s": statistics.median(seconds),
        "p95_s": seconds[int(0.95 * (len(seconds) - 1))],
        "labels": dict(Counter(f"{one['kind']}: {one['label']}" for one in uploads)),
        "wrong": wrong[:20],
    }


def memory(samples: list[dict[str, float]]) -> dict[str, float]:
    half = len(samples) // 2
    return {
        "at_start_mb": samples[0]["pss_mb"],
        "peak_mb": max(s["pss_mb"] for s in samples),
        "peak_of_first_half_mb": max(s["pss_mb"] for s in samples[: half + 1]),
        "peak_of_second_half_mb": max(s["pss_mb"] for s in samples[half:]),
        "peak_rss_sum_mb": max(s["rss_mb"] for s in samples),
        "most_processes": max(s["processes"] for s in samples),
    }


def levels(log: Path) -> dict[str, int]:
    """Warnings and errors of the service, by event."""
    found: Counter[str] = Counter()
    for line in log.read_text(errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            found[f"not of our shape: {line[:80]}"] += 1
            continue
        if event["level"] in ("warning", "error", "critical"):
            text = re.sub(r"[0-9a-f]{32}", "ID", event["event"])
            found[f"{event['level']}: {text[:90]}"] += 1
    return dict(found)


def shares(log: Path) -> list[int]:
    """How many uploads each server process analysed."""
    lines = (line for line in log.read_text().splitlines() if '"upload analysed"' in line)
    return sorted(Counter(json.loads(line)["process"] for line in lines).values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--uploads", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--servers", type=int, default=2)
    parser.add_argument("--makers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=8, help="of workers")
    parser.add_argument("--server-kills", type=int, default=2)
    parser.add_argument("--kill-every-s", type=float, default=10.0)
    parser.add_argument("--patience-s", type=float, default=1800.0, help="of an uploading client")
    parser.add_argument("--detectors", default="all")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        root = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="avsafe-load-")))
        if args.database == "postgresql":
            from tests.postgresql_kit import LACKING, cluster

            server = held.enter_context(cluster())
            if server is None:
                raise SystemExit(LACKING)
            os.environ["AVSAFE_DATABASE_URL"] = server.fresh()
        found = measure(root, args)
    write(found, args.out, args.database)
    print(json.dumps({k: v for k, v in found.items() if k != "samples"}, indent=1))
    sys.exit(0 if all(one["ok"] for one in found["checks"]) else 1)


if __name__ == "__main__":
    main()
