"""Video: does the motion and noise of a film look generated?

>>> VideoDetector().modality
'video'
"""

from avsafe_detectors.video.detector import VideoDetector

__all__ = ["VideoDetector"]
