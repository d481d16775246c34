"""Identities of a provider, logins that are under way, embeddings of people, the index of prints."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    _identities()
    _embeddings()
    _index()


def _identities() -> None:
    pass


def _embeddings() -> None:
    pass


def _index() -> None:
    pass


def downgrade() -> None:
    pass
