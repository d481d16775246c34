"""What a Fréchet distance costs: ours against sqrtm, torchmetrics and torch-fidelity.

    python benchmarks/frechet.py --out reports/frechet

One process, one thread, CPU-seconds from rows of features to the number (means and covariances
included), every route once a size. A peer that is not installed is named and left out.

Legend: ``n`` rows of each set, ``d`` features.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np

from avsafe.errors import AvsafeError
from avsafe_metrics.sets.frechet import frechet_distance

SIZES = ((128, 200), (128, 5000), (512, 200), (512, 2000), (1024, 200), (1024, 2000),
         (2048, 200), (2048, 5000))  # fmt: skip
Route = Callable[[np.ndarray, np.ndarray], float]


def sqrtm(x: np.ndarray, y: np.ndarray) -> float:
    """The formula as cd-fvd and the first FID codes have it."""
    import scipy.linalg

    s1, s2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(s1 @ s2)
    return float(np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(s1 + s2 - 2 * root).real)


def torchmetrics_route() -> Route:
    import torch

    mended()
    from torchmetrics.image.fid import _compute_fid

    torch.set_num_threads(1)

    def route(x: np.ndarray, y: np.ndarray) -> float:
        a, b = torch.from_numpy(x), torch.from_numpy(y)
        return float(_compute_fid(a.mean(0), torch.cov(a.T), b.mean(0), torch.cov(b.T)))

    return route


def fidelity_route() -> Route:
    import torch

    mended()
    fid = importlib.import_module("torch_fidelity.metric_fid")

    def route(x: np.ndarray, y: np.ndarray) -> float:
        one, other = (fid.fid_features_to_statistics(torch.from_numpy(a)) for a in (x, y))
        return float(fid.fid_statistics_to_metric(one, other, False)[fid.KEY_METRIC_FID])

    return route


def mended() -> None:
    """torch-fidelity, which torchmetrics imports where it is there, needs a torchvision that
    imports."""
    from avsafe_metrics.text.compat import mend_torchvision

    if importlib.util.find_spec("torch_fidelity") is not None:
        mend_torchvision()


def routes() -> tuple[dict[str, Route], dict[str, str]]:
    found: dict[str, Route] = {"avsafe": frechet_distance, "sqrtm (cd-fvd)": sqrtm}
    absent = {}
    for name, make in (("torchmetrics", torchmetrics_route), ("torch-fidelity", fidelity_route)):
        try:
            found[name] = make()
        except (ImportError, AvsafeError) as error:
            absent[name] = f"{type(error).__name__}: {error}"[:160]
    return found, absent


def sets(d: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets with a spectrum that falls, as features of networks have."""
    rng = np.random.default_rng(d + n)
    scale = np.arange(1, d + 1) ** -0.5
    return rng.standard_normal((n, d)) * scale, rng.standard_normal((n, d)) * scale * 0.9 + 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("reports/frechet"))
    out: Path = parser.parse_args().out
    known, absent = routes()
    figures = []
    for d, n in SIZES:
        x, y = sets(d, n)
        for name, route in known.items():
            began = time.process_time()
            value = route(x, y)
            figures.append(
                {"d": d, "n": n, "route": name, "cpu_s": round(time.process_time() - began, 4),
                 "value": value}
            )  # fmt: skip
            print(figures[-1], flush=True)
    out.mkdir(parents=True, exist_ok=True)
    figures.sort(key=lambda figure: (figure["d"], figure["n"]))
    document = {"figures": figures, "absent": absent, "growth": growth(figures)}
    (out / "figures.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    (out / "report.md").write_text(report(document), "utf-8")


def growth(figures: list[dict]) -> dict[str, float]:
    """Exponent of d in CPU-seconds between 512 and 2048 features at n = 200."""
    found = {}
    for name in {f["route"] for f in figures}:
        at = {f["d"]: f["cpu_s"] for f in figures if f["route"] == name and f["n"] == 200}
        found[name] = round(float(np.log(at[2048] / max(at[512], 1e-4)) / np.log(4)), 2)
    return found


def report(document: dict) -> str:
    names = list(dict.fromkeys(f["route"] for f in document["figures"]))
    rows = {}
    for f in document["figures"]:
        rows.setdefault((f["d"], f["n"]), {})[f["route"]] = f
    lines = [
        "# Cost of a Fréchet distance", "",
        "CPU-seconds of one thread, from rows of features (both sets of n) to the number; each "
        "once. `python benchmarks/frechet.py` writes this page.", "",
        f"| d | n | {' | '.join(names)} | fastest peer / avsafe | largest difference |",
        f"|---|---|{'---|' * (len(names) + 2)}",
    ]  # fmt: skip
    for (d, n), by in rows.items():
        ours = by["avsafe"]
        peers = [f for name, f in by.items() if name != "avsafe"]
        ratio = min(f["cpu_s"] for f in peers) / max(ours["cpu_s"], 1e-4)
        apart = max(abs(f["value"] - ours["value"]) / ours["value"] for f in peers)
        cells = " | ".join(f"{by[name]['cpu_s']:.3f}" for name in names)
        lines.append(f"| {d} | {n} | {cells} | {ratio:.1f} | {apart:.1e} |")
    grown = ", ".join(f"{name} {value}" for name, value in sorted(document["growth"].items()))
    lines += [
        "", f"Growth with d at n = 200, as the exponent of d from 512 to 2048: {grown}.", "",
        "With no more rows than features no d x d matrix is built: the cost is of n x n.", "",
    ]  # fmt: skip
    lines += [f"Not measured: {name} ({why})." for name, why in document["absent"].items()]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    main()
