"""What lists were ranked by: of a served request its portrait's version, snapshot, model, inputs and feature vectors.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STATEMENTS = """
CREATE TABLE served_requests (
  request_id text CONSTRAINT pk_served_requests PRIMARY KEY,
  user_id text NOT NULL,
  timestamp timestamptz NOT NULL,
  portrait_at timestamptz,
  snapshot text NOT NULL,
  model_version text NOT NULL,
  feature_hash text NOT NULL,
  request bytea NOT NULL,
  features bytea NOT NULL
);
-- Floats hardly compress, and the gateway waits for none of it.
ALTER TABLE served_requests ALTER COLUMN features SET STORAGE EXTERNAL;
CREATE INDEX ix_served_requests_timestamp_request_id ON served_requests (timestamp, request_id);
CREATE INDEX ix_served_requests_user_id ON served_requests (user_id);
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(STATEMENTS)


def downgrade() -> None:
    op.execute("DROP TABLE IF EXISTS served_requests")
