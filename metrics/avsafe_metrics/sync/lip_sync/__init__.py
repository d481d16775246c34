"""Whether lips and sound go together: our own model. ``LipSync`` is the metric."""

from __future__ import annotations

from avsafe_metrics.sync.lip_sync.metric import LipSync as LipSync

__all__ = ["LipSync"]
