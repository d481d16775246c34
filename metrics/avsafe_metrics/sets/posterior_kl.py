"""KL divergence between what a classifier hears in a clip and in its reference.

Legend: ``s`` pairs of clips, ``c`` classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_metrics.sets.inception_score import log_softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST = 1e-6  # added to the probability in the divisor, as in the published code


def posterior_kl(
    logits: NDArray[Any], reference: NDArray[Any], *, least: float = _LEAST
) -> NDArray[np.float64]:
    """KL(reference || clip) of softmax posteriors, nats, one number for each of ``s`` pairs.

    Range 0 (the same) upwards, lower is better. The softmax of an AudioSet tagger's logits, as in
    the evaluation of AudioLDM and of video-to-audio systems (MMAudio, arXiv:2412.15322, "KL").

    >>> posterior_kl(np.zeros((1, 4)), np.zeros((1, 4)), least=0.0)
    array([0.])
    """
    logits, reference = np.asarray(logits, np.float64), np.asarray(reference, np.float64)
    if logits.shape != reference.shape or logits.ndim != 2:
        raise ValueError(
            f"logits of shapes {logits.shape} and {reference.shape}; expected (s, c) twice"
        )
    log_ours, log_theirs = log_softmax(logits), log_softmax(reference)
    if least:
        log_ours = np.log(np.exp(log_ours) + least)
    return np.asarray(np.sum(np.exp(log_theirs) * (log_theirs - log_ours), axis=1), np.float64)
