"""Pictures and frames that are generated or re-synthesised: residuals, spectrum and cosine
transform of tiles, a small network, a heatmap with a bounded false discovery rate.

>>> ImageDetector().modality
'image'
"""

from avsafe_detectors.image.detector import ImageDetector

__all__ = ["ImageDetector"]
