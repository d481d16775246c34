"""Event sync: our own model of whether sounds come when things happen in the picture."""

from avsafe_metrics.sync.event_sync.metric import EventSync, Judgement, judge, lag_scores, watched

__all__ = ["EventSync", "Judgement", "judge", "lag_scores", "watched"]
