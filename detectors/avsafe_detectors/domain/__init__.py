"""The domain gate: what a file is like, and so which detectors are qualified for it.

>>> EXTRACTOR.rpartition(":")[2]
'DomainExtractor'
"""

from avsafe_detectors.domain.describe import Domain, describe
from avsafe_detectors.domain.detector import EXTRACTOR, DomainGate

__all__ = ["EXTRACTOR", "Domain", "DomainGate", "describe"]
