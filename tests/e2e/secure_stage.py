"""A Kafka and a Redis that ask who one is, with exactly the rights that docs/security.md gives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from streams.edges.kafka.admin import admin_client
from streams.edges.kafka.topics import create_topics
from streams.edges.settings.reading import read_settings
from tests.certificates import Authority
from tests.conftest import start_or_say
from tests.kafka_rights import PAGE, documented_rights, give
from tests.secure_servers import PASSWORD, USER, SecureKafka, SecureRedis
from tests.workers import Site

SMALL = {"SURGEWATCH_RULE_FOLLOWERS_24H": "500", "SURGEWATCH_RULE_COMMENTS_24H": "200"}
QUICK = {"SURGEWATCH_KAFKA_SESSION_TIMEOUT_MS": "6000", "SURGEWATCH_METRICS_PORT": "0"}


def documented_acl() -> str:
    """What the page's line gives the user of Redis, after its name and password."""
    line = rf"^ACL SETUSER {USER} on >PASSWORD (.*)$"
    (found,) = re.findall(line, PAGE.read_text(), re.MULTILINE)
    return str(found)


@dataclass(frozen=True)
class SecureStage:
    """Both servers, the topics made, and secrets in files."""

    folder: Path
    authority: Authority
    kafka: SecureKafka
    redis: SecureRedis

    @property
    def password_file(self) -> Path:
        """File of the one password that all users have."""
        return self.folder / "password"

    def environ(self, user: str = USER) -> dict[str, str]:
        """Variables of a user of Kafka; all topics, the group and the prefix by their defaults."""
        return {
            "SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS": self.kafka.login,
            "SURGEWATCH_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "SURGEWATCH_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "SURGEWATCH_KAFKA_SASL_USERNAME": user,
            "SURGEWATCH_KAFKA_SASL_PASSWORD_FILE": str(self.password_file),
            "SURGEWATCH_KAFKA_SSL_CAFILE": str(self.authority.cafile),
            "SURGEWATCH_REDIS_URL": self.redis.secure_url,
            "SURGEWATCH_REDIS_USERNAME": USER,
            "SURGEWATCH_REDIS_PASSWORD_FILE": str(self.password_file),
            "SURGEWATCH_REDIS_SSL_CAFILE": str(self.authority.cafile),
            **SMALL,
            **QUICK,
        }

    def eyes(self, folder: Path) -> Site:
        """The same as tests see it, who may do everything and are asked nothing."""
        names = {
            "SURGEWATCH_KAFKA_GROUP": "surgewatch",
            "SURGEWATCH_REDIS_PREFIX": "surgewatch",
            **{
                f"SURGEWATCH_TOPIC_{topic.upper().replace('-', '_')}": topic
                for topic in ("follows", "comments", "surges", "dead-letters", "waves")
            },
        }
        return Site(self.kafka.bootstrap, self.redis.url, "surgewatch", folder, names | SMALL)


class SecureSite(Site):
    """A site whose variables are given whole."""

    @property
    def environ(self) -> dict[str, str]:
        """The variables."""
        return dict(self.more)


@contextmanager
def secure_stage(folder: Path) -> Iterator[SecureStage]:
    """Start both, give the rights and make the topics as the documented user who may."""
    authority = Authority(folder / "authority")
    kafka = SecureKafka(folder / "kafka", authority)
    certificate = authority.issue("redis", "localhost")
    redis = SecureRedis(folder / "redis", authority, certificate, documented_acl(), "optional")
    stage = SecureStage(folder, authority, kafka, redis)
    stage.password_file.write_text(f"{PASSWORD}\n")
    try:
        start_or_say(redis)
        start_or_say(kafka)
        eyes = stage.eyes(folder).settings
        with admin_client(eyes) as admin:
            give(admin, documented_rights())
        create_topics(read_settings(stage.environ("surgewatch-admin")))
        yield stage
    finally:
        kafka.stop()
        redis.stop()
