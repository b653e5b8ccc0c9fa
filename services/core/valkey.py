"""Clients of Valkey or Redis by URL: of one server, or of a cluster (`redis+cluster://`, `rediss+cluster://`), of which
the URL names any node."""

from typing import Any, cast

import redis
from redis import asyncio as redis_asyncio
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException
from redis.retry import Retry

CLUSTER = "+cluster://"
FAILED = (redis.RedisError, RedisClusterException)
"""What a client raises when the server, or the cluster, does not do what it was asked."""

Client = redis.Redis | redis.RedisCluster
AsyncClient = redis_asyncio.Redis | redis_asyncio.RedisCluster


def is_cluster(url: str) -> bool:
    """Whether a URL is that of a cluster."""
    return CLUSTER in url


def connect(url: str, **options: Any) -> Client:
    """A client; `options` are redis-py's. That of a cluster asks for its shards at once.

    Raises:
        one of `FAILED`: no node of the cluster answers.
    """
    if is_cluster(url):
        return redis.RedisCluster.from_url(node_url(url), retry=Retry(NoBackoff(), 1), **options)
    return redis.Redis.from_url(url, **options)


def connect_async(url: str, **options: Any) -> AsyncClient:
    """As `connect`, for asyncio; nothing is asked yet."""
    if is_cluster(url):
        return redis_asyncio.RedisCluster.from_url(node_url(url), **options)
    return redis_asyncio.Redis.from_url(url, **options)


def infos(client: Client, *sections: str) -> list[dict[str, Any]]:
    """What the server, or each shard's primary, says of itself: INFO's fields of some sections together."""
    found: dict[str, dict[str, Any]] = {}
    for section in sections:
        for node, fields in _info(client, section).items():
            found.setdefault(node, {}).update(fields)
    return [found[node] for node in sorted(found)]


def _info(client: Client, section: str) -> dict[str, dict[str, Any]]:
    """INFO's fields by node."""
    if not isinstance(client, redis.RedisCluster):
        return {"": cast(dict[str, Any], client.info(section))}
    said = cast(dict[str, Any], client.info(section, target_nodes=redis.RedisCluster.PRIMARIES))
    nodes = client.get_primaries()
    return said if len(nodes) > 1 else {nodes[0].name: said}


def node_url(url: str) -> str:
    """The URL of the one server that a URL names, also of a node of a cluster."""
    return url.replace(CLUSTER, "://", 1)
