"""What an ONNX file is made of, read without the onnx package: operators and where its tensors lie.

An ONNX file is a protobuf message (onnx.proto). We walk its wire format (protobuf.dev, "Encoding":
a key is field number * 8 + wire type) and look at the operators of every node in graphs, subgraphs
and functions, and at tensors that lie outside the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from avsafe.errors import UsageError

# The domains whose operators come with every build of onnxruntime.
DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
_READS_FILES = {"EPContext", "PyOp"}  # of com.microsoft: a compiled context, a Python program
_MAX_DEPTH = 40
_MAX_NODES = 500_000


@dataclass
class Contents:
    """``external``: names of tensors that lie outside the file."""

    nodes: int = 0
    external: list[str] = field(default_factory=list)
    used: set[tuple[str, str]] = field(default_factory=set)  # (domain, operator)
    own: set[tuple[str, str]] = field(default_factory=set)  # functions that the file defines

    @property
    def foreign(self) -> list[str]:
        """Operators that come neither with onnxruntime nor with the file."""
        return sorted(
            f"{domain}.{operator}"
            for domain, operator in self.used - self.own
            if domain not in DOMAINS or operator in _READS_FILES
        )


def check(data: bytes, name: str) -> None:
    """Raises UsageError for what is no ONNX model, needs other files, or custom operators."""
    try:
        found = contents(data)
    except (ValueError, IndexError) as error:
        raise UsageError(f"{name} is no ONNX model ({error}).") from error
    if not found.nodes:
        raise UsageError(f"{name} is no ONNX model, or an empty one: it holds no operator.")
    if found.external:
        raise UsageError(
            f"{name} keeps tensors in other files ({', '.join(found.external[:3])}), which its "
            "SHA-256 does not cover. Save it as one file: onnx.save_model(model, path, "
            "save_as_external_data=False)."
        )
    if found.foreign:
        raise UsageError(
            f"{name} needs operators that onnxruntime does not bring: "
            f"{', '.join(found.foreign[:5])}. Export it with standard operators only."
        )


def contents(data: bytes) -> Contents:
    """Raises ValueError or IndexError when it is no such message."""
    found = Contents()
    view = memoryview(data)
    for number, part in _fields(view):  # ModelProto
        if number == 7:
            _graph(part, found, 0)
        elif number == 25:  # FunctionProto
            found.own.add((_text(part, 10), _text(part, 1)))
            for inner, node in _fields(part):
                if inner == 7:
                    _node(node, found, 0)
    return found


def _graph(data: memoryview, found: Contents, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError("graphs nested too deeply")
    for number, part in _fields(data):  # GraphProto
        if number == 1:
            _node(part, found, depth)
        elif number == 5:
            _tensor(part, found)
        elif number == 15:  # SparseTensorProto: values and indices
            for inner, tensor in _fields(part):
                if inner in (1, 2):
                    _tensor(tensor, found)


def _node(data: memoryview, found: Contents, depth: int) -> None:
    found.nodes += 1
    if found.nodes > _MAX_NODES:
        raise ValueError(f"more than {_MAX_NODES} operators")
    found.used.add((_text(data, 7), _text(data, 4)))
    for number, part in _fields(data):  # NodeProto
        if number == 5:
            for inner, value in _fields(part):  # AttributeProto
                if inner in (5, 10):
                    _tensor(value, found)
                elif inner in (6, 11):
                    _graph(value, found, depth + 1)
                elif inner in (22, 23):
                    for deepest, tensor in _fields(value):
                        if deepest in (1, 2):
                            _tensor(tensor, found)


def _tensor(data: memoryview, found: Contents) -> None:
    for number, part, value in _walk(data):  # TensorProto
        if number == 13 or (number == 14 and value == 1):  # external_data, data_location EXTERNAL
            found.external.append(_text(data, 8) or "a tensor")
            return
        del part


def _text(data: memoryview, wanted: int) -> str:
    text = ""
    for number, part in _fields(data):
        if number == wanted:
            text = bytes(part[:100]).decode("utf-8", "backslashreplace")
    return text


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Fields of a message that have a length: texts, messages, packed numbers."""
    for number, part, _ in _walk(data):
        if part is not None:
            yield number, part


def _walk(data: memoryview) -> Iterator[tuple[int, memoryview | None, int]]:
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, form = key >> 3, key & 7
        if number == 0:
            raise ValueError("a field without a number")
        if form == 0:
            value, at = _varint(data, at)
            yield number, None, value
            continue
        if form == 2:
            size, at = _varint(data, at)
        elif form in (1, 5):
            size = 8 if form == 1 else 4
        else:
            raise ValueError(f"wire type {form}")
        if at + size > end:
            raise ValueError("a field longer than the file")
        if form == 2:
            yield number, data[at : at + size], 0
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")
