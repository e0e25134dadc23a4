"""Settings: defaults, then a TOML file, then ``SURGEWATCH_…`` variables; the later one wins.

In the file a key is flat (``redis_url = …``) or stands in a table named by its first words
(``[redis] url = …``); ``[detector] name = …`` is the setting ``detector``. A secret may be
read from a file that ``SURGEWATCH_<NAME>_FILE`` names, or the key ``<name>_file``; one line break
at its end is no part of it. An empty variable is one not set.
"""

import difflib
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from streams.core.detection.budget import BudgetError, alarms_per_key_day_of
from streams.edges.errors import SettingsError
from streams.edges.settings.list import Settings
from streams.edges.settings.specs import SPECS, Spec, hidden

__all__ = ["Settings", "SettingsError", "read_settings"]

PREFIX: Final = "SURGEWATCH_"
READ_SETTINGS: Final = "surgewatch.read_settings"
"""Where the command line's context keeps what reads its settings anew, as it was told to."""
TOPICS: Final = ("follows", "comments", "surges", "dead_letters", "waves")
_CONFIG: Final = PREFIX + "CONFIG"
# CACHE and DATA are the build's and the tests'.
_NOT_SETTINGS: Final = frozenset({_CONFIG, PREFIX + "CACHE", PREFIX + "DATA"})
_SECRETS: Final = tuple(spec.name for spec in SPECS.values() if spec.secret)
_SERVICE_LINK = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP)(_\w+)?)?)$")
"""Variables that Kubernetes sets in every pod for a service that is called surgewatch…"""


def read_settings(environ: Mapping[str, str], config_path: Path | None = None) -> Settings:
    """Read the settings; without ``config_path`` from the file that SURGEWATCH_CONFIG names.

    Raises :class:`SettingsError`: unreadable file, unknown key or variable, wrong type, value out
    of range, settings that do not go together.

    >>> settings = read_settings({"SURGEWATCH_RULE_FOLLOWERS_24H": "100"})
    >>> settings.rule_followers_24h, settings.origins
    (100, {'rule_followers_24h': 'SURGEWATCH_RULE_FOLLOWERS_24H'})
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    path = config_path or (Path(environ[_CONFIG]) if environ.get(_CONFIG) else None)
    if path is not None:
        for name, key, value in _file_values(path):
            if name in values:
                msg = f"{path}: {name} is set twice: keep one"
                raise SettingsError(msg)
            values[name] = _checked(SPECS[name], value, where=f"{path}: {key}")
            origins[name] = str(path)
    for name, variable, text in _variables(environ):
        values[name] = _checked(SPECS[name], _parsed(SPECS[name], text), where=variable)
        origins[name] = variable
    settings = Settings(**values, origins=origins)
    _check_together(settings)
    return settings


def _file_values(path: Path) -> Iterator[tuple[str, str, Any]]:
    """Yield (setting, key, value) for every key in the TOML file."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror or error}"
        raise SettingsError(msg) from error
    except ValueError as error:
        msg = f"{path}: is not TOML: {error}"
        raise SettingsError(msg) from error
    yield from _flat(table, "", path)


def _flat(table: Mapping[str, Any], above: str, path: Path) -> Iterator[tuple[str, str, Any]]:
    for key, value in table.items():
        name = f"{above}_{key}" if above else key
        if name == "detector_name":
            name = "detector"
        is_section = isinstance(value, dict) and not (
            name in SPECS and SPECS[name].type_name == "table"
        )
        if is_section and any(known.startswith(name + "_") for known in SPECS):
            yield from _flat(value, name, path)
        elif name in SPECS:
            yield name, name, value
        elif name.removesuffix("_file") in _SECRETS and name.endswith("_file"):
            yield name.removesuffix("_file"), name, _secret_named(path, name, value)
        else:
            known = [*SPECS, *(f"{secret}_file" for secret in _SECRETS)]
            raise SettingsError(_unknown(f"{path}: unknown key", name, value, known))


def _variables(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield (setting, variable, text) for every variable that sets one."""
    names = {PREFIX + name.upper(): name for name in SPECS}
    files = {f"{PREFIX}{name.upper()}_FILE": name for name in _SECRETS}
    in_kubernetes = "KUBERNETES_SERVICE_HOST" in environ
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX) or variable in _NOT_SETTINGS or not text:
            continue
        if in_kubernetes and (
            (_SERVICE_LINK.search(variable) and variable not in names)
            or text.startswith(("tcp://", "udp://"))
        ):
            continue
        if variable in names:
            yield names[variable], variable, text
        elif variable in files:
            other = variable.removesuffix("_FILE")
            if environ.get(other):
                msg = f"{variable}: {other} is set too: keep one"
                raise SettingsError(msg)
            yield files[variable], variable, _secret_in(variable, Path(text))
        else:
            known = [*names, *files, _CONFIG]
            raise SettingsError(_unknown("unknown variable", variable, text, known))


def _secret_named(path: Path, key: str, value: Any) -> str:
    """A secret whose file the settings' file names; a path is from the folder of that file."""
    if not isinstance(value, str):
        msg = f"{path}: {key}: allowed is the path of a file"
        raise SettingsError(msg)
    return _secret_in(f"{path}: {key}", path.parent / value)


def _secret_in(variable: str, path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or error
        msg = f"{variable}: {path} cannot be read: {reason}"
        raise SettingsError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{variable}: {path} is not UTF-8 text"
        raise SettingsError(msg) from error
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        msg = f"{variable}: {path} is empty"
        raise SettingsError(msg)
    return secret


def _parsed(spec: Spec, text: str) -> Any:
    """Value of a variable's text: numbers and tables are read, the rest is text."""
    try:
        if spec.type_name in {"whole number", "number"}:
            kind = int if spec.type_name == "whole number" else float
            return msgspec.convert(text.strip(), kind, strict=False)
        return msgspec.json.decode(text) if spec.type_name == "table" else text
    except msgspec.DecodeError:
        return text


def _checked(spec: Spec, value: Any, *, where: str) -> Any:
    if spec.choices and isinstance(value, str):
        value = next((c for c in spec.choices if c.lower() == value.lower()), value)
    try:
        if spec.is_budget and isinstance(value, str):
            value = alarms_per_key_day_of(value)
        checked = msgspec.convert(value, spec.hint)
        if isinstance(checked, float) and not math.isfinite(checked):
            raise msgspec.ValidationError
    except (msgspec.ValidationError, BudgetError) as error:
        shown = hidden(spec, value)
        msg = f"{where} = {shown}: allowed is {spec.allowed}"
        raise SettingsError(msg) from error
    return checked


def _unknown(what: str, name: str, value: Any, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    # The value may be a password under a mistyped name, so only harmless kinds are shown.
    shown = f" = {value!r}" if isinstance(value, (bool, int, float)) else ""
    hint = f"did you mean {close[0]}?" if close else "`surgewatch config` lists them all"
    return f"{what} {name}{shown}: {hint}"


def _check_together(settings: Settings) -> None:
    _check_logins(settings)
    if settings.budget_pages_per_creator_day > settings.budget_notices_per_creator_day:
        msg = (
            f"budget_pages_per_creator_day = {settings.budget_pages_per_creator_day:g}: pages are "
            "rarer than notices, of which budget_notices_per_creator_day = "
            f"{settings.budget_notices_per_creator_day:g} are asked for"
        )
        raise SettingsError(msg)
    names = [f"topic_{which}" for which in TOPICS]
    topics = [getattr(settings, name) for name in names]
    for name, topic in zip(names, topics, strict=True):
        if topics.count(topic) > 1:
            msg = f"{name} = {topic!r}: each topic needs a name of its own"
            raise SettingsError(msg)


def _check_logins(settings: Settings) -> None:
    """What logins and certificates need of each other."""
    protocol = settings.kafka_security_protocol
    if protocol.startswith("SASL") and not (
        settings.kafka_sasl_username and settings.kafka_sasl_password
    ):
        msg = (
            f"kafka_security_protocol = {protocol}: kafka_sasl_username and kafka_sasl_password "
            "must be set too"
        )
        raise SettingsError(msg)
    for use in ("kafka", "redis", "metrics"):
        certfile = getattr(settings, f"{use}_ssl_certfile")
        for name in (f"{use}_ssl_keyfile", f"{use}_ssl_key_password"):
            if getattr(settings, name) is not None and certfile is None:
                msg = f"{name} is set: {use}_ssl_certfile must be set too"
                raise SettingsError(msg)
    if (settings.metrics_username is None) != (settings.metrics_password is None):
        msg = "metrics_username and metrics_password go together: set both, or neither"
        raise SettingsError(msg)
    login, at, _ = settings.redis_url.partition("://")[2].rpartition("@")
    user, colon, word = login.partition(":")
    for name, in_url in (("redis_username", bool(at and user)), ("redis_password", bool(colon))):
        if in_url and getattr(settings, name) is not None:
            msg = f"{name} is set, and redis_url has one too: keep one"
            raise SettingsError(msg)
    if "ssl_" in settings.redis_url.partition("?")[2]:
        msg = "redis_url has options of TLS: they are settings, redis_ssl_cafile and so on"
        raise SettingsError(msg)
    if not word and colon:
        msg = "redis_url has an empty password: leave the colon out, or give one"
        raise SettingsError(msg)
