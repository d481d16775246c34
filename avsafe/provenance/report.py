"""What a credential says of a file, and how far it can be believed: one typed status.

No library is needed here: a report travels as JSON out of the process that read a hostile file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from avsafe.provenance import sourcetypes
from avsafe.types import Evidence, EvidenceStatus


class CredentialStatus(StrEnum):
    """The states that a reader must be able to tell apart."""

    TRUSTED = "trusted"  # intact, and signed under one of our anchors
    INTACT_UNKNOWN_SIGNER = "intact-unknown-signer"  # intact; nothing vouches for who signed
    EXPIRED = "expired"  # intact; the certificate has expired and no time stamp proves the date
    MALFORMED_BUT_INTACT = "malformed-but-intact"  # content matches; an old writer's small mistake
    ALTERED = "altered"  # the claim is sound, the content is not what was signed
    DAMAGED = "damaged"  # a credential is there, and it is broken
    REMOTE_ONLY = "remote-only"  # the file only names an address; we fetch nothing for an upload
    NONE = "none"
    UNREADABLE = "unreadable"  # not readable as media


_STATUS_OF = {
    CredentialStatus.TRUSTED: EvidenceStatus.PRESENT,
    CredentialStatus.INTACT_UNKNOWN_SIGNER: EvidenceStatus.PRESENT,
    CredentialStatus.EXPIRED: EvidenceStatus.PRESENT,
    CredentialStatus.MALFORMED_BUT_INTACT: EvidenceStatus.PRESENT,
    CredentialStatus.ALTERED: EvidenceStatus.INVALID,
    CredentialStatus.DAMAGED: EvidenceStatus.INVALID,
    # Nothing was checked, so nothing can be said: neither present nor absent.
    CredentialStatus.REMOTE_ONLY: EvidenceStatus.ABSTAINED,
    CredentialStatus.NONE: EvidenceStatus.ABSENT,
    CredentialStatus.UNREADABLE: EvidenceStatus.FAILED,
}


@dataclass(frozen=True)
class Action:
    """One step that the signer says was done."""

    action: str  # c2pa.created, c2pa.edited, ...
    when: str | None = None  # RFC 3339, as the signer states it
    digital_source_type: str | None = None
    software_agent: str | None = None


@dataclass(frozen=True)
class IngredientReport:
    """An input of the work, with the status that its own credential had."""

    relationship: str  # parentOf | componentOf | inputTo
    status: CredentialStatus
    format: str | None = None
    manifest_id: str | None = None
    issuer: str | None = None
    signed_at: str | None = None
    claim_generator: str | None = None
    source_types: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    ingredients: tuple[IngredientReport, ...] = ()

    def tree(self) -> Iterator[IngredientReport]:
        """This one and all below it."""
        yield self
        for ingredient in self.ingredients:
            yield from ingredient.tree()


@dataclass(frozen=True)
class SoftBindingReport:
    algorithm: str
    value: str  # base64, as it stands in the manifest


@dataclass(frozen=True)
class ByteRange:
    """Bytes [start, end) of the file (or of the sidecar) that can change unnoticed."""

    start: int
    end: int
    what: str
    blank: bool  # True: every byte is zero, so nothing is hidden there
    where: str = "file"  # file | sidecar

    @property
    def size(self) -> int:
        return self.end - self.start


@dataclass(frozen=True)
class CertificateReport:
    """The signer's certificate. Whether it is believed is the status of the credential."""

    issued_by: str | None = None  # organization that says who the signer is
    valid_from: str | None = None  # RFC 3339
    valid_until: str | None = None
    trust_list: str | None = None  # where its root was found: own | added; None: nowhere
    revocation: str | None = None  # revoked | not-revoked, if an answer was enclosed


@dataclass(frozen=True)
class CredentialReport:
    """What was read. Free of personal fields unless ``include_personal`` was asked for."""

    status: CredentialStatus
    reason: str  # one sentence: why this status
    manifest_id: str | None = None  # of the manifest that binds the content
    active_manifest_id: str | None = None  # differs after a later update manifest
    issuer: str | None = None  # organization on the certificate; claimed, unless trusted
    signed_at: str | None = None  # RFC 3339; from the time stamp when there is one
    timestamped: bool = False  # an authority that we trust proves the date
    timestamp_authority: str | None = None
    algorithm: str | None = None
    claim_generator: str | None = None
    format: str | None = None
    actions: tuple[Action, ...] = ()
    source_types: tuple[str, ...] = ()  # IPTC URIs, of this work and of what it was made from
    ingredients: tuple[IngredientReport, ...] = ()
    soft_bindings: tuple[SoftBindingReport, ...] = ()
    uncovered: tuple[ByteRange, ...] = ()
    sidecar: str | None = None  # name of the .c2pa file that was read; None: embedded
    remote_url: str | None = None
    successes: tuple[str, ...] = ()  # validation codes of C2PA
    informational: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    state: str | None = None  # the library's own word: Trusted, Valid, Invalid
    certificate: CertificateReport | None = None
    personal: Mapping[str, Any] = field(default_factory=dict)

    @property
    def declares_ai(self) -> bool:
        """The signer says that a machine made this work or a part of it: by a trained model, or by
        a program without training data (IPTC algorithmicMedia). ``declares_trained`` is narrower.
        """
        return sourcetypes.declares(self.source_types, sourcetypes.SYNTHETIC)

    @property
    def declares_trained(self) -> bool:
        """The signer says that a trained (generative) model made this work or a part of it."""
        return sourcetypes.declares(self.source_types, sourcetypes.AI)

    @property
    def intact(self) -> bool:
        """Content and claim are what was signed, whoever signed."""
        return _STATUS_OF[self.status] is EvidenceStatus.PRESENT

    def evidence(self) -> Evidence:
        """The same as evidence for a verdict, with one sentence for a reader who knows no C2PA."""
        details = self.to_json() | {
            "declares_ai": self.declares_ai,
            "declares_trained": self.declares_trained,
        }
        return Evidence("credential", _STATUS_OF[self.status], self.summary(), details=details)

    def summary(self) -> str:
        """One sentence that a person can read."""
        who = self.issuer or "a signer without a name"
        on = f" on {self.signed_at[:10]}" if self.signed_at and self.timestamped else ""
        match self.status:
            case CredentialStatus.TRUSTED:
                return f"{who} signed this file{on}, it is unchanged since, and {self._says()}."
            case CredentialStatus.INTACT_UNKNOWN_SIGNER:
                return (
                    f"The file is unchanged since it was signed{on}, and {self._says()}; but the "
                    f"signer, who gives the name {who!r}, is on no list that you trust."
                )
            case CredentialStatus.EXPIRED:
                return (
                    f"The file is unchanged since it was signed, and {self._says()}; but the "
                    f"certificate of {who!r} has expired and no time stamp proves when it signed."
                )
            case CredentialStatus.MALFORMED_BUT_INTACT:
                return (
                    f"The content is unchanged since {who!r} signed it, and {self._says()}; its "
                    "credential has a formal mistake known from an old writer."
                )
            case CredentialStatus.ALTERED:
                return f"The file was changed after {who!r} signed it: {self.reason}"
            case CredentialStatus.DAMAGED:
                return f"The file carries a credential that is broken: {self.reason}"
            case CredentialStatus.REMOTE_ONLY:
                return (
                    "The file carries no credential, only an address where one may be found; it "
                    "was not fetched, so nothing was checked."
                )
            case CredentialStatus.NONE:
                return (
                    "The file carries no credential. Most files carry none, and credentials are "
                    "easily removed: this says nothing about how it was made."
                )
            case CredentialStatus.UNREADABLE:
                return f"No credential could be looked for: {self.reason}"

    def _says(self) -> str:
        if self.declares_trained:
            return "its signer says that it was made or edited with AI"
        if self.declares_ai:
            return "its signer says that a computer program generated it"
        if self.source_types:
            codes = sorted({uri.rsplit("/", 1)[-1] for uri in self.source_types})
            return f"its signer declares it as {', '.join(codes)}"
        return "its signer does not say how it was made"

    def to_json(self) -> dict[str, Any]:
        """JSON types only."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CredentialReport:
        """The report that ``to_json`` wrote.

        >>> report = CredentialReport(CredentialStatus.NONE, "no credential")
        >>> CredentialReport.from_json(report.to_json()) == report
        True
        """
        values = dict(data)
        values["status"] = CredentialStatus(values["status"])
        values["actions"] = tuple(Action(**item) for item in values.get("actions", ()))
        values["ingredients"] = tuple(
            _ingredient_from(item) for item in values.get("ingredients", ())
        )
        values["soft_bindings"] = tuple(
            SoftBindingReport(**item) for item in values.get("soft_bindings", ())
        )
        values["uncovered"] = tuple(ByteRange(**item) for item in values.get("uncovered", ()))
        for name in ("source_types", "successes", "informational", "failures"):
            values[name] = tuple(values.get(name, ()))
        if values.get("certificate") is not None:
            values["certificate"] = CertificateReport(**values["certificate"])
        return cls(**values)


def _ingredient_from(data: Mapping[str, Any]) -> IngredientReport:
    values = dict(data)
    values["status"] = CredentialStatus(values["status"])
    values["source_types"] = tuple(values.get("source_types", ()))
    values["failures"] = tuple(values.get("failures", ()))
    values["ingredients"] = tuple(_ingredient_from(item) for item in values.get("ingredients", ()))
    return IngredientReport(**values)
