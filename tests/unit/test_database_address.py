"""The address of a database: what is taken, and that a password is shown nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from avsafe.cli.doctor import examine
from avsafe.errors import AvsafeError, LedgerError, RegistryError, UsageError
from avsafe.home import DATABASE_VARIABLE, Home, database_shown, database_url
from avsafe.ledger import Ledger
from avsafe.registry.database import Database

SECRET = "s3cr3t-of-somebody"


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("postgresql://db/avsafe", "postgresql+psycopg://db/avsafe"),
        ("postgres://ada@db:5433/avsafe", "postgresql+psycopg://ada@db:5433/avsafe"),
        ("postgresql+psycopg://ada:p%40w@[::1]/a", "postgresql+psycopg://ada:p%40w@[::1]/a"),
        ("postgresql:///a?host=/run/postgresql", "postgresql+psycopg:///a?host=/run/postgresql"),
        ("  ", None),
    ],
)
def test_addresses(given: str, taken: str | None) -> None:
    assert database_url({DATABASE_VARIABLE: given}) == taken


@pytest.mark.parametrize(
    "wrong",
    [
        "sqlite:///x.db", "mysql://u@h/d", "db", "postgresql://db", "postgresql://db/",
        f"postgresql://u:{SECRET}@db:port/a", f"postgresql://u:{SECRET}/x@db/a",
        f"postgresql://u:{SECRET}@{SECRET}@db/a", f"postgresql://u:{SECRET}?x@db/a",
        f"postgresql://u:{SECRET}#x@db/a", f"postgresql+asyncpg://u:{SECRET}@db/a",
        f"postgresql://u:[{SECRET}@db/a", f"postgresql://u:{SECRET}@db /a",
    ],
)  # fmt: skip
def test_what_is_none_is_refused_and_not_repeated(wrong: str) -> None:
    with pytest.raises(UsageError, match=r"postgresql://USER@HOST/DATABASE") as caught:
        database_url({DATABASE_VARIABLE: wrong})
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


def test_an_address_may_lie_in_a_file(tmp_path: Path) -> None:
    place, variable = tmp_path / "url", f"{DATABASE_VARIABLE}_FILE"
    place.write_text("postgresql://ada@db/avsafe\n")
    assert database_url({variable: str(place)}) == "postgresql+psycopg://ada@db/avsafe"
    with pytest.raises(UsageError, match="Both"):
        database_url({variable: str(place), DATABASE_VARIABLE: "postgresql://db/avsafe"})
    place.write_bytes(b"\n")
    with pytest.raises(UsageError, match="is empty"):
        database_url({variable: str(place)})
    place.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="no text"):
        database_url({variable: str(place)})
    with pytest.raises(UsageError, match="No such file"):
        database_url({variable: str(tmp_path / "absent")})
    place.write_text(f"mysql://u:{SECRET}@h/d")
    with pytest.raises(UsageError) as caught:
        database_url({variable: str(place)})
    assert SECRET not in str(caught.value)


def test_a_password_is_shown_nowhere(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.setenv(
        DATABASE_VARIABLE, f"postgresql://ada:{SECRET}@127.0.0.1:9/avsafe?connect_timeout=2"
    )
    told = [f"{one.name} {one.value} {one.advice}" for one in examine(home)]
    assert any("127.0.0.1:9/avsafe" in line for line in told)
    errors: list[str] = []
    with pytest.raises(RegistryError) as refused:
        Database.open(home.database)
    with pytest.raises(LedgerError) as closed:
        Ledger.open(home.log, home.keys)
    for error in (refused.value, closed.value):
        while error is not None:
            errors += [str(error), repr(error)]
            error = error.__cause__
    assert SECRET not in "\n".join(told + errors)
    assert not list(home.root.glob("**/ledger.key"))  # no log was begun


def test_what_is_shown() -> None:
    assert database_shown("postgresql+psycopg://u:p@h:1/d?password=x") == "h:1/d"
    assert database_shown("postgresql+psycopg:///d?host=/run") == "/d"


def test_no_such_database_is_an_error_of_ours(postgresql_url: str) -> None:
    with pytest.raises(AvsafeError):
        Database.open(postgresql_url.replace("@/", "@/no-such-"))
