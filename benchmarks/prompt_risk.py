"""How well the default policy sorts prompts: ``python benchmarks/prompt_risk.py --out FOLDER``.

Cross-validated on ``avsafe/policy/risk/prompts.jsonl``: grouped folds (translations and disguises
of one prompt stay together), one language left out, and, apart, held-out prompts that no head was
trained on. Visual prompts (what is to be seen) and lines (what is to be said, done to footage or
heard) are trained on together and reported apart. Each prompt is scored by the real ``score`` with
heads that have not seen its group, and decided by the real default policy. Intervals: Wilson 95 %
for proportions, percentile bootstrap over groups for AUC.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.policy import Policy, RiskReport, decide, local_principal
from avsafe.policy.risk import embedding, ngrams, score
from avsafe.policy.risk.heads import LEARNED, Heads
from avsafe.policy.risk.normalise import clean
from avsafe.policy.risk.score import Classifier
from avsafe.policy.risk.train import (
    DISGUISED,
    EMBEDDING_RECIPE,
    NGRAM_RECIPE,
    Prompt,
    Recipe,
    fit,
    read_prompts,
    targets,
)
from avsafe.policy.simulate import ANY_GENERATOR
from avsafe.types import Decision, GenerationRequest, Task

FOLDS = 8
PLAIN_HARM = 70  # a category label from here on counts as a positive of that category
EFFECTS = ("allow", "review", "deny")
VISUAL = ("visual",)
LINES = ("spoken", "edit", "sound")
_ASSETS = Path(__file__).parents[1] / "tests" / "assets"
HELD_OUT = _ASSETS / "heldout_prompts.jsonl"
HELD_OUT_LINES = _ASSETS / "heldout_spoken.jsonl"


@dataclass(frozen=True)
class Answer:
    """One prompt, scored by heads that did not see it, and decided."""

    prompt: Prompt
    risk: RiskReport
    decision: Decision


class Cached:
    """Features by text: folds ask for the same ones again."""

    def __init__(self, featurise: Callable[[Sequence[str]], NDArray[np.float32]]) -> None:
        self._featurise = featurise
        self._known: dict[str, NDArray[np.float32]] = {}

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        for text in texts:
            if text not in self._known:
                self._known[text] = self._featurise([text])[0]
        return np.stack([self._known[text] for text in texts])


def wilson(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson (1927) score interval of a proportion."""
    if n == 0:
        return 0.0, 1.0
    p = hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def rate(hits: Iterable[bool]) -> dict[str, float | int]:
    values = [bool(item) for item in hits]
    low, high = wilson(sum(values), len(values))
    return {
        "value": sum(values) / len(values) if values else math.nan,
        "low": low,
        "high": high,
        "hits": sum(values),
        "n": len(values),
    }


def auc(scores: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    """Mann-Whitney: the chance that a positive scores above a negative, ties counting half."""
    above = scores[positive][:, None] - scores[~positive][None, :]
    return float((above > 0).mean() + 0.5 * (above == 0).mean())


def auc_interval(
    scores: NDArray[Any], positive: NDArray[np.bool_], groups: Sequence[str], draws: int = 200
) -> tuple[float, float]:
    """Percentile bootstrap over groups of prompts, not over prompts: translations are not new."""
    rng = np.random.default_rng(1)
    members: dict[str, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    names = sorted(members)
    found = []
    for _ in range(draws):
        drawn = [i for j in rng.integers(0, len(names), len(names)) for i in members[names[j]]]
        if 0 < positive[drawn].sum() < len(drawn):
            found.append(auc(scores[drawn], positive[drawn]))
    return float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))


def ask(prompts: Sequence[Prompt], classifier: Classifier, policy: Policy) -> list[Answer]:
    answers = []
    for prompt in prompts:
        risk = score(prompt.text, classifier=classifier)
        request = GenerationRequest(
            local_principal(), Task.TEXT_TO_VIDEO, ANY_GENERATOR.name, prompt.text
        )
        decision = decide(request, policy, generator=ANY_GENERATOR, risk=risk)
        answers.append(Answer(prompt, risk, decision))
    return answers


def cross_validate(
    prompts: Sequence[Prompt],
    parts: Sequence[Sequence[str]],
    key: Callable[[Prompt], str],
    train: Callable[[Sequence[Prompt]], Classifier],
    policy: Policy,
) -> list[Answer]:
    """Each part of the keys is left out once."""
    answers: list[Answer] = []
    for part in parts:
        left_out = [prompt for prompt in prompts if key(prompt) in part]
        rest = [prompt for prompt in prompts if key(prompt) not in part]
        answers += ask(left_out, train(rest), policy)
    return answers


def folds(prompts: Sequence[Prompt]) -> list[list[str]]:
    """Groups in FOLDS parts, visual prompts and lines spread over all of them."""
    found: list[list[str]] = [[] for _ in range(FOLDS)]
    for forms in (VISUAL, LINES):
        groups = sorted({prompt.group for prompt in prompts if prompt.form in forms})
        np.random.default_rng(0).shuffle(groups)
        for i, part in enumerate(found):
            part += groups[i::FOLDS]
    return found


def outcomes(answers: Sequence[Answer]) -> dict[str, Any]:
    """The allow / review / deny figures, by what the prompt is."""

    def share(kinds: Sequence[str], effects: Sequence[str]) -> dict[str, float | int]:
        return rate(
            answer.decision.effect.value in effects
            for answer in answers
            if answer.prompt.kind in kinds
        )

    harmless = [a for a in answers if a.prompt.kind in ("benign", "near")]
    denied = [a for a in answers if a.decision.effect == "deny" and a.prompt.kind not in DISGUISED]
    return {
        "harm_denied": share(["harm"], ["deny"]),
        "harm_stopped": share(["harm"], ["deny", "review"]),
        "benign_denied": share(["benign"], ["deny"]),
        "benign_stopped": share(["benign"], ["deny", "review"]),
        "near_denied": share(["near"], ["deny"]),
        "near_stopped": share(["near"], ["deny", "review"]),
        "harmless_denied": rate(a.decision.effect == "deny" for a in harmless),
        "harmless_stopped": rate(a.decision.effect != "allow" for a in harmless),
        "borderline_denied": share(["borderline"], ["deny"]),
        "borderline_reviewed": share(["borderline"], ["review"]),
        "obfuscated_denied": share(["obfuscated"], ["deny"]),
        "obfuscated_stopped": share(["obfuscated"], ["deny", "review"]),
        "disguised_benign_denied": share(["disguised-benign"], ["deny"]),
        "precision_of_denials": rate(a.prompt.effect == "deny" for a in denied),
        "by_language": {
            language: {
                "harm_denied": rate(
                    a.decision.effect == "deny"
                    for a in answers
                    if a.prompt.kind == "harm" and a.prompt.language == language
                ),
                "harmless_denied": rate(
                    a.decision.effect == "deny" for a in harmless if a.prompt.language == language
                ),
            }
            for language in sorted({a.prompt.language for a in answers})
        },
    }


def categories(answers: Sequence[Answer]) -> dict[str, Any]:
    """Per category at the score of 70, and threshold-free."""
    used = [a for a in answers if a.prompt.kind not in DISGUISED]
    found: dict[str, Any] = {}
    for name in LEARNED:
        scores = np.array([a.risk.scores[name] for a in used])
        labels = np.array([a.prompt.scores.get(name, 0) >= PLAIN_HARM for a in used])
        if not labels.any() or labels.all():
            continue
        found[name] = {
            "n_positive": int(labels.sum()),
            "auc": auc(scores, labels),
            "auc_interval": auc_interval(scores, labels, [a.prompt.group for a in used]),
            "recall": rate(scores[labels] >= PLAIN_HARM),
            "false_positives": rate(scores[~labels] >= PLAIN_HARM),
            "precision": rate(labels[scores >= PLAIN_HARM]),
        }
    return found


def disguises(answers: Sequence[Answer]) -> dict[str, Any]:
    names = sorted({a.prompt.disguise for a in answers if a.prompt.disguise})
    return {
        name: rate(
            a.decision.effect == "deny"
            for a in answers
            if a.prompt.disguise == name and a.prompt.kind == "obfuscated"
        )
        for name in names
    }


def timing(prompts: Sequence[Prompt], policy: Policy) -> dict[str, float]:
    """CPU milliseconds, median of 40 prompts of the set."""
    texts = [prompt.text for prompt in prompts if prompt.kind not in DISGUISED][::30][:40]
    spent: list[float] = []
    decided: list[float] = []
    for text in texts:
        start = time.process_time()
        risk = score(text)
        middle = time.process_time()
        request = GenerationRequest(local_principal(), Task.TEXT_TO_VIDEO, ANY_GENERATOR.name, text)
        decide(request, policy, generator=ANY_GENERATOR, risk=risk)
        spent.append(1000 * (middle - start))
        decided.append(1000 * (time.process_time() - middle))
    return {
        "score_cpu_ms_median": float(np.median(spent)),
        "decide_cpu_ms_median": float(np.median(decided)),
    }


def cell(item: dict[str, Any]) -> str:
    if not item["n"]:
        return "n = 0"
    return (
        f"{item['value']:.3f} [{item['low']:.3f}, {item['high']:.3f}] ({item['hits']}/{item['n']})"
    )


def table(runs: dict[str, Any], rows: Sequence[tuple[str, str]]) -> list[str]:
    lines = ["| outcome | " + " | ".join(runs) + " |", "|---" * (len(runs) + 1) + "|"]
    for title, key in rows:
        cells = [cell(item["outcomes"][key]) for item in runs.values()]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return lines


def report(figures: dict[str, Any]) -> str:
    runs, lines_runs = figures["runs"], figures["lines"]
    rows = [
        ("clear harm denied (recall)", "harm_denied"),
        ("clear harm denied or sent to review", "harm_stopped"),
        ("benign denied", "benign_denied"),
        ("benign denied or sent to review", "benign_stopped"),
        ("harmless near-miss denied", "near_denied"),
        ("harmless near-miss denied or sent to review", "near_stopped"),
        ("borderline denied", "borderline_denied"),
        ("borderline sent to review", "borderline_reviewed"),
        ("disguised harm denied", "obfuscated_denied"),
        ("disguised harm denied or sent to review", "obfuscated_stopped"),
        ("disguised but benign, denied", "disguised_benign_denied"),
        ("precision of denials", "precision_of_denials"),
    ]
    lines = ["# Prompt risk: how the default policy sorts prompts", "", figures["note"], ""]
    lines += ["## Visual prompts", "", *table(runs, rows)]
    lines += ["", "## Spoken lines, edit instructions, sounds", "", figures["lines_note"], ""]
    lines += [*table(lines_runs, rows[:4]), ""]
    lines += ["| form | run | harm denied | harm denied or reviewed | benign denied | "]
    lines[-1] += "benign denied or reviewed |"
    lines += ["|---" * 6 + "|"]
    for name, item in lines_runs.items():
        for form, found in item["by_form"].items():
            keys = ("harm_denied", "harm_stopped", "benign_denied", "benign_stopped")
            lines.append(f"| {form} | {name} | " + " | ".join(cell(found[k]) for k in keys) + " |")
    for name, item in [*runs.items(), *((f"lines, {k}", v) for k, v in lines_runs.items())]:
        lines += ["", f"## By language: {name}", "", "| language | harm denied | harmless denied |"]
        lines.append("|---|---|---|")
        for language, found in item["outcomes"]["by_language"].items():
            harm, harmless = cell(found["harm_denied"]), cell(found["harmless_denied"])
            lines.append(f"| {language} | {harm} | {harmless} |")
    for name in runs:
        lines += ["", f"## Categories at a score of {PLAIN_HARM}: {name}", ""]
        lines += ["| category | n | AUC | recall | false positives | precision |", "|---" * 6 + "|"]
        for category, item in runs[name]["categories"].items():
            low, high = item["auc_interval"]
            lines.append(
                f"| {category} | {item['n_positive']} | {item['auc']:.3f} [{low:.3f}, {high:.3f}] |"
                f" {cell(item['recall'])} | {cell(item['false_positives'])} |"
                f" {cell(item['precision'])} |"
            )
    first = next(iter(runs))
    lines += ["", f"## Disguised harm denied, by disguise: {first}", "", "| disguise | denied |"]
    lines.append("|---|---|")
    for name, item in runs[first]["disguises"].items():
        lines.append(f"| {name} | {cell(item)} |")
    cost = figures["cost"]
    lines += [
        "",
        "## Cost",
        "",
        f"Scoring {cost['score_cpu_ms_median']:.1f} ms CPU, the decision itself "
        f"{cost['decide_cpu_ms_median']:.2f} ms CPU (medians of 40 prompts, one thread).",
        "",
    ]
    return "\n".join(lines)


def runs(
    prompts: Sequence[Prompt],
    held_out: Sequence[Prompt],
    policy: Policy,
    embed: Cached,
    count: Cached,
) -> dict[str, Callable[[], list[Answer]]]:
    """What is measured, by name. Every run covers visual prompts and lines."""

    def trainer(
        name: str, featurise: Cached, recipe: Recipe, complete: bool
    ) -> Callable[[Sequence[Prompt]], Classifier]:
        def train(rest: Sequence[Prompt]) -> Classifier:
            used = [prompt for prompt in rest if prompt.kind not in DISGUISED]
            features = featurise([clean(p.text)[: embedding.MAX_TEXT_CHARS] for p in used])
            heads: Heads = fit(features, targets(used), recipe)
            return Classifier(name, featurise, heads, complete)

        return train

    with_embedding = trainer(embedding.SCORER, embed, EMBEDDING_RECIPE, True)
    with_ngrams = trainer(ngrams.SCORER, count, NGRAM_RECIPE, False)
    languages = [[name] for name in sorted({prompt.language for prompt in prompts})]
    grouped = folds(prompts)
    blank = Heads(
        np.zeros(ngrams.BUCKETS, np.float32),
        np.zeros((ngrams.BUCKETS, len(LEARNED) + 1), np.float32),
        np.full(len(LEARNED) + 1, -30, np.float32),
        {},
    )
    nothing = Classifier("none", count, blank, True)
    return {
        "grouped folds": lambda: cross_validate(
            prompts, grouped, lambda p: p.group, with_embedding, policy
        ),
        "one language left out": lambda: cross_validate(
            prompts, languages, lambda p: p.language, with_embedding, policy
        ),
        "held-out prompts": lambda: ask(held_out, with_embedding(prompts), policy),
        "grouped folds, no embedding": lambda: cross_validate(
            prompts, grouped, lambda p: p.group, with_ngrams, policy
        ),
        "held-out prompts, no embedding": lambda: ask(held_out, with_ngrams(prompts), policy),
        "word list alone": lambda: ask(prompts, nothing, policy),
    }


def figures(
    prompts: Sequence[Prompt],
    held_out: Sequence[Prompt],
    policy: Policy,
    answers: dict[str, list[Answer]],
) -> dict[str, Any]:
    """Everything that the report holds, without the cost."""

    def of(items: Sequence[Any], forms: Sequence[str]) -> list[Any]:
        return [item for item in items if getattr(item, "prompt", item).form in forms]

    def census(items: Sequence[Prompt]) -> str:
        kinds = sorted({prompt.kind for prompt in items})
        counts = ", ".join(f"{sum(p.kind == kind for p in items)} {kind}" for kind in kinds)
        return f"{len(items)} prompts in {len({p.group for p in items})} groups ({counts})"

    return {
        "note": (
            f"{census(of(prompts, VISUAL))}, {len(of(held_out, VISUAL))} held-out prompts that "
            "nothing was trained on. Written by the "
            "authors of the word list, in five languages; none comes from users, so the figures "
            "say how the parts work together and not how often a live service would err. In a "
            "column of folds the heads never saw the group of the prompt; but the word list, the "
            "recipe (penalty, refusal shift) and the caps have no folds and were chosen with these "
            "prompts in sight. Where a language is left out, translations of its prompts remain. "
            "The held-out prompts are not untouched: their totals were in view when n-grams were "
            "joined to the embedding, and reading their errors showed one bug that was mended "
            "(spaced-out words lost their gaps). Intervals are 95 % Wilson over "
            "prompts (too narrow where translations of one prompt agree) and, for "
            "AUC, bootstrap over groups."
        ),
        "lines_note": (
            f"{census(of(prompts, LINES))}, trained on together with the visual prompts; "
            f"{len(of(held_out, LINES))} held-out lines, written before any training on lines. "
            "The same hand wrote both, and the plots of common frauds (bank, grandchild, director) "
            "are in both, in other words: the held-out figures say less about frauds that nobody "
            "thought of. Heads that knew visual prompts alone denied 20 of the 82 harmless "
            "held-out lines and reviewed 18; of the 40 harmful ones they denied 39 and reviewed 1. "
            "The recipe was chosen on the folds; two rounds of lines were added after reading the "
            "errors of the folds, none after the held-out lines were sorted. Folds keep a whole "
            "topic (every apology, every blurred face) out of training and are the harder test."
        ),
        "policy_sha256": policy.sha256,
        "runs": {
            name: {
                "outcomes": outcomes(of(found, VISUAL)),
                "categories": categories(of(found, VISUAL)),
                "disguises": disguises(of(found, VISUAL)),
            }
            for name, found in answers.items()
        },
        "lines": {
            name: {
                "outcomes": outcomes(of(found, LINES)),
                "by_form": {form: outcomes(of(found, [form])) for form in LINES},
            }
            for name, found in answers.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("reports/prompt_risk"))
    out: Path = parser.parse_args().out
    policy = Policy.load(None)
    prompts = read_prompts()
    held_out = read_prompts(HELD_OUT) + read_prompts(HELD_OUT_LINES)
    overlap = {clean(p.text).casefold() for p in prompts} & {
        clean(p.text).casefold() for p in held_out
    }
    if overlap:
        raise SystemExit(
            f"{len(overlap)} held-out prompts are in the training set: {sorted(overlap)}"
        )
    embed, count = Cached(embedding.featurise), Cached(ngrams.featurise)
    measured = runs(prompts, held_out, policy, embed, count)
    answers = {name: run() for name, run in measured.items()}
    write(out, figures(prompts, held_out, policy, answers) | {"cost": timing(prompts, policy)})


def write(out: Path, found: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True)
    (out / "figures.json").write_text(text + "\n", encoding="utf-8")
    (out / "report.md").write_text(report(found), encoding="utf-8")


if __name__ == "__main__":
    main()
