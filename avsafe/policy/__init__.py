"""Whether a request may be made: Cedar rules over the request, its generator and its risk scores.

    policy = Policy.load(None)                      # the packaged default
    decision = decide(request, policy, generator=info)

``risk.score`` alone gives the scores of a text.
"""

from avsafe.policy.decision import decide, local_principal
from avsafe.policy.engine import KNOWN_OBLIGATIONS, Policy
from avsafe.policy.risk import RiskReport

__all__ = ["KNOWN_OBLIGATIONS", "Policy", "RiskReport", "decide", "local_principal"]
