"""Rights in Kafka as docs/security.md gives them: its kafka-acls lines, read and carried out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)

from streams.edges.kafka.admin import KafkaAdminClient

PAGE = Path(__file__).parents[1] / "docs/security.md"


class Right(NamedTuple):
    """One operation of a user (``User:…``) on one topic or group."""

    principal: str
    operation: str
    kind: str
    name: str


def documented_rights() -> Iterator[Right]:
    """Rights of all lines, one by one."""
    for line in re.findall(r"^kafka-acls\.sh .*$", PAGE.read_text(), re.MULTILINE):
        words = shlex.split(line)[1:]
        assert "--add" in words, line
        words.remove("--add")
        options = list(zip(words[::2], words[1::2], strict=True))
        (principal,) = (value for option, value in options if option == "--allow-principal")
        for option, name in options:
            if option in {"--topic", "--group"}:
                for other, operation in options:
                    if other == "--operation":
                        kind = option.removeprefix("--")
                        yield Right(principal, operation, kind, name)


def give(admin: KafkaAdminClient, rights: Iterable[Right]) -> None:
    """Give rights."""
    answer = admin.create_acls(
        [
            ACL(
                right.principal,
                "*",
                _operation(right),
                ACLPermissionType.ALLOW,
                ResourcePattern(_kind(right), right.name),
            )
            for right in rights
        ]
    )
    assert not answer["failed"], answer


def take(admin: KafkaAdminClient, right: Right) -> None:
    """Take one right away."""
    pattern = ResourcePatternFilter(_kind(right), right.name, ACLResourcePatternType.LITERAL)
    admin.delete_acls(
        [ACLFilter(right.principal, "*", _operation(right), ACLPermissionType.ALLOW, pattern)]
    )


def _operation(right: Right) -> ACLOperation:
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", right.operation).upper()
    return ACLOperation[name]


def _kind(right: Right) -> ResourceType:
    return ResourceType[right.kind.upper()]
