"""What there is to run: suites, metrics, watermarkers, attacks; for ``avsafe bench list``."""

from __future__ import annotations

from typing import Any

from avsafe import plugins
from avsafe.bench import suitefile
from avsafe.bench.detection import damages
from avsafe.bench.suites import SUITES
from avsafe.bench.watermark import attacks
from avsafe.types import Kind, MetricInfo


def everything() -> dict[str, Any]:
    """As plain data; metrics are imported, their weights are not loaded.

    >>> sorted(everything())
    ['attacks', 'conditions', 'detectors', 'metrics', 'suites', 'watermarkers']
    """
    return {
        "suites": [_suite(name) for name in suitefile.names()]
        + [
            {"name": f"{s.name} --media", "summary": s.summary, "metrics": [], "items": 0}
            for s in SUITES.values()
        ],
        "metrics": [_metric(name) for name in plugins.catalogue("metrics")],
        "watermarkers": list(plugins.catalogue("watermarkers")),
        "detectors": list(plugins.catalogue("detectors")),
        "conditions": {
            str(kind): [{"name": d.name, "title": d.title} for d in damages.table(kind).values()]
            for kind in Kind
        },
        "attacks": {
            str(kind): [
                {"name": a.name, "group": a.group, "title": a.title}
                for a in attacks.table(kind).values()
            ]
            for kind in Kind
        },
    }


def _suite(name: str) -> dict[str, Any]:
    suite = suitefile.load(name)
    return {
        "name": name,
        "summary": suite.summary or suite.title,
        "metrics": [spec.name for spec in suite.metrics],
        "items": len(suite.items),
    }


def _metric(name: str) -> dict[str, Any]:
    try:
        info = getattr(plugins.catalogue("metrics")[name].load(), "info", None)
    except ModuleNotFoundError as error:
        return _row(name, "", f"cannot be loaded: {error}", ["pip install 'avsafe[bench]'"])
    except Exception as error:  # whatever an outsider's module raises: the others are listed
        return _row(name, "", f"cannot be loaded: {error!r}", ["a version that loads"])
    if not isinstance(info, MetricInfo):
        return _row(name, "", "", [])
    needs = [f"weights {weight}" for weight in info.weights]
    needs += [f"a {info.beside}"] if info.beside else []
    needs += [text.replace("_", " ") for text in info.texts]
    needs += ["several clips"] if info.scope == "set" else []
    return _row(name, info.family, info.title, needs) | {
        "columns": [
            {"score": info.score_name(c), "unit": c.unit, "better": c.better, "summary": c.summary}
            for c in info.columns
        ],
        "experimental": info.experimental,
        "version": info.version,
    }


def _row(name: str, family: str, title: str, needs: list[str]) -> dict[str, Any]:
    return {"name": name, "family": family, "title": title, "needs": needs, "columns": []}
