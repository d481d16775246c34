"""Validation codes -> one status. Pure: codes in, status and a reason out.

Codes are those of C2PA 2.x, "Validation status codes". The order of the questions matters: a hash
only says something about the content when the claim that states the hash is itself sound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from avsafe.provenance.report import CredentialStatus

# The content, against a hash in the claim.
_CONTENT = frozenset(
    f"assertion.{kind}.mismatch"
    for kind in ("dataHash", "bmffHash", "boxesHash", "collectionHash", "multiAssetHash")
) | {"assertion.boxesHash.unknownBox", "assertion.collectionHash.incorrectFileCount"}
_MATCHES = frozenset(code.replace("mismatch", "match") for code in _CONTENT)

_UNTRUSTED = "signingCredential.untrusted"
_EXPIRED = frozenset({"signingCredential.expired", "claimSignature.outsideValidity"})
# Says something about the signer and not about the file.
_SIGNER = frozenset(
    {
        _UNTRUSTED,
        "signingCredential.invalid",
        "signingCredential.ocsp.revoked",
        "signingCredential.revoked",
        "signingCredential.ocsp.unknown",
    }
)
# truepic-20230212-camera and its like: the exclusion in the claim names other bytes than the
# manifest's, while the content hash matches.
_EXCLUSION = "exclusion does not match"

_REASONS = {
    "claimSignature.mismatch": "the signature does not belong to what the credential says.",
    "claimSignature.missing": "its signature is missing.",
    "assertion.hashedURI.mismatch": "a statement in it was changed after signing.",
    "hashedURI.mismatch": "a statement in it was changed after signing.",
    "assertion.missing": "a statement that was signed is missing.",
    "ingredient.manifest.mismatch": "the credential of an input was changed after signing.",
    "ingredient.claimSignature.mismatch": "the credential of an input was changed after signing.",
}


@dataclass(frozen=True)
class Codes:
    """What the validator found: code, and its explanation."""

    success: tuple[tuple[str, str], ...] = ()
    informational: tuple[tuple[str, str], ...] = ()
    failure: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, results: Mapping[str, Any] | None) -> Codes:
        """From one StatusCodes object of the library."""

        def pairs(name: str) -> tuple[tuple[str, str], ...]:
            found = (results or {}).get(name) or ()
            return tuple(
                (str(item.get("code", "")), str(item.get("explanation") or "")) for item in found
            )

        return cls(pairs("success"), pairs("informational"), pairs("failure"))

    def has(self, code: str) -> bool:
        return any(code == found for found, _ in self.success)

    def then(self, later: Codes) -> Codes:
        """These codes, as recorded when an ingredient was taken in, brought up to date by what a
        validator finds now. A later failure always counts; a recorded doubt about the signer is
        lifted only when the signer is now found trusted."""
        lifted = about_signer() if later.has("signingCredential.trusted") else frozenset()
        kept = tuple(item for item in self.failure if item[0] not in lifted)
        failed = {code for code, _ in later.failure}
        good = self.success + later.success
        if failed & about_signer():
            good = tuple(item for item in good if item[0] != "signingCredential.trusted")
        return Codes(good, self.informational + later.informational, kept + later.failure)

    @property
    def failures(self) -> tuple[str, ...]:
        return tuple(code for code, _ in self.failure)


def about_signer() -> frozenset[str]:
    """Failure codes that say something about who signed, and nothing about the file."""
    return _SIGNER | _EXPIRED


def classify(active: Codes, ingredients: Iterable[Codes] = ()) -> tuple[CredentialStatus, str]:
    """The status of a file, from the codes of its active manifest and, per ingredient, the codes
    that are new since the claim was signed.

    An ingredient whose signer is unknown or has expired does not touch this file's own status (its
    own report says so); an ingredient whose credential was changed after signing does.

    >>> classify(Codes(failure=(("assertion.bmffHash.mismatch", ""),)))[0]
    <CredentialStatus.DAMAGED: 'damaged'>
    """
    failures = dict.fromkeys(active.failures)
    beyond_signer = [
        (code, text)
        for code, text in active.failure
        if code not in about_signer() and not code.startswith("cawg.")
    ]
    content = [(code, text) for code, text in beyond_signer if code in _CONTENT]
    claim = [(code, text) for code, text in beyond_signer if code not in _CONTENT]
    matched = any(code in _MATCHES for code, _ in active.success)

    if claim:
        code, text = claim[0]
        return CredentialStatus.DAMAGED, _REASONS.get(code, f"{text or code} ({code}).")
    if content and matched and all(_EXCLUSION in text for _, text in content):
        return (
            CredentialStatus.MALFORMED_BUT_INTACT,
            "the content hash matches; the claim's exclusion range names the wrong bytes.",
        )
    if content and not _claim_sound(active):
        return (
            CredentialStatus.DAMAGED,
            "the content does not match, and the signature of the claim was not confirmed.",
        )
    if content:
        return (
            CredentialStatus.ALTERED,
            "picture, sound or container differ from what was signed.",
        )
    for found in ingredients:
        broken = [code for code in found.failures if code not in about_signer() | _CONTENT]
        broken = [code for code in broken if not code.startswith("cawg.")]
        if broken:
            return CredentialStatus.DAMAGED, _REASONS.get(
                broken[0], f"the credential of an input is broken ({broken[0]})."
            )
    if not matched:
        return CredentialStatus.DAMAGED, "no hash in it covers the content of the file."
    if _EXPIRED & failures.keys():
        return (
            CredentialStatus.EXPIRED,
            "the certificate has expired and no trusted time stamp proves an earlier date.",
        )
    if not _claim_sound(active):
        return CredentialStatus.DAMAGED, "the signature of the claim was not confirmed."
    if failures.keys() & {"signingCredential.ocsp.revoked", "signingCredential.revoked"}:
        return CredentialStatus.INTACT_UNKNOWN_SIGNER, "the signer's certificate was revoked."
    if failures.keys() & _SIGNER or not active.has("signingCredential.trusted"):
        return CredentialStatus.INTACT_UNKNOWN_SIGNER, (
            "the signer's certificate breaks the rules for signers."
            if "signingCredential.invalid" in failures
            else "the signer's certificate leads to none of the trusted roots."
        )
    return CredentialStatus.TRUSTED, "unchanged, and the signer leads to a trusted root."


def _claim_sound(active: Codes) -> bool:
    return active.has("claimSignature.validated")
