"""Rows of the registry's tables as lines of JSON that either engine takes.

A part names its table and columns in its first line; then a row is a list. Bytes stand as
``{"b": base64}``, times as ``{"t": ISO 8601}``, JSON as ``{"j": value}``.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Connection, MetaData, Table, insert, null, select, text

from avsafe.backup.archive import PART
from avsafe.errors import BackupError
from avsafe.registry.schema import metadata

# What must not come back: logins under way, and the name of a numbering that caches go by.
LEFT_OUT = ("sessions", "logins", "fingerprint_numbering")
_AT_ONCE = 500


def export(connection: Connection) -> Iterator[tuple[str, bytes]]:
    """(name, part) for every table, parents first, from the open transaction."""
    for table in metadata.sorted_tables:
        if table.name in LEFT_OUT:
            continue
        columns = list(table.columns)
        as_json = [isinstance(column.type, JSON) for column in columns]
        # Typed values do not tell the JSON word null from no value at all.
        absent = [column.is_(null()) for column, j in zip(columns, as_json, strict=True) if j]
        head = json.dumps({"table": table.name, "columns": [c.name for c in columns]})
        lines, size, number = [head.encode()], 0, 0
        query = select(*columns, *absent).order_by(*table.primary_key)
        query = query.execution_options(yield_per=_AT_ONCE)
        for row in connection.execute(query):
            gone = iter(row[len(columns) :])
            cells = [
                _plain(value, j and not next(gone)) for value, j in zip(row, as_json, strict=False)
            ]
            line = json.dumps(cells, separators=(",", ":"), allow_nan=False).encode()
            lines.append(line)
            size += len(line)
            if size > PART:
                yield f"registry/{table.name}.{number:06}", b"\n".join(lines)
                lines, size, number = lines[:1], 0, number + 1
        if len(lines) > 1:
            yield f"registry/{table.name}.{number:06}", b"\n".join(lines)


def _plain(value: Any, as_json: bool) -> Any:
    if as_json:
        return {"j": value}
    if isinstance(value, bytes | memoryview):
        return {"b": b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"t": value.isoformat()}
    return value


class Loader:
    """Puts parts into the empty tables of a database, as its own schema describes them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        found = MetaData()
        found.reflect(connection)
        for table in found.tables.values():
            for column in table.columns:
                if isinstance(column.type, JSON):  # None is no value; JSON.NULL is the word null
                    column.type = type(column.type)(none_as_null=True)
        self._tables = {
            name: table
            for name, table in found.tables.items()
            if name not in (*LEFT_OUT, "alembic_version")
        }

    def load(self, part: bytes) -> int:
        """How many rows. Raises BackupError for what does not fit the tables."""
        table, rows = parse(part)
        target = self._tables.get(table)
        if target is None:
            raise BackupError(f"The backup has rows of a table {table!r} that there is not.")
        if not rows:
            return 0
        if unknown := set(rows[0]) - set(target.columns.keys()):
            raise BackupError(f"The table {table} has no column {sorted(unknown)[0]!r}.")
        for start in range(0, len(rows), _AT_ONCE):
            self._connection.execute(insert(target), rows[start : start + _AT_ONCE])
        return len(rows)

    def finish(self) -> None:
        """Numbers that PostgreSQL gives out go on after those that came in."""
        if self._connection.dialect.name != "postgresql":
            return
        for table in self._tables.values():
            for column in table.primary_key.columns:
                self._go_on(table, column.name)

    def _go_on(self, table: Table, column: str) -> None:
        named = {"t": f'"{table.name}"', "c": column}
        counter = self._connection.execute(
            text("SELECT pg_get_serial_sequence(:t, :c)"), named
        ).scalar()
        if counter is not None:
            most = self._connection.execute(
                select(table.c[column]).order_by(table.c[column].desc()).limit(1)
            ).scalar()
            if most is not None:
                self._connection.execute(text("SELECT setval(:s, :n)"), {"s": counter, "n": most})


def parse(part: bytes) -> tuple[str, list[dict[str, Any]]]:
    """Table and rows of a part. Raises BackupError when it is none."""
    try:
        first, *lines = part.split(b"\n")
        head = json.loads(first)
        table, columns = head["table"], head["columns"]
        if not isinstance(table, str) or not all(isinstance(one, str) for one in columns):
            raise TypeError("its first line names no table")
        return table, [
            {c: _value(v) for c, v in zip(columns, json.loads(line), strict=True)} for line in lines
        ]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BackupError(f"A part of the registry cannot be read: {error}.") from error


def _value(cell: Any) -> Any:
    if not isinstance(cell, dict):
        if isinstance(cell, list):
            raise TypeError("a cell is a list")
        return cell
    ((kind, value),) = cell.items()
    if kind == "b":
        return b64decode(value, validate=True)
    if kind == "t":
        return datetime.fromisoformat(value)
    if kind == "j":
        return JSON.NULL if value is None else value
    raise ValueError(f"a cell of an unknown kind {kind!r}")
