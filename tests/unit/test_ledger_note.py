"""Signed notes against the published example of the format, and hostile notes."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest

from avsafe.errors import LedgerError
from avsafe.ledger import merkle
from avsafe.ledger.note import Checkpoint, Key, parse, read_notes

# The example key and note of golang.org/x/mod/sumdb/note, which c2sp.org/signed-note specifies.
SEED = b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
VERIFIER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
SIGNATURE = (
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqd"
    "ngotpRZb6KE6RyyBwJnAM=\n"
)


def test_the_published_note_comes_out() -> None:
    key = Key(SEED, "PeterNeumann")
    assert key.verifier == VERIFIER
    assert key.seal(TEXT) == f"{TEXT}\n{SIGNATURE}"


def test_a_checkpoint_goes_round() -> None:
    key = Key(bytes(range(32)))
    assert key.open(key.sign(7, merkle.EMPTY_ROOT)) == Checkpoint(key.origin, 7, merkle.EMPTY_ROOT)


def test_a_note_may_carry_other_signatures_too() -> None:
    key, witness = Key(bytes(32)), Key(b"w" * 32)
    text = Checkpoint(key.origin, 3, bytes(32)).text()
    lines = [k.seal(text).rpartition("\n\n")[2] for k in (witness, key)]
    assert key.open(f"{text}\n{''.join(lines)}").size == 3


def test_two_keys_have_two_names() -> None:
    assert Key(bytes(32)).origin != Key(b"1" * 32).origin


@pytest.mark.parametrize(
    "bend",
    [
        lambda note, key: note.replace("\n7\n", "\n8\n"),
        lambda note, key: note.replace(key.origin + "\n", "somebody-else/log\n"),
        lambda note, key: Key(b"1" * 32, key.origin).sign(7, bytes(32)),
        lambda note, key: note[:-8] + "AAAA=\n",
        lambda note, key: note.partition("\u2014")[0],
        lambda note, key: note.replace("\u2014 ", "- "),
        lambda note, key: "",
        lambda note, key: key.seal("not a checkpoint\n"),
        lambda note, key: key.seal(f"{key.origin}\n-1\n{b64encode(bytes(32)).decode()}\n"),
        lambda note, key: key.seal(f"{key.origin}\n7\n{b64encode(bytes(31)).decode()}\n"),
    ],
)
def test_a_bent_note_is_refused(bend) -> None:
    key = Key(bytes(32))
    note = bend(key.sign(7, bytes(32)), key)
    with pytest.raises(LedgerError):
        key.open(note)


def test_a_seed_of_another_size_is_refused() -> None:
    with pytest.raises(LedgerError, match="31 bytes, expected 32"):
        Key(bytes(31))


def test_an_exported_file_reads_back_and_a_cut_last_note_is_passed_over() -> None:
    key = Key(bytes(32))
    text = "".join(key.sign(size, bytes(32)) + "\n" for size in (1, 2, 3))
    assert [note.size for note in read_notes(text, key)] == [1, 2, 3]
    last = key.sign(4, bytes(32)) + "\n"
    for cut in range(len(last)):
        assert [note.size for note in read_notes(text + last[:cut], key)] == [1, 2, 3]
    assert [note.size for note in read_notes(text + last, key)] == [1, 2, 3, 4]


def test_parse_wants_three_lines() -> None:
    with pytest.raises(LedgerError):
        parse("origin\n1\n")
