"""The report of service_load.py: figures as JSON, a picture, and a page of all that lie there."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import Any

ORDER = ("sqlite", "postgresql")


def write(found: dict[str, Any], out: Path, name: str) -> None:
    found["machine"] = f"{platform.machine()}, Python {platform.python_version()}"
    (out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    plot(found, out / f"{name}.svg")
    runs = {n: json.loads(p.read_text()) for n in ORDER if (p := out / f"{n}.json").exists()}
    (out / "README.md").write_text(page(runs))


def page(runs: dict[str, dict[str, Any]]) -> str:
    lines = ["# The service under load, while its processes are killed", ""]
    lines += [
        "What is done, and how a client is expected to behave: `benchmarks/service_load.py`.",
        "",
    ]
    header = ["", *runs]
    rows: list[list[str]] = []

    def row(name: str, of: Any) -> None:
        rows.append([name, *(str(of(run)) for run in runs.values())])

    row("uploads at once / jobs queued", lambda r: f"{r['uploads']['n']} / {r['jobs']['n']}")
    row(
        "server processes / workers / processors",
        lambda r: f"{r['setting']['servers']} / {r['setting']['makers']} / {r['setting']['cpus']}",
    )
    row(
        "workers killed / servers killed",
        lambda r: " / ".join(
            str(sum(k["what"] == w for k in r["kills"])) for w in ("worker", "server")
        ),
    )
    row("whole run, s", lambda r: f"{r['took_s']:.0f}")
    row(
        "uploads answered / with the right label",
        lambda r: f"{r['uploads']['answered']} / {r['uploads']['right']}",
    )
    row("connections that broke and were repeated", lambda r: sum(r["retried"].values()))
    row(
        "verify p50 / p95, s",
        lambda r: f"{r['uploads']['p50_s']:.0f} / {r['uploads']['p95_s']:.0f}",
    )
    row("one analysis without waiting, mean s", lambda r: r["analysis_mean_s"])
    row(
        "uploads analysed by each server process",
        lambda r: " / ".join(map(str, r["shares"])),
    )
    row("jobs p50 / p95, s", lambda r: f"{r['jobs']['p50_s']:.0f} / {r['jobs']['p95_s']:.0f}")
    row(
        "attempts: jobs",
        lambda r: ", ".join(f"{k}: {v}" for k, v in sorted(r["jobs"]["attempts"].items())),
    )
    row(
        "memory of all processes (PSS), MB: start / peak of first half / of second half",
        lambda r: " / ".join(
            f"{r['memory'][k]:.0f}"
            for k in ("at_start_mb", "peak_of_first_half_mb", "peak_of_second_half_mb")
        ),
    )
    row("sum of RSS at most, MB", lambda r: f"{r['memory']['peak_rss_sum_mb']:.0f}")
    row("ends after SIGTERM within, s", lambda r: r["stopped_s"])
    names = [c["name"] for c in next(iter(runs.values()))["checks"]]
    for number, name in enumerate(names):
        row(
            name,
            lambda r, n=number: "yes" if r["checks"][n]["ok"] else f"NO: {r['checks'][n]['seen']}",
        )
    lines += ["| " + " | ".join(header) + " |", "|---|" + "---|" * len(runs)]
    lines += ["| " + " | ".join(one) + " |" for one in rows]
    lines += [
        "",
        "All uploads are sent in the same instant, so the times of verifying are mostly waiting in",
        "line; a job whose worker was killed waits until its lease of 60 s has run out.",
        "",
    ]
    for name, run in runs.items():
        lines += [
            f"## {name}",
            "",
            f"![memory and queue over time]({name}.svg)",
            "",
            f"Machine: {run['setting']['cpus']} processors, {run['machine']}; load of others "
            f"before the run {run['load_before']}. Detectors: {run['setting']['detectors']}.",
            "",
            f"    {command(run)}",
            "",
        ]
        lines += ["| upload: label | n |", "|---|---|"]
        lines += [f"| {k} | {v} |" for k, v in sorted(run["uploads"]["labels"].items())]
        lines += ["", "| the service's warnings and errors | n |", "|---|---|"]
        lines += [f"| {k} | {v} |" for k, v in sorted(run["log"].items())]
        lines += [f"| a client saw: {k} | {v} |" for k, v in sorted(run["retried"].items())]
        lines.append("")
    return "\n".join(lines)


def command(run: dict[str, Any]) -> str:
    given = {k: v for k, v in run["setting"].items() if k not in ("out", "cpus")}
    words = [f"--{k.replace('_', '-')} {v}" for k, v in given.items()]
    return "python benchmarks/service_load.py " + " ".join(words) + " --out reports/service_load"


def plot(found: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "avsafe"
    import matplotlib.pyplot as plt

    samples = found["samples"]
    t = [s["t"] for s in samples]
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(9, 5), layout="constrained")
    above.plot(t, [s["pss_mb"] for s in samples], label="all processes (PSS)")
    above.set_ylabel("memory, MB")
    above.set_ylim(0)
    for key, label in (
        ("uploads", "uploads open"),
        ("queued", "jobs queued"),
        ("running", "jobs running"),
        ("released", "jobs released"),
    ):
        below.plot(t, [s[key] for s in samples], label=label)
    below.set_ylabel("number")
    below.set_xlabel("seconds")
    for what, style in (("worker", ":"), ("server", "--")):
        times = [k["t"] for k in found["kills"] if k["what"] == what]
        for axes in (above, below):
            for number, time in enumerate(times):
                label = f"{what} killed" if number == 0 and axes is below else None
                axes.axvline(time, color="0.5", linestyle=style, linewidth=0.8, label=label)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":  # the page and pictures anew, from the JSON files of a folder
    folder = Path(sys.argv[1])
    for each in ORDER:
        if (folder / f"{each}.json").exists():
            write(json.loads((folder / f"{each}.json").read_text()), folder, each)
