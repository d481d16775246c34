"""The tables, in types that SQLite and PostgreSQL both keep. Migrations must end in this shape: a
test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB

HEAD = "0003"  # the newest migration


class UtcTime(TypeDecorator[datetime]):
    """An aware datetime, stored in UTC (SQLite keeps no zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("A time without a zone does not say when.")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if isinstance(value, datetime):
            return value if value.tzinfo else value.replace(tzinfo=UTC)
        return None


# Constraints get the same names everywhere, so that a later migration can drop them.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
Json = JSON().with_variant(JSONB(), "postgresql")
Id = String(64)

releases = Table(
    "releases",
    metadata,
    Column("id", Id, primary_key=True),
    Column("created_at", UtcTime(), nullable=False),
    Column("user", Text),
    Column("task", String(64), nullable=False),
    Column("generator", Text, nullable=False),
    Column("generator_version", Text, nullable=False),
    Column("registered_generator", Boolean, nullable=False),
    Column("sha256", String(64), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("decision", Json, nullable=False),
    Column("manifest_id", Text, nullable=False),
    Column("salt", LargeBinary),
    Column("prompt_hash", String(64)),
    Column("purpose", Text),
    Column("cost", Json, nullable=False),
    Column("state", String(32), nullable=False),
    Column("forgotten_at", UtcTime()),
    Index("ix_releases_created", "created_at", "id"),
)

manifests = Table(
    "manifests",
    metadata,
    Column("id", Text, primary_key=True),  # the C2PA manifest label (urn:c2pa:...)
    Column("release_id", Id, ForeignKey("releases.id", ondelete="CASCADE"), nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index("ix_manifests_release", "release_id"),
)

soft_bindings = Table(
    "soft_bindings",
    metadata,
    Column("release_id", Id, ForeignKey("releases.id", ondelete="CASCADE"), primary_key=True),
    Column("algorithm", String(128), primary_key=True),
    Column("payload", LargeBinary(8), nullable=False),  # unsigned 64 bit, big-endian
    Column("payload_bits", Integer, nullable=False),
    Column("modality", String(16), nullable=False),
    Column("quality", Json, nullable=False),  # psnr_db, snr_db
    # Two releases under one number could not be told apart.
    UniqueConstraint("algorithm", "payload", name="uq_soft_bindings_payload"),
)

fingerprints = Table(
    "fingerprints",
    metadata,
    Column("release_id", Id, ForeignKey("releases.id", ondelete="CASCADE"), primary_key=True),
    Column("format", Integer, nullable=False),
    Column("has_picture", Boolean, nullable=False),
    Column("has_sound", Boolean, nullable=False),
    Column("duration_ms", BigInteger, nullable=False),
    Column("probes", LargeBinary, nullable=False),  # 32-byte hashes, read by every look-up
    Column("data", LargeBinary, nullable=False),
)

# The order in which fingerprints came in, by which an index knows how far it reaches. A number is
# never given twice; the id says which database's numbers they are.
fingerprint_numbers = Table(
    "fingerprint_numbers",
    metadata,
    Column(
        "number",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    Column("release_id", Id, ForeignKey("releases.id", ondelete="CASCADE"), nullable=False),
    UniqueConstraint("release_id", name="uq_fingerprint_numbers_release_id"),
    sqlite_autoincrement=True,
)

fingerprint_numbering = Table(
    "fingerprint_numbering",
    metadata,
    Column("id", String(32), primary_key=True),
)

reservations = Table(
    "reservations",
    metadata,
    Column("id", Id, primary_key=True),
    Column("user", Text, nullable=False),
    Column("created_at", UtcTime(), nullable=False),
    Column("state", String(16), nullable=False),  # held | kept
    Index("ix_reservations_user", "user", "created_at"),
)

# ------------------------------------------------------------ the service

teams = Table(
    "teams",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("created_at", UtcTime(), nullable=False),
    Column("daily_quota", Integer),  # releases a day of each member; None: the installation's
)

users = Table(
    "users",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(128), nullable=False, unique=True),
    Column("created_at", UtcTime(), nullable=False),
    Column("suspended", Boolean, nullable=False),
)

memberships = Table(
    "memberships",
    metadata,
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("team", String(64), ForeignKey("teams.name", ondelete="CASCADE"), primary_key=True),
    Column("role", String(32), primary_key=True),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Id, primary_key=True),  # the prefix that may be shown
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("team", String(64), ForeignKey("teams.name", ondelete="CASCADE"), nullable=False),
    Column("hash", LargeBinary(32), nullable=False),  # SHA-256 of a random 256-bit secret
    Column("scopes", Json, nullable=False),
    Column("created_at", UtcTime(), nullable=False),
    Column("expires_at", UtcTime(), nullable=False),
    Column("revoked_at", UtcTime()),
    Column("made_with", Id, index=True),  # the key of the session that made it; revoked with that
)

# Somebody at an OpenID provider is its issuer and subject, never a name or an address of mail.
identities = Table(
    "identities",
    metadata,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("issuer", Text, nullable=False),
    Column("subject", String(255), nullable=False),
    Column("created_at", UtcTime(), nullable=False),
    Column("seen_at", UtcTime(), nullable=False),
    UniqueConstraint("issuer", "subject", name="uq_identities_issuer"),
)

# Roles that the provider's groups gave at the last login, and until when they hold without another.
provider_roles = Table(
    "provider_roles",
    metadata,
    Column("identity_id", Id, ForeignKey("identities.id", ondelete="CASCADE"), primary_key=True),
    Column("team", String(64), ForeignKey("teams.name", ondelete="CASCADE"), primary_key=True),
    Column("role", String(32), primary_key=True),
    Column("until", UtcTime(), nullable=False),
)

# Logins that are under way at the provider: each is answered once, in the browser that began it.
logins = Table(
    "logins",
    metadata,
    Column("id", String(64), primary_key=True),  # SHA-256 of the state, hex
    Column("browser", String(64), nullable=False),  # SHA-256 of a cookie, hex
    Column("nonce", String(64), nullable=False),
    Column("verifier", String(128), nullable=False),  # of PKCE
    Column("path", Text, nullable=False),  # where to go afterwards
    Column("expires_at", UtcTime(), nullable=False),
)

# A browser of a user in a team. It ends with the key, or the identity, that it began with.
sessions = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),  # SHA-256 of the cookie, hex
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("team", String(64), ForeignKey("teams.name", ondelete="CASCADE"), nullable=False),
    Column("scopes", Json, nullable=False),  # of those that the user holds; null: all
    Column("key_id", Id, ForeignKey("api_keys.id", ondelete="CASCADE"), index=True),
    Column("identity_id", Id, ForeignKey("identities.id", ondelete="CASCADE"), index=True),
    Column("csrf", String(64), nullable=False),
    Column("expires_at", UtcTime(), nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("created_at", UtcTime(), nullable=False),
    Column("updated_at", UtcTime(), nullable=False),
    Column("finished_at", UtcTime()),
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("team", String(64), ForeignKey("teams.name", ondelete="CASCADE"), nullable=False),
    Column("endpoint", String(32), nullable=False),  # videos | images
    Column("idempotency_key", String(255)),
    Column("request", Json, nullable=False),  # emptied when the job is deleted
    Column("state", String(16), nullable=False),
    Column("progress", Integer, nullable=False),
    Column("stage", String(64), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("worker", String(64)),
    Column("lease_until", UtcTime()),
    Column("cancel", Boolean, nullable=False),
    Column("output", String(255)),  # name of the released file in the job's folder
    Column("release_id", String(64)),
    Column("error", Json),  # code, message, appeal
    Column("decision", Json),
    Column("approval", Json),
    UniqueConstraint("user_id", "idempotency_key", name="uq_jobs_idempotency"),
    Index("ix_jobs_state", "state", "created_at"),
    Index("ix_jobs_team", "team", "created_at"),
)

# ------------------------------------------------------------ people

embeddings = Table(
    "embeddings",
    metadata,
    Column("id", Id, primary_key=True),  # of a consent record, or of who refused
    Column("modality", String(16), nullable=False),  # face | voice
    Column("model", String(128), nullable=False),
    Column("key_id", String(16), nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # nonce and AES-256-GCM of the vectors
    Column("created_at", UtcTime(), nullable=False),
    Column("expires_at", UtcTime()),
)

salts = Table(  # of the hashes that stand for people in the ledger
    "salts",
    metadata,
    Column("person", String(128), primary_key=True),
    Column("salt", LargeBinary(), nullable=False),
)
