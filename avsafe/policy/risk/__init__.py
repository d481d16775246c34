"""Risk scores of a text: undo disguises, then word list and classifiers, and the highest counts."""

from avsafe.policy.risk.report import CATEGORIES, RiskReport
from avsafe.policy.risk.score import score

__all__ = ["CATEGORIES", "RiskReport", "score"]
