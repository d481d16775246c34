"""First tables: releases, manifests, soft bindings, fingerprints, reservations."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "releases",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("user", sa.Text()),
        sa.Column("task", sa.String(64), nullable=False),
        sa.Column("generator", sa.Text(), nullable=False),
        sa.Column("generator_version", sa.Text(), nullable=False),
        sa.Column("registered_generator", sa.Boolean(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("decision", _JSON, nullable=False),
        sa.Column("manifest_id", sa.Text(), nullable=False),
        sa.Column("salt", sa.LargeBinary()),
        sa.Column("prompt_hash", sa.String(64)),
        sa.Column("purpose", sa.Text()),
        sa.Column("cost", _JSON, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("forgotten_at", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_releases"),
    )
    op.create_index("ix_releases_sha256", "releases", ["sha256"])
    op.create_index("ix_releases_created", "releases", ["created_at", "id"])
    op.create_table(
        "manifests",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("release_id", sa.String(64), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_manifests"),
        _of_release("manifests"),
    )
    op.create_index("ix_manifests_release", "manifests", ["release_id"])
    op.create_table(
        "soft_bindings",
        sa.Column("release_id", sa.String(64), nullable=False),
        sa.Column("algorithm", sa.String(128), nullable=False),
        sa.Column("payload", sa.LargeBinary(8), nullable=False),
        sa.Column("payload_bits", sa.Integer(), nullable=False),
        sa.Column("modality", sa.String(16), nullable=False),
        sa.Column("quality", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("release_id", "algorithm", name="pk_soft_bindings"),
        sa.UniqueConstraint("algorithm", "payload", name="uq_soft_bindings_payload"),
        _of_release("soft_bindings"),
    )
    op.create_table(
        "fingerprints",
        sa.Column("release_id", sa.String(64), nullable=False),
        sa.Column("format", sa.Integer(), nullable=False),
        sa.Column("has_picture", sa.Boolean(), nullable=False),
        sa.Column("has_sound", sa.Boolean(), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("probes", sa.LargeBinary(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("release_id", name="pk_fingerprints"),
        _of_release("fingerprints"),
    )
    op.create_table(
        "reservations",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reservations"),
    )
    op.create_index("ix_reservations_user", "reservations", ["user", "created_at"])


def downgrade() -> None:
    for table in ("reservations", "fingerprints", "soft_bindings", "manifests", "releases"):
        op.drop_table(table)


def _of_release(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["release_id"], ["releases.id"], name=f"fk_{table}_release_id", ondelete="CASCADE"
    )
