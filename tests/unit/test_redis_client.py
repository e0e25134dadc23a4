"""One setting says where Redis is and whether it is a cluster."""

import asyncio

import pytest
from redis.asyncio import Redis, RedisCluster

from streams.edges.errors import SettingsError
from streams.edges.redis.client import AsyncClient, async_client_of, cluster_nodes_of
from streams.edges.settings.reading import read_settings
from streams.edges.settings.specs import url_without_password


def client_of(url: str) -> AsyncClient:
    return async_client_of(read_settings({"SURGEWATCH_REDIS_URL": url}))


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("redis://one:6379/2", Redis),
        ("rediss://one:6379/2", Redis),
        ("unix:///tmp/redis.sock", Redis),
        ("redis-cluster://one:7000", RedisCluster),
        ("rediss-cluster://me:word@one:7000,two:7001/0", RedisCluster),
    ],
)
def test_the_scheme_says_which_client(url: str, kind: type) -> None:
    async def body() -> None:
        client = client_of(url)
        assert isinstance(client, kind)
        await client.aclose()

    asyncio.run(body())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis-cluster://one:7000/3", "a cluster has no database 3"),
        ("redis-cluster://one:many", "a port is a number"),
        ("redis-cluster://one:7000,,two", "several are joined by commas"),
    ],
)
def test_a_wrong_url_of_a_cluster_is_told_with_the_setting(url: str, words: str) -> None:
    with pytest.raises(SettingsError, match=f"redis_url = redis-cluster.*{words}"):
        client_of(url)


def test_every_named_node_is_a_way_in_and_the_password_stays_hidden() -> None:
    url = "rediss-cluster://me:word@one:7000,[::1]:7001,three?ssl_cert_reqs=none"
    first, nodes = cluster_nodes_of(url)
    assert first == "rediss://me:word@one:7000?ssl_cert_reqs=none"
    assert nodes == [("one", 7000), ("::1", 7001), ("three", 6379)]
    assert "word" not in url_without_password(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h/v1/traces?api_key=word1", "http://h/v1/traces?***"),
        ("http://h:4318/v1/traces?word1", "http://h:4318/v1/traces?***"),
        ("http://h/v1/traces?a=b@word1", "http://h/v1/traces?***"),
        ("https://word1@h/v1/traces#word1", "https://***@h/v1/traces#***"),
        ("https://ann:word1@h:4318/v1/traces", "https://***@h:4318/v1/traces"),
        ("https://ann:wo/rd1@h:4318/v1", "https://ann:***@h:4318/v1"),
        ("h:4318/v1/traces?a=1&key=word1", "h:4318/v1/traces?a=***&key=***"),
        ("http://h:4318/v1/traces", "http://h:4318/v1/traces"),
        ("redis://h:6379/0?ssl_cert_reqs=none", "redis://h:6379/0?ssl_cert_reqs=none"),
    ],
)
def test_what_may_be_a_key_in_a_url_is_hidden(url: str, shown: str) -> None:
    assert url_without_password(url) == shown
