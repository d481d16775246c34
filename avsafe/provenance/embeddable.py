"""The C2PA library's calls for signers that write the file themselves; c2pa-python wraps none.

The library makes a manifest around hashes that we feed it, and hands the manifest back; it never
copies the media. Declared here against the C header of c2pa-rs 0.91 (``c2pa_c_ffi``, "embeddable"),
and offered only when the library that is loaded has exactly these symbols and a version on which
they were measured: a wrong prototype would crash, not raise.

    native = embeddable.load()                  # Unavailable says why not
    room = native.placeholder(builder, mime)    # bytes of a manifest without leaves
    native.hash_leaf(builder, buffer, count)    # the media data, in order
    native.hash_rest(builder, mime, file)       # everything else, once the file has its form
    box = native.sign(builder, mime)            # a whole uuid box
"""

from __future__ import annotations

import ctypes
import functools
from importlib import metadata
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import c2pa

# Measured with these (benchmarks/signing.py); a newer one joins after its tests have run.
LIBRARY_FROM, LIBRARY_BELOW = (0, 91, 0), (0, 92, 0)  # c2pa-rs
BINDING_FROM, BINDING_BELOW = (0, 38, 0), (0, 39, 0)  # c2pa-python: its private handles are used

_HANDLE, _BYTES = ctypes.c_void_p, ctypes.POINTER(ctypes.c_ubyte)
# name -> (result, arguments)
_PROTOTYPES: dict[str, tuple[Any, list[Any]]] = {
    "c2pa_builder_placeholder": (
        ctypes.c_int64,
        [_HANDLE, ctypes.c_char_p, ctypes.POINTER(_BYTES)],
    ),
    "c2pa_builder_hash_mdat_bytes": (
        ctypes.c_int,
        [_HANDLE, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_bool],
    ),
    "c2pa_builder_update_hash_from_stream": (ctypes.c_int, [_HANDLE, ctypes.c_char_p, _HANDLE]),
    "c2pa_builder_sign_embeddable": (
        ctypes.c_int64,
        [_HANDLE, ctypes.c_char_p, ctypes.POINTER(_BYTES)],
    ),
    "c2pa_error": (ctypes.c_void_p, []),
    "c2pa_free": (ctypes.c_int, [ctypes.c_void_p]),
}


class Unavailable(Exception):
    """The calls cannot be used here; the message is a reason to show. Sign another way."""


class Refused(Unavailable):
    """A call failed; the message says what the library said."""


class Native:
    """The calls, typed. One thread per builder, as with the library itself."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._call: dict[str, Any] = {}
        for name, (result, arguments) in _PROTOTYPES.items():
            function = getattr(library, name, None)
            if function is None:
                raise Unavailable(f"the C2PA library has no {name}")
            function.restype, function.argtypes = result, arguments
            self._call[name] = function

    def placeholder(self, builder: c2pa.Builder, mime: str) -> int:
        """Prepare the hard binding; returns the bytes of a manifest without any leaf."""
        return len(self._manifest("c2pa_builder_placeholder", builder, mime))

    def hash_leaf(self, builder: c2pa.Builder, buffer: Any, count: int) -> None:
        """Hash the next ``count`` bytes of the media data (``buffer``: a ctypes array) as one leaf.

        The caller starts 16 bytes into the mdat box, where the standard's exclusion starts; that is
        what the last argument tells the library. Its leaves of a fixed size are not used: they are
        copied first (decision 0014).
        """
        code = self._call["c2pa_builder_hash_mdat_bytes"](_handle(builder), 0, buffer, count, True)
        self._check(code)

    def hash_rest(self, builder: c2pa.Builder, mime: str, file: BinaryIO) -> None:
        """Hash what the leaves do not cover: headers and index, at their final places."""
        import c2pa

        stream = c2pa.Stream(file)
        try:
            self._check(
                self._call["c2pa_builder_update_hash_from_stream"](
                    _handle(builder), mime.encode(), stream._stream
                )
            )
        finally:
            stream.close()

    def sign(self, builder: c2pa.Builder, mime: str) -> bytes:
        """Sign with the context's signer; returns the uuid box to put into the file."""
        return self._manifest("c2pa_builder_sign_embeddable", builder, mime)

    def _manifest(self, name: str, builder: c2pa.Builder, mime: str) -> bytes:
        out = _BYTES()
        size = self._call[name](_handle(builder), mime.encode(), ctypes.byref(out))
        try:
            self._check(size)
            return ctypes.string_at(out, size)
        finally:
            if out:
                self._call["c2pa_free"](out)

    def _check(self, code: int) -> None:
        if code >= 0:
            return
        text = self._call["c2pa_error"]()
        message = ctypes.string_at(text).decode(errors="replace") if text else "no reason given"
        if text:
            self._call["c2pa_free"](text)
        raise Refused(f"the C2PA library refused ({' '.join(message.split())[:300]})")


def load() -> Native:
    """The calls of the library that c2pa-python has loaded. Raises Unavailable."""
    import c2pa

    return _load(c2pa.sdk_version(), metadata.version("c2pa-python"))


@functools.cache
def _load(library: str, binding: str) -> Native:
    """
    >>> _load("0.90.0", "0.38.1")
    Traceback (most recent call last):
    ...
    avsafe.provenance.embeddable.Unavailable: c2pa-rs 0.90.0 is not among the versions measured...
    """
    for name, found, begin, end in (
        ("c2pa-rs", library, LIBRARY_FROM, LIBRARY_BELOW),
        ("c2pa-python", binding, BINDING_FROM, BINDING_BELOW),
    ):
        if not begin <= _version(found) < end:
            known = ".".join(map(str, begin[:2]))
            raise Unavailable(f"{name} {found} is not among the versions measured ({known}.x)")
    from c2pa import c2pa as binding_module

    try:
        return Native(ctypes.CDLL(binding_module._lib._name))
    except (AttributeError, OSError) as error:
        raise Unavailable(f"the C2PA library cannot be reached ({error})") from error


def _version(text: str) -> tuple[int, ...]:
    """
    >>> _version("0.91.3-dev+5")
    (0, 91, 3)
    """
    numbers = text.split("+")[0].split("-")[0].split(".")[:3]
    return tuple(int(part) if part.isdigit() else -1 for part in numbers)


def _handle(builder: c2pa.Builder) -> Any:
    handle = getattr(builder, "_handle", None)
    if not handle:  # a null pointer would end the process
        raise Refused("the builder is closed")
    return handle
