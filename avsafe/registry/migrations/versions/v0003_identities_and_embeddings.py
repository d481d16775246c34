"""Identities of a provider, logins under way, embeddings of people, the index of prints."""

import secrets

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_JSON = sa.JSON().with_variant(JSONB(), "postgresql")
NUMBERED = (
    "INSERT INTO fingerprint_numbers (release_id) SELECT f.release_id FROM fingerprints f "
    "JOIN releases r ON r.id = f.release_id ORDER BY r.created_at, r.id"
)


def upgrade() -> None:
    _identities()
    _embeddings()
    _index()


def _identities() -> None:
    op.create_table(
        "identities",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_identities"),
        sa.UniqueConstraint("issuer", "subject", name="uq_identities_issuer"),
        _to("identities", "user_id", "users.id"),
    )
    op.create_index("ix_identities_user_id", "identities", ["user_id"])
    op.create_table(
        "provider_roles",
        sa.Column("identity_id", sa.String(64), nullable=False),
        sa.Column("team", sa.String(64), nullable=False),
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("until", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("identity_id", "team", "role", name="pk_provider_roles"),
        _to("provider_roles", "identity_id", "identities.id"),
        _to("provider_roles", "team", "teams.name"),
    )
    op.create_table(
        "logins",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("browser", sa.String(64), nullable=False),
        sa.Column("nonce", sa.String(64), nullable=False),
        sa.Column("verifier", sa.String(128), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_logins"),
    )
    op.add_column("api_keys", sa.Column("made_with", sa.String(64)))
    op.create_index("ix_api_keys_made_with", "api_keys", ["made_with"])
    # A session hung on a key; those that are open end here, and people log in once more.
    op.drop_table("sessions")
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("team", sa.String(64), nullable=False),
        sa.Column("scopes", _JSON, nullable=False),
        sa.Column("key_id", sa.String(64)),
        sa.Column("identity_id", sa.String(64)),
        sa.Column("csrf", sa.String(64), nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        _to("sessions", "user_id", "users.id"),
        _to("sessions", "team", "teams.name"),
        _to("sessions", "key_id", "api_keys.id"),
        _to("sessions", "identity_id", "identities.id"),
    )
    for column in ("user_id", "key_id", "identity_id"):
        op.create_index(f"ix_sessions_{column}", "sessions", [column])


def _to(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [other], name=f"fk_{table}_{column}", ondelete="CASCADE"
    )


def _embeddings() -> None:
    op.create_table(
        "embeddings",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("modality", sa.String(16), nullable=False),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_embeddings"),
    )
    op.create_table(
        "salts",
        sa.Column("person", sa.String(128), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("person", name="pk_salts"),
    )


def _index() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "fingerprint_numbers",
        sa.Column("number", number, autoincrement=True, nullable=False),
        sa.Column("release_id", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_fingerprint_numbers"),
        sa.UniqueConstraint("release_id", name="uq_fingerprint_numbers_release_id"),
        sa.ForeignKeyConstraint(
            ["release_id"],
            ["releases.id"],
            name="fk_fingerprint_numbers_release_id",
            ondelete="CASCADE",
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "fingerprint_numbering",
        sa.Column("id", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_fingerprint_numbering"),
    )
    op.execute(NUMBERED)
    numbering = sa.table("fingerprint_numbering", sa.column("id"))
    op.execute(sa.insert(numbering).values(id=secrets.token_hex(16)))


def downgrade() -> None:
    pass
