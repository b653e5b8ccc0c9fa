"""The spine: catalogue, users, events by month, embeddings, feature tables, impressions, jobs.

Revision ID: 0001
Revises:
"""

from alembic import op

from feature_repo import names

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BEHAVIOUR = ",\n  ".join(f"{n} real" for n in names.BEHAVIOUR_FEATURES)
ENGAGEMENT = ",\n  ".join(f"{n} real" for n in names.ENGAGEMENT_FEATURES)

STATEMENTS = f"""
CREATE EXTENSION IF NOT EXISTS vector;
CREATE SCHEMA IF NOT EXISTS feast;

CREATE TABLE items (
  item_id text CONSTRAINT pk_items PRIMARY KEY,
  title text NOT NULL,
  description text,
  brand text,
  categories text[] NOT NULL DEFAULT '{{}}',
  price double precision,
  currency text,
  attributes jsonb NOT NULL DEFAULT '{{}}',
  image_urls text[] NOT NULL DEFAULT '{{}}',
  video_urls text[] NOT NULL DEFAULT '{{}}',
  available boolean NOT NULL DEFAULT true,
  published_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ix_items_updated_at ON items (updated_at);

CREATE TABLE users (
  user_id text CONSTRAINT pk_users PRIMARY KEY,
  attributes jsonb NOT NULL DEFAULT '{{}}',
  consent jsonb NOT NULL DEFAULT '{{}}',
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE event_keys (
  event_key uuid CONSTRAINT pk_event_keys PRIMARY KEY,
  timestamp timestamptz NOT NULL
);

CREATE SEQUENCE events_sequence CACHE 1000;
CREATE TABLE events (
  event_key uuid NOT NULL,
  timestamp timestamptz NOT NULL,
  event_id text NOT NULL,
  user_id text NOT NULL,
  item_id text,
  type text NOT NULL,
  session_id text,
  request_id text,
  surface text,
  position integer,
  dwell_ms bigint,
  depth real,
  quantity integer,
  price double precision,
  rating real,
  text text,
  query text,
  sentiment real,
  synthetic_time boolean NOT NULL DEFAULT false,
  received_at timestamptz NOT NULL DEFAULT now(),
  txid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  sequence bigint NOT NULL DEFAULT nextval('events_sequence'),
  CONSTRAINT pk_events PRIMARY KEY (event_key, timestamp)
) PARTITION BY RANGE (timestamp);
ALTER SEQUENCE events_sequence OWNED BY events.sequence;
CREATE INDEX ix_events_user_id_timestamp ON events (user_id, timestamp);
CREATE INDEX ix_events_item_id ON events (item_id);
CREATE INDEX ix_events_txid_sequence ON events (txid, sequence);
CREATE INDEX ix_events_unscored ON events (timestamp) WHERE text IS NOT NULL AND sentiment IS NULL;

CREATE FUNCTION ensure_event_partition(moment timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  first timestamptz := date_trunc('month', moment AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
  last timestamptz := (date_trunc('month', moment AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC';
  name text := 'events_' || to_char(moment AT TIME ZONE 'UTC', 'YYYY_MM');
BEGIN
  IF to_regclass(name) IS NOT NULL THEN RETURN; END IF;
  PERFORM pg_advisory_xact_lock(hashtext('ensure_event_partition'));
  IF to_regclass(name) IS NULL THEN
    -- ATTACH locks out other partition makers alone; CREATE … PARTITION OF would lock out every reader until commit.
    EXECUTE format('CREATE TABLE %I (LIKE events INCLUDING ALL)', name);
    EXECUTE format('ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, first, last);
  END IF;
END $$;

CREATE TABLE item_embeddings (
  item_id text NOT NULL,
  modality text NOT NULL,
  encoder text NOT NULL,
  content_hash bytea NOT NULL,
  embedding vector,
  reason text,
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT pk_item_embeddings PRIMARY KEY (item_id, modality, encoder)
);
CREATE INDEX ix_item_embeddings_encoder_content_hash ON item_embeddings (encoder, content_hash);

CREATE TABLE {names.VECTOR_TABLE} (
  item_id text CONSTRAINT pk_item_vectors PRIMARY KEY,
  event_timestamp timestamptz NOT NULL,
  space text NOT NULL,
  modalities text[] NOT NULL DEFAULT '{{}}',
  vector bytea NOT NULL,
  checked_at timestamptz NOT NULL
);
ALTER TABLE {names.VECTOR_TABLE} ALTER COLUMN vector SET STORAGE EXTERNAL;
CREATE INDEX ix_item_vectors_event_timestamp ON {names.VECTOR_TABLE} (event_timestamp);

CREATE TABLE {names.BEHAVIOUR_TABLE} (
  user_id text NOT NULL,
  event_timestamp timestamptz NOT NULL,
  created timestamptz NOT NULL DEFAULT now(),
  {BEHAVIOUR},
  CONSTRAINT pk_behaviour_features PRIMARY KEY (user_id, event_timestamp)
);

CREATE TABLE {names.PROFILE_TABLE} (
  user_id text NOT NULL,
  event_timestamp timestamptz NOT NULL,
  created timestamptz NOT NULL DEFAULT now(),
  confidence real NOT NULL,
  lifecycle text NOT NULL,
  event_count integer NOT NULL,
  newest_event timestamptz,
  interests jsonb NOT NULL,
  recent_items jsonb NOT NULL,
  long_term bytea,
  short_term bytea,
  space text,
  CONSTRAINT pk_profile_features PRIMARY KEY (user_id, event_timestamp)
);

CREATE TABLE {names.AFFINITY_TABLE} (
  user_id text NOT NULL,
  event_timestamp timestamptz NOT NULL,
  created timestamptz NOT NULL DEFAULT now(),
  categories jsonb NOT NULL,
  brands jsonb NOT NULL,
  price_typical real,
  price_low real,
  price_high real,
  CONSTRAINT pk_affinity_features PRIMARY KEY (user_id, event_timestamp)
);

CREATE TABLE {names.SERVING_TABLE} (
  user_id text NOT NULL,
  event_timestamp timestamptz NOT NULL,
  created timestamptz NOT NULL DEFAULT now(),
  packed bytea NOT NULL,
  CONSTRAINT pk_serving_features PRIMARY KEY (user_id, event_timestamp)
);
ALTER TABLE {names.SERVING_TABLE} ALTER COLUMN packed SET STORAGE EXTERNAL;

CREATE TABLE {names.ENGAGEMENT_TABLE} (
  item_id text NOT NULL,
  event_timestamp timestamptz NOT NULL,
  created timestamptz NOT NULL DEFAULT now(),
  {ENGAGEMENT},
  CONSTRAINT pk_item_engagement PRIMARY KEY (item_id, event_timestamp)
);
CREATE INDEX ix_behaviour_features_event_timestamp ON {names.BEHAVIOUR_TABLE} (event_timestamp);
CREATE INDEX ix_profile_features_event_timestamp ON {names.PROFILE_TABLE} (event_timestamp);
CREATE INDEX ix_affinity_features_event_timestamp ON {names.AFFINITY_TABLE} (event_timestamp);
CREATE INDEX ix_serving_features_event_timestamp ON {names.SERVING_TABLE} (event_timestamp);
CREATE INDEX ix_item_engagement_event_timestamp ON {names.ENGAGEMENT_TABLE} (event_timestamp);

CREATE TABLE reference_statistics (
  version integer GENERATED BY DEFAULT AS IDENTITY CONSTRAINT pk_reference_statistics PRIMARY KEY,
  value jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE checkpoints (
  name text CONSTRAINT pk_checkpoints PRIMARY KEY,
  value jsonb NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE impressions (
  request_id text NOT NULL,
  position integer NOT NULL,
  item_id text NOT NULL,
  user_id text NOT NULL,
  surface text,
  timestamp timestamptz NOT NULL,
  score real NOT NULL,
  propensity real NOT NULL DEFAULT 1,
  sources text[] NOT NULL DEFAULT '{{}}',
  model text NOT NULL,
  CONSTRAINT pk_impressions PRIMARY KEY (request_id, position)
);
CREATE INDEX ix_impressions_user_id_timestamp ON impressions (user_id, timestamp);
CREATE INDEX ix_impressions_timestamp ON impressions (timestamp);

CREATE TABLE jobs (
  job_id uuid DEFAULT gen_random_uuid() CONSTRAINT pk_jobs PRIMARY KEY,
  what text NOT NULL,
  key text NOT NULL,
  parameters jsonb NOT NULL DEFAULT '{{}}',
  status text NOT NULL DEFAULT 'queued',
  progress real NOT NULL DEFAULT 0,
  result jsonb,
  error text,
  created_at timestamptz NOT NULL DEFAULT now(),
  started_at timestamptz,
  finished_at timestamptz,
  heartbeat_at timestamptz
);
CREATE UNIQUE INDEX uq_jobs_open_key ON jobs (key) WHERE status IN ('queued', 'running');
CREATE INDEX ix_jobs_created_at ON jobs (created_at);
"""

TABLES = (
    "jobs",
    "checkpoints",
    "impressions",
    "reference_statistics",
    names.ENGAGEMENT_TABLE,
    names.SERVING_TABLE,
    names.AFFINITY_TABLE,
    names.PROFILE_TABLE,
    names.BEHAVIOUR_TABLE,
    names.VECTOR_TABLE,
    "item_embeddings",
    "events",
    "event_keys",
    "users",
    "items",
)


def upgrade() -> None:
    op.get_bind().exec_driver_sql(STATEMENTS.replace("%", "%%"))


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"DROP TABLE IF EXISTS {table} CASCADE")
    op.execute("DROP FUNCTION IF EXISTS ensure_event_partition(timestamptz)")
    op.execute("DROP SCHEMA IF EXISTS feast CASCADE")
