"""Every error that avsafe raises on purpose. A message says what happened, what was expected, what
to do next. A class's docstring is its reason in words that name nobody: the ledger keeps that one,
since a message may quote a path or a prompt.

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
    ├── Unscorable                   1   a metric has no number for this clip, and why
    ├── CannotMark                   1   the media is too small or short to carry the mark
    ├── MarkNotReadable              1   the mark did not survive in the written file
    ├── SigningFailed                1   key, certificate or signer callback
    ├── CredentialInvalid            1   the signed file does not read back as trusted
    ├── PolicyError                  1   a policy folder does not load or validate
    ├── RegistryError                1
    ├── ObjectsError                 1   the object store refuses, or does not answer
    ├── BackupError                  1   an archive is damaged, hostile, or not of this home
    └── LedgerError                  1   the log is broken or not writable
        └── Withdrawn                4   a consent was withdrawn before the release
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avsafe.types import Decision


class AvsafeError(Exception):
    """Base of all; ``exit_code`` is what the command line returns."""

    exit_code = 1


class UsageError(AvsafeError):
    """A call or an option makes no sense."""

    exit_code = 2


class NotUnderstood(UsageError):
    """A generator understands nothing of the prompt."""


class UnreadableMedia(AvsafeError):
    """A file cannot be read as media."""

    exit_code = 3


class EmptyFile(UnreadableMedia):
    """The file is empty."""


class TruncatedMedia(UnreadableMedia):
    """The file begins well and ends too soon."""


class UnsupportedMedia(UnreadableMedia):
    """A container or codec outside the allowlist."""


class MissingStream(UnreadableMedia):
    """No stream of the kind that was asked for."""


class MediaTooLarge(UnreadableMedia):
    """Pixels, duration, boxes or expansion over the limit."""


class SandboxFailure(UnreadableMedia):
    """The decoding process was killed or crashed."""


class LimitExceeded(SandboxFailure):
    """The decoding process ran into a limit."""


class _Decided(AvsafeError):
    def __init__(self, message: str, decision: Decision) -> None:
        super().__init__(message)
        self.decision = decision


class Denied(_Decided):
    """The policy says no."""

    exit_code = 4


class NeedsReview(_Decided):
    """A person must look first."""

    exit_code = 5


class MissingExtra(AvsafeError):
    """An optional package, system library or weight is absent."""

    exit_code = 6


class Cancelled(AvsafeError):
    """The caller asked to stop."""


class GeneratorFailed(AvsafeError):
    """A generator broke its contract or its program failed."""


class Unscorable(AvsafeError):
    """A metric has no number for this clip."""


class CannotMark(AvsafeError):
    """The media is too small, short or silent to carry the mark."""


class MarkNotReadable(AvsafeError):
    """The mark did not survive in the written file."""


class SigningFailed(AvsafeError):
    """Key, certificate or signer failed."""


class CredentialInvalid(AvsafeError):
    """The signed file does not read back as trusted."""


class PolicyError(AvsafeError):
    """A policy folder does not load or validate."""


class RegistryError(AvsafeError):
    """The registry refused the record."""


class ObjectsError(AvsafeError):
    """The object store refuses, or does not answer."""


class BackupError(AvsafeError):
    """An archive is damaged, hostile, or does not fit this home."""


class LedgerError(AvsafeError):
    """The ledger is broken or not writable."""


class Withdrawn(LedgerError):
    """A consent was withdrawn before the release."""

    exit_code = 4
