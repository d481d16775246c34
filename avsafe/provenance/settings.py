"""Settings of the C2PA library, checked by us: it accepts a misspelt key without a word.

A setting that is silently ignored is dangerous here (``trust_anchor`` for ``trust_anchors`` makes
every signer untrusted, ``remote_manifest_fech`` lets an upload name a URL that we fetch).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from avsafe.errors import UsageError

if TYPE_CHECKING:
    import c2pa

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----")
# Every key that we use, with its type. What is not here may not be set: verify_trust=False, for
# one, makes an untrusted file look valid without any code that says so.
_KNOWN: Mapping[str, Mapping[str, type]] = {
    "verify": {
        "verify_after_reading": bool,
        "verify_after_sign": bool,
        "verify_timestamp_trust": bool,
        "remote_manifest_fetch": bool,
        "ocsp_fetch": bool,
    },
    "trust": {"trust_anchors": str, "user_anchors": str, "trust_config": str},
    "cawg_trust": {"verify_trust_list": bool, "trust_anchors": str},
    "core": {
        "allow_redirects": bool,
        "allowed_network_hosts": list,
        "backing_store_memory_threshold_in_mb": int,
        "decode_identity_assertions": bool,
        "max_decompressed_manifest_size_in_mb": int,
    },
    "builder": {
        "thumbnail.enabled": bool,
        "auto_timestamp_assertion.enabled": bool,
        "auto_timestamp_assertion.skip_existing": bool,
        "auto_timestamp_assertion.fetch_scope": str,
        "actions.all_actions_included": bool,
        "actions.auto_created_action.enabled": bool,
        "actions.auto_opened_action.enabled": bool,
        "actions.auto_placed_action.enabled": bool,
    },
}

# Object identifiers that a claim signer's certificate may carry: emailProtection, documentSigning,
# c2pa-kp-claimSigning. Without the last one listed, a certificate from a C2PA certificate authority
# reads back as invalid (measured with c2pa-rs 0.91). timeStamping and ocspSigning stay because the
# same list judges time stamps.
TRUST_CONFIG = "\n".join(
    (
        "1.3.6.1.5.5.7.3.4",
        "1.3.6.1.5.5.7.3.36",
        "1.3.6.1.4.1.62558.2.1",
        "1.3.6.1.5.5.7.3.8",
        "1.3.6.1.5.5.7.3.9",
    )
)


def check(settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise UsageError for a key that does not exist or a value of the wrong type.

    Keys may be nested or dotted below the section: ``{"builder": {"thumbnail.enabled": False}}``.
    """
    for section, values in settings.items():
        if section not in _KNOWN:
            raise UsageError(_unknown(section, _KNOWN))
        for key, value in _flat(values):
            expected = _KNOWN[section].get(key)
            if expected is None:
                raise UsageError(_unknown(key, _KNOWN[section], section))
            if type(value) is not expected:
                raise UsageError(
                    f"C2PA setting {section}.{key} must be {expected.__name__}, "
                    f"not {type(value).__name__}."
                )


# The root of a machine that trusts nobody yet: the library takes an empty list of anchors for a
# broken one. Its private key was thrown away when it was made, and it has expired.
_NOBODY = """\
-----BEGIN CERTIFICATE-----
MIIBVzCB/6ADAgECAgEBMAoGCCqGSM49BAMCMCoxKDAmBgNVBAMMH25vYm9keTog
bm8gcm9vdCBpcyB0cnVzdGVkIGhlcmUwHhcNMjYwMTAxMDAwMDAwWhcNMjYwMTAy
MDAwMDAwWjAqMSgwJgYDVQQDDB9ub2JvZHk6IG5vIHJvb3QgaXMgdHJ1c3RlZCBo
ZXJlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEk1G3NqJZLcAMTGBAJTdYn0rT
+e2e555diuxQel58SdjwTI0Wap5wJqmV+yEZ1DlhMoFRcQy0IplfUcLrdyR+86MW
MBQwEgYDVR0TAQH/BAgwBgEB/wIBADAKBggqhkjOPQQDAgNHADBEAiB4nY1nA+U5
z96+0K0sfuPNSzdgkN4uH9l8Nfb4MnCR6QIgXregZwAbGrV3+TZIi+QQ4dipB46e
dli857aJwhSPzx8=
-----END CERTIFICATE-----
"""


def reading(anchors: str, own: str = "") -> dict[str, dict[str, Any]]:
    """The settings to read with: our anchors only, no network, nothing fetched for an upload.

    ``own`` are those of them that are this machine's. They become the library's "user anchors", and
    the others its "system anchors": it says in which of them it found a signer
    (``content.certificate``); for one in both, now the one and now the other."""
    ours = _certificates(own)
    others = "".join(text for text in _certificates(anchors) if text not in ours)
    found = _common(others if ours else anchors)
    if ours:
        found["trust"]["user_anchors"] = "".join(ours)
    return _merged(found, {"cawg_trust": {"verify_trust_list": True}})


def signing(anchors: str) -> dict[str, dict[str, Any]]:
    """The settings to sign with: no thumbnail, no action added behind our back, no network (time
    stamps are fetched by ``tsa``, not by the library)."""
    return _merged(
        _common(anchors),
        {
            "builder": {
                "thumbnail.enabled": False,  # a 256x256 PNG would grow by 280 KB instead of 3
                "actions.auto_created_action.enabled": False,
                "actions.auto_opened_action.enabled": False,
                "actions.auto_placed_action.enabled": False,
            },
        },
    )


def context(
    settings: Mapping[str, Mapping[str, Any]], signer: c2pa.Signer | None = None
) -> c2pa.Context:
    """A library context from checked settings. Make one per call: it does not survive a fork.

    A signer is consumed: it belongs to the context from then on."""
    import c2pa

    check(settings)
    nested: dict[str, Any] = {}
    for section, values in settings.items():
        for key, value in _flat(values):
            node = nested.setdefault(section, {})
            *parents, last = key.split(".")
            for parent in parents:
                node = node.setdefault(parent, {})
            node[last] = value
    return c2pa.Context.from_dict(nested, signer=signer)


def _common(anchors: str) -> dict[str, dict[str, Any]]:
    return {
        "verify": {
            "remote_manifest_fetch": False,
            "ocsp_fetch": False,
            "verify_timestamp_trust": True,
        },
        "trust": {"trust_anchors": anchors or _NOBODY, "trust_config": TRUST_CONFIG},
        "core": {
            "allowed_network_hosts": [],
            "allow_redirects": False,
            "backing_store_memory_threshold_in_mb": 64,  # the default of 512 is resident memory
        },
    }


def _certificates(pem: str) -> list[str]:
    return [f"{text.strip()}\n" for text in _PEM.findall(pem)]


def _merged(
    first: Mapping[str, Mapping[str, Any]], second: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    return {
        section: {**first.get(section, {}), **second.get(section, {})}
        for section in (*first, *(key for key in second if key not in first))
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat += _flat(value, f"{prefix}{key}.")
        else:
            flat.append((prefix + key, value))
    return flat


def _unknown(key: str, known: Mapping[str, Any], section: str = "") -> str:
    near = difflib.get_close_matches(key, known, n=1)
    place = f"{section}.{key}" if section else key
    hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(known))}."
    return f"There is no C2PA setting {place!r} (the library would ignore it). {hint}"
