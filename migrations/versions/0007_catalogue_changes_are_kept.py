"""Changes of the catalogue are kept for a day: a recompute that read it before them can tell who holds the items.

Revision ID: 0007
Revises: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE catalogue_changes ADD COLUMN changed_at timestamptz NOT NULL DEFAULT now()")


def downgrade() -> None:
    op.execute("ALTER TABLE catalogue_changes DROP COLUMN changed_at")
