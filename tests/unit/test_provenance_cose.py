"""Room for a time stamp inside a claim signature, and the answers of a time stamp authority."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsafe.errors import SigningFailed, UsageError
from avsafe.provenance import cose, tsa

MANIFEST = "urn:c2pa:00000000-0000-0000-0000-000000000001"


def store(padding: int, extra: bytes = b"") -> bytes:
    """A store with one claim signature, as far as ``cose`` looks at it."""
    entries = (b"\x63pad" + cose.octets(bytes(padding))) + extra
    header = bytes([0xA1 + bool(extra)]) + entries
    sign1 = b"\xd2\x84" + cose.octets(b"\xa1\x01\x26") + header + b"\xf6" + cose.octets(b"s" * 64)
    label = MANIFEST.encode() + b"\0"
    return b"before" + label + b"..c2pa.signature\0...." + b"cbor" + sign1 + b"after"


@given(st.integers(min_value=0, max_value=9000), st.integers(min_value=1, max_value=8000))
def test_a_token_fits_exactly_or_is_refused(padding: int, size: int) -> None:
    before = store(padding)
    found = cose.find(before, MANIFEST)
    token = b"t" * size
    try:
        after = cose.with_token(before, found, token)
    except SigningFailed:
        assert size > padding - 60  # all but what the entry itself takes
        return
    assert len(after) == len(before)
    again = cose.find(after, MANIFEST)
    assert again.stamped
    assert not found.stamped
    assert again.signature == found.signature
    assert again.protected == found.protected
    assert again.to_be_stamped() == found.to_be_stamped()
    assert token in after


def test_other_header_entries_stay() -> None:
    answers = b"\x65rVals" + b"\xa1" + cose.text("ocspVals") + b"\x81" + cose.octets(b"answer")
    before = store(5000, answers)
    after = cose.with_token(before, cose.find(before, MANIFEST), b"t" * 2000)
    assert answers in after
    assert len(after) == len(before)


@given(st.binary(max_size=200), st.integers(min_value=0, max_value=120))
def test_broken_signatures_raise_one_error(noise: bytes, cut: int) -> None:
    good = store(40)
    for bad in (good[: len(good) - cut], good.replace(b"\xd2\x84", b"\xd2\x84" + noise), noise):
        try:
            cose.find(bad, MANIFEST)
        except SigningFailed:
            continue


def test_nested_headers_do_not_exhaust_the_stack() -> None:
    deep = store(10, b"\x61x" + b"\x81" * 5000 + b"\x00")
    with pytest.raises(SigningFailed, match="malformed"):
        cose.find(deep, MANIFEST)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>no</html>",
        bytes.fromhex("30 03 02 01 02"),
        bytes.fromhex("30 05 30 03 02 01 02"),  # rejection
        bytes.fromhex("30 05 30 03 02 01 00"),  # granted, and no token
        bytes.fromhex("30 84 ff ff ff ff"),
        bytes.fromhex("30 09 30 03 02 01 00 30 02 05 00"),  # a token for another request
    ],
)
def test_answers_that_are_no_stamp(body: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        tsa._token(body, b"\x02\x01\x07")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "tsa.example.org", "ftp://x/", "http://"])
def test_only_web_addresses(url: str) -> None:
    with pytest.raises(UsageError, match="http or https"):
        tsa.check_url(url)
