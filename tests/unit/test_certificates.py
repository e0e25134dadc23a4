"""What a worker refuses of its files of TLS, the check-up tells of, too, use by use."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streams.app.certificates import CertificatesInUse
from streams.app.doctor.settings import certificate_findings
from streams.edges.errors import SettingsError
from streams.edges.kafka.login import login_options
from streams.edges.metrics.access import metrics_access_of
from streams.edges.redis.tls import redis_context_of
from streams.edges.settings.list import Settings
from streams.edges.settings.reading import read_settings
from streams.edges.tls.causes import tls_cause_of
from tests.certificates import EXPIRED, Authority

WAYS: dict[str, tuple[dict[str, str], Callable[[Settings], object]]] = {
    "kafka": ({"SURGEWATCH_KAFKA_SECURITY_PROTOCOL": "SSL"}, login_options),
    "redis": ({"SURGEWATCH_REDIS_URL": "rediss://localhost:6379/0"}, redis_context_of),
    "metrics": ({}, metrics_access_of),
}
"""Settings with which each has TLS, and what a worker makes of them at its start."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def files(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    garbage = folder / "garbage.pem"
    garbage.write_text("no certificate")
    future = datetime(2049, 12, 31, tzinfo=UTC)
    return {
        "absent": folder / "absent.pem",
        "garbage": garbage,
        "keyless": authority.cafile,
        "ended": authority.issue("ended", "localhost", not_after=EXPIRED),
        "early": authority.issue("early", "localhost", not_before=future, not_after=future),
        "right": authority.issue("right", "localhost", not_after=future),
        "other": authority.issue("other", "localhost"),
    }


@pytest.mark.parametrize("use", WAYS)
@pytest.mark.parametrize("name", ["absent", "garbage", "keyless", "ended", "early", "misfit"])
def test_what_a_worker_does_not_start_with_is_an_error_of_the_check_up_in_the_same_words(
    use: str, name: str, files: dict[str, Path]
) -> None:
    more, start = WAYS[use]
    own = files["right" if name == "misfit" else name]
    variables = more | {f"SURGEWATCH_{use.upper()}_SSL_CERTFILE": str(own)}
    if name == "misfit":
        variables[f"SURGEWATCH_{use.upper()}_SSL_KEYFILE"] = str(files["other"])
    settings = read_settings(variables)
    with pytest.raises(SettingsError) as caught:
        start(settings)
    found = certificate_findings(CertificatesInUse(settings).states(), datetime.now(UTC))
    (told,) = [one for one in found if one.status == "error"]
    assert told.what == str(caught.value)
    assert (told.id, told.subject) == (
        "settings.certificates",
        f"{use}_ssl_{'keyfile' if name == 'misfit' else 'certfile'}",
    )


@pytest.mark.parametrize("use", WAYS)
def test_what_a_worker_starts_with_is_fine(use: str, files: dict[str, Path]) -> None:
    more, start = WAYS[use]
    name = f"SURGEWATCH_{use.upper()}_SSL_CERTFILE"
    settings = read_settings(more | {name: str(files["right"])})
    start(settings)
    (told,) = certificate_findings(CertificatesInUse(settings).states(), datetime.now(UTC))
    assert told.status == "ok"
    assert "2049-12-31" in told.what


@pytest.mark.parametrize("use", ["kafka", "redis"])
def test_authorities_of_which_none_is_left_are_refused_by_their_setting(
    use: str, files: dict[str, Path], tmp_path: Path
) -> None:
    more, start = WAYS[use]
    cafile = tmp_path / "authorities.pem"
    variables = more | {f"SURGEWATCH_{use.upper()}_SSL_CAFILE": str(cafile)}
    cafile.write_bytes(files["ended"].read_bytes().partition(b"-----BEGIN CERTIFICATE")[2])
    ended = b"-----BEGIN CERTIFICATE" + cafile.read_bytes()
    cafile.write_bytes(ended)
    with pytest.raises(SettingsError, match=f"{use}_ssl_cafile = .*last of its auth.*expired on"):
        start(read_settings(variables))
    cafile.write_bytes(ended + files["keyless"].read_bytes())
    start(read_settings(variables))


def test_a_handshake_that_fails_by_an_ended_certificate_names_the_authorities_of_here_too() -> None:
    said = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired"
    assert "redis_ssl_cafile" in (tls_cause_of(said, "redis_ssl", "redis_url") or "")
