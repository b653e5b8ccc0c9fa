"""Live portraits: the state of each user, who is to be rebuilt or published, and who tails which partition.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATEMENTS = """
CREATE TABLE user_states (
  user_id text CONSTRAINT pk_user_states PRIMARY KEY,
  totals bytea NOT NULL,
  items bytea NOT NULL,
  item_ids bytea NOT NULL,
  log bytea NOT NULL,
  neighbours bytea,
  packed bytea NOT NULL,
  snapshot pg_snapshot NOT NULL,
  reference_version integer NOT NULL,
  as_of timestamptz NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE user_states
  ALTER COLUMN totals SET STORAGE EXTERNAL,
  ALTER COLUMN items SET STORAGE EXTERNAL,
  ALTER COLUMN item_ids SET STORAGE EXTERNAL,
  ALTER COLUMN log SET STORAGE EXTERNAL,
  ALTER COLUMN neighbours SET STORAGE EXTERNAL,
  ALTER COLUMN packed SET STORAGE EXTERNAL;
-- Each click rewrites a row of several kilobytes: what it leaves behind is cleared early.
ALTER TABLE user_states SET (
  autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX ix_user_states_partition_updated_at ON user_states ((hashtext(user_id) & 15), updated_at);

CREATE TABLE pending_users (
  user_id text CONSTRAINT pk_pending_users PRIMARY KEY,
  reason text NOT NULL,
  requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT ck_pending_users_reason CHECK (reason IN ('rebuild', 'publish'))
);
CREATE INDEX ix_pending_users_partition_requested_at ON pending_users ((hashtext(user_id) & 15), requested_at);

CREATE TABLE tail_partitions (
  partition smallint CONSTRAINT pk_tail_partitions PRIMARY KEY,
  owner text,
  fence bigint NOT NULL DEFAULT 0,
  expires_at timestamptz,
  snapshot pg_snapshot NOT NULL DEFAULT '1:1:',
  mark timestamptz,
  store_run_id text
);
INSERT INTO tail_partitions (partition) SELECT generate_series(0, 15);

CREATE TABLE quarantined_users (
  user_id text CONSTRAINT pk_quarantined_users PRIMARY KEY,
  error text NOT NULL,
  since timestamptz NOT NULL DEFAULT now()
);
"""

TABLES = ("quarantined_users", "tail_partitions", "pending_users", "user_states")


def upgrade() -> None:
    op.get_bind().exec_driver_sql(STATEMENTS)


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"DROP TABLE IF EXISTS {table} CASCADE")
