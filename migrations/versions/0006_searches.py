"""Searches as they were answered, what came of each query, and which items people take after asking it.

Revision ID: 0006
Revises: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STATEMENTS = """
CREATE TABLE searches (
  request_id text CONSTRAINT pk_searches PRIMARY KEY,
  timestamp timestamptz NOT NULL,
  user_id text,
  surface text,
  query text NOT NULL,
  normalised text NOT NULL,
  corrected text,
  mode text NOT NULL,
  total integer NOT NULL,
  clicked boolean NOT NULL DEFAULT false,
  txid xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX ix_searches_user_id_timestamp ON searches (user_id, timestamp);
CREATE INDEX ix_searches_timestamp ON searches (timestamp);
CREATE INDEX ix_searches_txid ON searches (txid);

CREATE TABLE query_statistics (
  query text CONSTRAINT pk_query_statistics PRIMARY KEY,
  example text NOT NULL,
  searches bigint NOT NULL,
  zero_results bigint NOT NULL,
  results bigint NOT NULL,
  clicked bigint NOT NULL DEFAULT 0,
  clicks bigint NOT NULL DEFAULT 0,
  carts bigint NOT NULL DEFAULT 0,
  purchases bigint NOT NULL DEFAULT 0,
  positions bigint NOT NULL DEFAULT 0,
  positioned bigint NOT NULL DEFAULT 0,
  recent double precision NOT NULL,
  first_at timestamptz NOT NULL,
  last_at timestamptz NOT NULL
);
CREATE INDEX ix_query_statistics_recent ON query_statistics (recent);

CREATE TABLE query_items (
  query text NOT NULL,
  item_id text NOT NULL,
  clicks bigint NOT NULL,
  carts bigint NOT NULL,
  purchases bigint NOT NULL,
  weight double precision NOT NULL,
  last_at timestamptz NOT NULL,
  CONSTRAINT pk_query_items PRIMARY KEY (query, item_id)
);
"""

TABLES = ("query_items", "query_statistics", "searches")


def upgrade() -> None:
    op.get_bind().exec_driver_sql(STATEMENTS)


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"DROP TABLE IF EXISTS {table} CASCADE")
