"""What is said about settings: allowed values, tables for people, secrets hidden."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec

from streams.edges.settings.list import Settings

_HIDDEN: Final = "***"
_OF_ONE_WORKER: Final = frozenset(
    {
        *("kafka_bootstrap_servers", "kafka_instance_id", "kafka_ssl_cafile"),
        *("kafka_ssl_certfile", "kafka_ssl_keyfile", "kafka_sasl_username"),
        *("redis_ssl_cafile", "redis_ssl_certfile", "redis_ssl_keyfile", "redis_username"),
        *("metrics_ssl_certfile", "metrics_ssl_keyfile", "metrics_username"),
        *("metrics_host", "metrics_port", "log_level", "log_format"),
        *("traces_endpoint", "traces_sample_share"),
    }
)
"""Settings in which the workers of a fleet may differ."""
_URL_PASSWORD = re.compile(r"(://[^:/@\s]*:).*(?=@)")
_URL_NO_PORT = re.compile(r"(://[^:/@\s\[]*:)(?!\d+(?:[/?,]|$))[^@]*$")
_QUERY_PASSWORD = re.compile(r"([?&]password=)[^&\s]*")
_REDIS = re.compile(r"\s*redis", re.IGNORECASE)
_WEB_QUERY = re.compile(r"(\s*https?://[^?#]*[?#]).*", re.IGNORECASE | re.DOTALL)
_WEB_LOGIN = re.compile(r"(https?://)[^/]*@", re.IGNORECASE)
_QUERY_VALUE = re.compile(r"([?&][^=&\s/]+=)[^&\s]*")


@dataclass(frozen=True, slots=True)
class Spec:
    """One setting as declared in ``Settings``."""

    name: str
    hint: Any
    type_name: str
    default: Any
    allowed: str
    choices: tuple[str, ...]
    secret: bool
    meaning: str
    is_budget: bool = False
    """It may be said in words too: ``1 in 1,000 creators a day``."""


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One line of ``surgewatch config``; ``value`` is text with secrets hidden."""

    name: str
    value: str
    origin: str
    default: str
    allowed: str
    meaning: str


def settings_table(settings: Settings) -> list[SettingRow]:
    """Every setting in force, in the order of the list, secrets hidden.

    >>> settings_table(Settings())[0].value
    '127.0.0.1:9092'
    """
    return [
        SettingRow(
            name=spec.name,
            value=hidden(spec, getattr(settings, spec.name)),
            origin=settings.origins.get(spec.name, "default"),
            default=hidden(spec, spec.default),
            allowed=spec.allowed,
            meaning=spec.meaning,
        )
        for spec in SPECS.values()
    ]


def settings_markdown() -> str:
    """Write the README's table of settings: generated, so that it cannot lag behind the list."""
    lines = ["| Setting | Default | Allowed | Meaning |", "|---|---|---|---|"]
    for spec in SPECS.values():
        default = f"`{hidden(spec, spec.default)}`" if spec.default is not None else "none"
        allowed = spec.allowed + ("; secret" if spec.secret else "")
        lines.append(f"| `{spec.name}` | {default} | {allowed} | {spec.meaning} |")
    return "\n".join(lines) + "\n"


def digest_of(settings: Settings) -> str:
    """12 hexadecimal digits of what all workers of a fleet must have in common.

    No secret is in it, nor what may differ from worker to worker.

    >>> digest_of(Settings()) == digest_of(Settings(metrics_port=0, redis_password="a"))
    True
    >>> digest_of(Settings()) == digest_of(Settings(rule_followers_24h=7))
    False
    """
    shared = {
        spec.name: hidden(spec, getattr(settings, spec.name))
        for spec in SPECS.values()
        if not spec.secret and spec.name not in _OF_ONE_WORKER
    }
    text = msgspec.json.encode(shared, order="deterministic")
    return hashlib.blake2b(text, digest_size=6).hexdigest()


def hidden(spec: Spec, value: Any) -> str:
    """Text of a value for people: no secret, no password inside a URL, on one line."""
    if value is None:
        return "none"
    if spec.secret:
        return _HIDDEN
    if isinstance(value, dict):
        # A detector's parameters hold no secrets, but a table under a wrong key may.
        return msgspec.json.encode(value, enc_hook=str).decode()
    text = str(value) if isinstance(value, (str, int, float)) else repr(value)
    return url_without_password(" ".join(text.split()) or "''")


def url_without_password(url: str) -> str:
    """Replace every password in a URL by ``***``; too much rather than too little.

    Of a web server's the login and what is asked for: either may be a key by itself.

    >>> url_without_password("redis://user:word@host:6379/0?password=word")
    'redis://user:***@host:6379/0?password=***'
    >>> url_without_password("https://key@host:4318/v1/traces?api_key=word&x=1")
    'https://***@host:4318/v1/traces?***'
    """
    if not _REDIS.match(url):
        url = _WEB_LOGIN.sub(rf"\1{_HIDDEN}@", _WEB_QUERY.sub(rf"\1{_HIDDEN}", url))
        url = _QUERY_VALUE.sub(rf"\1{_HIDDEN}", url)  # with a scheme that was forgotten
    url = _URL_PASSWORD.sub(rf"\1{_HIDDEN}", url)
    url = _URL_NO_PORT.sub(rf"\1{_HIDDEN}", url)  # a password after which the host was forgotten
    return _QUERY_PASSWORD.sub(rf"\1{_HIDDEN}", url)


def _specs() -> Mapping[str, Spec]:
    hints = get_type_hints(Settings, include_extras=True)
    fields = {field.name: field for field in msgspec.structs.fields(Settings)}
    specs = {}
    for name, hint in hints.items():
        if name == "origins":
            continue
        field = fields[name]
        default = {} if field.default is msgspec.NODEFAULT else field.default
        specs[name] = _spec(name, hint, default)
    return specs


def _spec(name: str, hint: Any, default: Any) -> Spec:
    inner = next(a for a in (get_args(hint) if NoneType in get_args(hint) else (hint,)))
    kind, meta = _bare(inner)
    extra: dict[str, Any] = dict(meta.extra or {})
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    if choices:
        type_name = "text"
    else:
        names = {int: "whole number", float: "number", str: "text"}
        type_name = names.get(kind, "table")
    allowed = extra.get("allowed") or _allowed(type_name, choices, meta)
    return Spec(
        name=name,
        hint=hint,
        type_name=type_name,
        default=default,
        allowed=allowed,
        choices=choices,
        secret=bool(extra.get("secret")),
        meaning=meta.description or "",
        is_budget=bool(extra.get("budget")),
    )


def _bare(hint: Any) -> tuple[Any, msgspec.Meta]:
    if get_origin(hint) is Annotated:
        kind, meta = get_args(hint)
        if isinstance(meta, msgspec.Meta):
            return kind, meta
    message = f"a setting without a msgspec.Meta: {hint}"
    raise TypeError(message)


def _allowed(type_name: str, choices: tuple[str, ...], meta: msgspec.Meta) -> str:
    if choices:
        return "one of " + ", ".join(choices)
    if meta.ge is not None:
        return f"a {type_name} from {meta.ge} to {meta.le}"
    if meta.gt is not None:
        upper = f"at most {meta.le:g}" if meta.lt is None else f"below {meta.lt:g}"
        return f"a {type_name} above {meta.gt}, {upper}"
    return f"a {type_name}"


SPECS: Final[Mapping[str, Spec]] = _specs()
"""Every setting by its name, in the order of the list."""
