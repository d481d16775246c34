"""Every error that avsafe raises on purpose. A message says what happened, what was expected, what
to do next.

    AvsafeError                  exit code
    ├── UsageError                   2   a call or an option makes no sense
    │   └── NotUnderstood            2   a generator understands nothing of the prompt
    ├── UnreadableMedia              3   a file cannot be read as media
    │   ├── EmptyFile                3
    │   ├── TruncatedMedia           3   it begins well and ends too soon
    │   ├── UnsupportedMedia         3   a container or codec outside the allowlist
    │   ├── MissingStream            3   no stream of the kind that was asked for
    │   ├── MediaTooLarge            3   pixels, duration, boxes or expansion over the limit
    │   └── SandboxFailure           3   the decoding process was killed or crashed
    │       └── LimitExceeded        3   ... by a limit: CPU time, wall time, memory, output
    ├── Denied                       4   the policy says no (carries the Decision)
    ├── NeedsReview                  5   a person must look first (carries the Decision)
    ├── MissingExtra                 6   an optional package, system library or weight is absent
    ├── Cancelled                    1   the caller asked to stop
    ├── GeneratorFailed              1   a generator broke its contract or its program failed
    ├── CannotMark                   1   the media is too small or short to carry the mark
    ├── MarkNotReadable              1   the mark did not survive in the written file
    ├── SigningFailed                1   key, certificate or signer callback
    ├── CredentialInvalid            1   the signed file does not read back as trusted
    ├── PolicyError                  1   a policy folder does not load or validate
    ├── RegistryError                1
    └── LedgerError                  1   the log is broken or not writable
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avsafe.types import Decision


class AvsafeError(Exception):
    """Base of all; ``exit_code`` is what the command line returns."""

    exit_code = 1


class UsageError(AvsafeError):
    exit_code = 2


class NotUnderstood(UsageError):
    pass


class UnreadableMedia(AvsafeError):
    exit_code = 3


class EmptyFile(UnreadableMedia):
    pass


class TruncatedMedia(UnreadableMedia):
    pass


class UnsupportedMedia(UnreadableMedia):
    pass


class MissingStream(UnreadableMedia):
    pass


class MediaTooLarge(UnreadableMedia):
    pass


class SandboxFailure(UnreadableMedia):
    pass


class LimitExceeded(SandboxFailure):
    pass


class _Decided(AvsafeError):
    def __init__(self, message: str, decision: Decision) -> None:
        super().__init__(message)
        self.decision = decision


class Denied(_Decided):
    exit_code = 4


class NeedsReview(_Decided):
    exit_code = 5


class MissingExtra(AvsafeError):
    exit_code = 6


class Cancelled(AvsafeError):
    pass


class GeneratorFailed(AvsafeError):
    pass


class CannotMark(AvsafeError):
    pass


class MarkNotReadable(AvsafeError):
    pass


class SigningFailed(AvsafeError):
    pass


class CredentialInvalid(AvsafeError):
    pass


class PolicyError(AvsafeError):
    pass


class RegistryError(AvsafeError):
    pass


class LedgerError(AvsafeError):
    pass
