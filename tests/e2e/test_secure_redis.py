"""Redis with TLS and an ACL user: its documented rights are enough, and each of them is needed."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis

from streams.app.worker.worker import redis_store_of
from streams.edges.errors import RedisRefusesUs, SurgewatchError
from streams.edges.files.state_file import Hashes, PlaceBegins
from streams.edges.redis.client import async_client_of
from streams.edges.redis.reader import RedisReader
from streams.edges.redis.rights import NEEDED
from streams.edges.redis.servers import RedisServers
from streams.edges.redis.state import RedisStates
from streams.edges.redis.store import RedisStore
from streams.edges.settings.list import Settings
from streams.edges.settings.reading import read_settings
from streams.edges.settings.specs import url_without_password
from streams.edges.store import Fence, KeyLimit, Place, StoreKind, Write
from tests.certificates import EXPIRED, Authority
from tests.conftest import start_or_say
from tests.jobs import follow_partition, follows
from tests.redis_cluster import RedisCluster
from tests.secure_servers import PASSWORD, USER, SecureRedis
from tests.servers import RedisServer

PAGE = Path(__file__).parents[2] / "docs/security.md"
PLACE = Place("follows", 0)
FOLLOWS = [(f"c-{number}", 1_736_899_200_000 + number, False) for number in range(100)] * 3
WITHOUT_IT_GOES_ON = {"info", "bgrewriteaof"}
"""Rights that only checks need, which are left out where they are lacking."""
OF_THE_CONNECTION = {"auth", "hello", "config|resetstat", "acl|log", "client|setinfo"}
"""The tests' own, and what needs no right or is passed over without it."""
LEFT_OUT = {"config|get"}
"""Asked for once, for a hint about memory; not given, since it also tells passwords."""


def documented_acl(name: str = USER) -> str:
    """What the page's line of a user gives, after its name and password."""
    (found,) = re.findall(
        rf"^ACL SETUSER {name} on >PASSWORD (.*)$", PAGE.read_text(), re.MULTILINE
    )
    return str(found)


def rights_of(acl: str) -> list[str]:
    """Commands that an ACL gives."""
    return [word.removeprefix("+") for word in acl.split() if word.startswith("+")]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureRedis]:
    certificate = authority.issue("redis", "localhost")
    folder = tmp_path_factory.mktemp("redis")
    redis = SecureRedis(folder, authority, certificate, documented_acl(), "optional")
    start_or_say(redis)
    yield redis
    redis.stop()


def settings_of(server: SecureRedis, authority: Authority, **more: str) -> Settings:
    named = {
        "redis_url": server.secure_url,
        "redis_username": USER,
        "redis_password": PASSWORD,
        "redis_ssl_cafile": str(authority.cafile),
        "redis_timeout_ms": "1000",
        **more,
    }
    return read_settings({f"SURGEWATCH_{k.upper()}": v for k, v in named.items() if v})


async def use_all(settings: Settings) -> None:
    """Do all that a worker does with Redis, through the code that a worker does it with."""
    client = async_client_of(settings)
    store = redis_store_of(settings, client)
    try:
        servers = RedisServers(client, url_without_password(settings.redis_url))
        await servers.check()
        await servers.advise()
        await servers.clock_off_ms(lambda: time.time_ns() // 1_000_000)
        await store.check(StoreKind(4, "surgewatch", "group"))
        fence = await store.claim(PLACE, 1)
        await _write_and_read(store, fence)
        assert [place async for place in store.places()] == [PLACE]
        await store.drop(PLACE, fence)
    finally:
        await store.close()


async def _write_and_read(store: RedisStore, fence: Fence) -> None:
    store._file.suspect_failure()  # so that the file is written anew
    partition = follow_partition(2)
    surges = partition.take(follows(FOLLOWS)).surges
    await store.write(PLACE, fence, Write(partition.drain(), None, 300, {"lot": b"{}"}))
    partition.take(follows([("c-0", 1_736_999_200_000, False)]))
    gone = partition.drain()
    gone.surges[surges[0].surge_id] = None
    await store.write(PLACE, fence, Write(gone, 300, 301, {}, ["lot"]))
    held = await store.read(PLACE)
    assert held.next_offset == 301
    left_out = (await store.read(PLACE, KeyLimit(0, ("follows",)))).state.left_out
    assert set(left_out) == {"follows"}
    await store.read_keys(PLACE, {"follows": [(0, b"c-1")]})


def read_all(settings: Settings) -> None:
    """Do all that ``surgewatch counts`` does with Redis."""
    with RedisReader(settings) as reader:
        assert reader.partition_count() == 4
        shelf = reader.shelf(PLACE)
        for series in shelf.groups or {"follows": 1}:
            reader.value(shelf, series, "c-1")


def use_and_read(settings: Settings) -> None:
    asyncio.run(use_all(settings))
    read_all(settings)


def denied(server: RedisServer) -> set[str]:
    """Commands that were refused since the last look."""
    with Redis.from_url(server.url) as admin:
        refused = {one["object"].lower() for one in admin.acl_log() if one["username"] == USER}
        admin.acl_log_reset()
    return refused


def grant(server: RedisServer, acl: str) -> None:
    with Redis.from_url(server.url) as admin:
        admin.flushall()
        admin.script_flush()
        admin.execute_command("ACL", "SETUSER", USER, "reset", "on", f">{PASSWORD}", *acl.split())
        admin.config_resetstat()


def used(server: RedisServer) -> set[str]:
    """Commands that were run since the rights were given, those inside of scripts too."""
    with Redis.from_url(server.url) as admin:
        stats = admin.info("commandstats")
    names = {name.removeprefix("cmdstat_") for name, told in stats.items() if told["calls"]}
    return names - OF_THE_CONNECTION


def test_the_documented_rights_are_those_that_are_used(
    server: SecureRedis, authority: Authority
) -> None:
    grant(server, documented_acl())
    use_and_read(settings_of(server, authority))
    # both ways: nothing that is used is missing, and nothing more is given
    assert denied(server) == LEFT_OUT
    assert used(server) == set(rights_of(documented_acl()))


def test_the_doctor_asks_for_the_same_rights() -> None:
    asked = {"|".join(one[:2]) if one[0] == "SCRIPT" else one[0] for one in NEEDED}
    needed = {right.upper() for right in rights_of(documented_acl())}
    assert asked | {right.upper() for right in WITHOUT_IT_GOES_ON} == needed


@pytest.mark.parametrize("right", rights_of(documented_acl()))
def test_without_one_of_the_rights_something_is_refused_and_said(
    server: SecureRedis, authority: Authority, right: str
) -> None:
    acl = documented_acl().replace(f"+{right} ", "").removesuffix(f" +{right}")
    assert right not in rights_of(acl)
    grant(server, acl)
    settings = settings_of(server, authority)
    if right in WITHOUT_IT_GOES_ON:
        use_and_read(settings)
    else:
        with pytest.raises(RedisRefusesUs, match=r"its user lacks a right .*docs/security\.md"):
            use_and_read(settings)
    assert right in denied(server)


def test_an_import_needs_two_rights_more_and_asks_before_it_changes_anything(
    server: SecureRedis, authority: Authority
) -> None:
    settings = settings_of(server, authority)
    begins = PlaceBegins(PLACE.topic, PLACE.partition, {"offset": b"7"})
    hashes = Hashes([("s:follows:0", [b"c-1", b"new"])])

    async def put_back() -> None:
        async with RedisStates(settings) as states:
            await states.check_rights(PLACE)
            staging = states.staging(begins)
            await staging.put(hashes)
            await staging.swap(await states.meta(PLACE))

    grant(server, documented_acl())
    (more,) = re.findall(r"^ACL SETUSER surgewatch (\+hlen.*)$", PAGE.read_text(), re.MULTILINE)
    rights = rights_of(more)
    with Redis.from_url(server.url) as admin:
        key = "surgewatch:{follows:0}:s:follows:0"
        admin.hset(key, "c-1", "old")
        for given in ([], *([one] for one in rights)):
            admin.execute_command("ACL", "SETUSER", USER, *(f"+{one}" for one in given))
            lacking = ", ".join(one.upper() for one in rights if one not in given)
            with pytest.raises(RedisRefusesUs, match=f"may not use {lacking}, which state import"):
                asyncio.run(put_back())
            assert admin.keys() == [key.encode()]
            admin.execute_command("ACL", "SETUSER", USER, *(f"-{one}" for one in given))
        admin.execute_command("ACL", "SETUSER", USER, *more.split())
        asyncio.run(put_back())
        assert admin.hgetall(key) == {b"c-1": b"new"}


def test_keys_of_another_prefix_are_refused(server: SecureRedis, authority: Authority) -> None:
    grant(server, documented_acl())
    with pytest.raises(RedisRefusesUs, match="permissions to access one of the keys"):
        use_and_read(settings_of(server, authority, redis_prefix="other"))


@pytest.mark.parametrize("where", ["setting", "url"])
def test_the_login_may_stand_in_the_settings_or_in_the_url(
    server: SecureRedis, authority: Authority, where: str
) -> None:
    grant(server, documented_acl())
    login = f"//{USER}:{PASSWORD.replace(' ', '%20')}@"
    more = {
        "setting": {},
        "url": {
            "redis_url": server.secure_url.replace("//", login),
            "redis_username": "",
            "redis_password": "",
        },
    }
    use_and_read(settings_of(server, authority, **more[where]))


def refusal(settings: Settings) -> str:
    """The one line with which a worker and ``counts`` end."""
    lines = []
    uses: list[Callable[[Settings], None]] = [lambda s: asyncio.run(use_all(s)), read_all]
    for use in uses:
        began = time.monotonic()
        with pytest.raises(SurgewatchError) as caught:
            use(settings)
        assert time.monotonic() - began < 5
        assert isinstance(caught.value, RedisRefusesUs), caught.value
        assert (caught.value.exit_code, caught.value.retry) == (3, False)
        lines.append(str(caught.value))
    assert lines[0] == lines[1]
    assert "\n" not in lines[0]
    assert PASSWORD not in lines[0]
    return lines[0]


def test_each_wrong_way_to_speak_to_it_is_told_in_one_line(
    server: SecureRedis, authority: Authority, tmp_path: Path
) -> None:
    grant(server, documented_acl())
    other = Authority(tmp_path, "other")
    wrong: dict[str, dict[str, str]] = {
        "wrong or missing user name or password": {"redis_password": "wrong"},
        "an authority that is not trusted here: see redis_ssl_cafile": {
            "redis_ssl_cafile": str(other.cafile)
        },
        "for another host name, not 127.0.0.1": {
            "redis_url": server.secure_url.replace("localhost", "127.0.0.1")
        },
        "it speaks TLS at this address: begin SURGEWATCH_REDIS_URL with rediss://": {
            "redis_url": server.secure_url.replace("rediss", "redis")
        },
        "it does not speak TLS at this address: begin SURGEWATCH_REDIS_URL with redis://": {
            "redis_url": server.plain_url.replace("redis", "rediss")
        },
    }
    for words, more in wrong.items():
        assert words in refusal(settings_of(server, authority, **more))


def test_certificates_of_both_sides_are_checked(authority: Authority, tmp_path: Path) -> None:
    expired = authority.issue("redis-expired", "localhost", not_after=EXPIRED)
    strict = SecureRedis(tmp_path / "redis", authority, expired, documented_acl(), "yes")
    ours = authority.issue("worker", "worker", password="key's word")
    with strict:
        assert "its certificate has expired" in refusal(
            settings_of(strict, authority, redis_ssl_certfile=str(authority.issue("a", "a")))
        )
        good = authority.issue("redis-good", "localhost")
        with Redis.from_url(strict.url) as admin:
            admin.config_set("tls-key-file", str(good), "tls-cert-file", str(good))
        foreign = Authority(tmp_path, "foreign").issue("stranger", "stranger")
        for certificate in ("", str(foreign)):
            settings = settings_of(strict, authority, redis_ssl_certfile=certificate)
            assert "wants one that is not set: see redis_ssl_certfile" in refusal(settings)
        use_and_read(
            settings_of(
                strict,
                authority,
                redis_ssl_certfile=str(ours),
                redis_ssl_key_password="key's word",
            )
        )


def test_a_renewed_authority_counts_from_the_next_connection_on(
    authority: Authority, tmp_path: Path
) -> None:
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    cafile = tmp_path / "trusted.pem"
    cafile.write_bytes(old.cafile.read_bytes())
    certificate = tmp_path / "server.pem"
    certificate.write_bytes(old.issue("redis", "localhost").read_bytes())
    acl = documented_acl()
    with SecureRedis(tmp_path / "redis", old, certificate, acl, "no") as redis:
        settings = settings_of(redis, authority, redis_ssl_cafile=str(cafile))

        async def renew() -> None:
            client = async_client_of(settings)
            try:
                await client.hgetall("surgewatch:layout")
                certificate.write_bytes(new.issue("redis", "localhost").read_bytes())
                with Redis.from_url(redis.url) as admin:
                    admin.config_set(
                        "tls-key-file", str(certificate), "tls-cert-file", str(certificate)
                    )
                    admin.execute_command("CLIENT", "KILL", "USER", USER)
                with suppress(Exception):
                    await client.hgetall("surgewatch:layout")
                with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
                    await client.hgetall("surgewatch:layout")
                cafile.write_bytes(new.cafile.read_bytes())
                assert await client.hgetall("surgewatch:layout") == {}
            finally:
                await client.aclose()

        asyncio.run(renew())


def test_a_cluster_needs_a_few_rights_more(tmp_path: Path) -> None:
    more = re.findall(r"^ACL SETUSER surgewatch (\+cluster.*)$", PAGE.read_text(), re.MULTILINE)
    acl = f"{documented_acl()} {more[0]}"
    with RedisCluster(tmp_path) as cluster:
        for server in cluster.servers:
            grant(server, acl)
        settings = read_settings(
            {
                "SURGEWATCH_REDIS_URL": cluster.url,
                "SURGEWATCH_REDIS_USERNAME": USER,
                "SURGEWATCH_REDIS_PASSWORD": PASSWORD,
            }
        )
        use_and_read(settings)
        assert set().union(*(denied(server) for server in cluster.servers)) <= LEFT_OUT
