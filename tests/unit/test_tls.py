"""TLS from files: what is refused and how it is said; renewal; when a certificate ends."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_certificates
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from streams.app.certificates import CertificatesInUse
from streams.edges.errors import SettingsError
from streams.edges.metrics.certificates import Certificates
from streams.edges.settings.reading import read_settings
from streams.edges.tls.certificates import NotCertificate, last_end_of, validity_of
from streams.edges.tls.contexts import FilesInUse, RenewingContext
from streams.edges.tls.files import TlsFiles
from tests.certificates import EXPIRED, Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def own(authority: Authority) -> Path:
    return authority.issue("own", "localhost")


def handshake(client: ssl.SSLContext, server: ssl.SSLContext) -> str:
    """Agree in memory, as asyncio does; the common name that the client saw."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    told = ours.getpeercert()
    assert told is not None
    subject = told["subject"]
    assert isinstance(subject, tuple)
    return str(dict(pair for part in subject for pair in part)["commonName"])  # type: ignore[misc]


def refusal(files: TlsFiles) -> str:
    with pytest.raises(SettingsError) as caught:
        RenewingContext.of(files)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_that_cannot_be_used_is_named_with_its_setting(
    authority: Authority, own: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.pem"
    text.write_text("no certificate")
    other = authority.issue("other", "localhost")
    secret = authority.issue("secret", "localhost", password="word")
    expired = authority.issue("expired", "localhost", not_after=EXPIRED)
    cases = [
        (TlsFiles("x", cafile=str(text)), f"x_cafile = {text}: holds no certificate"),
        (TlsFiles("x", cafile=str(tmp_path)), f"x_cafile = {tmp_path}: cannot be read: Is a dir"),
        (TlsFiles("x", certfile="/none"), "x_certfile = /none: cannot be read: No such file"),
        (TlsFiles("x", certfile=str(text)), f"x_certfile = {text}: holds no certificate"),
        (TlsFiles("x", certfile=str(authority.cafile)), "holds no private key"),
        (TlsFiles("x", certfile=str(own), keyfile=str(other)), "is not the key of x_certfile"),
        (TlsFiles("x", certfile=str(secret)), "is encrypted, and x_key_password is missing"),
        (TlsFiles("x", certfile=str(secret), key_password="no"), "x_key_password is wrong"),
        (TlsFiles("x", certfile=str(expired)), f"expired on {EXPIRED:%Y-%m-%d %H:%M} UTC: renew"),
        (TlsFiles("x", cafile=str(expired)), "the last of its authorities expired on"),
    ]
    for files, words in cases:
        assert words in refusal(files), files
    right = TlsFiles("x", certfile=str(secret), key_password="word")
    assert RenewingContext.of(right).check_hostname
    assert "word" not in repr(right)


def test_a_renewed_certificate_is_served_at_once_and_half_a_renewal_is_not(
    authority: Authority, own: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    served = tmp_path / "served.pem"
    served.write_bytes(own.read_bytes())
    server = RenewingContext.of(TlsFiles("x", certfile=str(served)), is_server=True)
    client = RenewingContext.of(TlsFiles("y", cafile=str(authority.cafile)))
    assert handshake(client, server) == "own"
    served.write_text("half of a file")
    with caplog.at_level(logging.INFO):
        assert handshake(client, server) == "own"
        assert "x_certfile" in caplog.text
        assert "what was read before is used on" in caplog.text
        assert handshake(client, server) == "own"
        assert caplog.text.count("what was read before") == 1, "once, not at each handshake"
        served.write_bytes(authority.issue("renewed", "localhost").read_bytes())
        assert handshake(client, server) == "renewed"
    assert "x files were read anew" in caplog.text


def test_an_authority_that_is_taken_out_of_the_file_is_trusted_no_more(
    authority: Authority, own: Path, tmp_path: Path
) -> None:
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(authority.cafile.read_bytes())
    server = RenewingContext.of(TlsFiles("x", certfile=str(own)), is_server=True)
    client = RenewingContext.of(TlsFiles("y", cafile=str(trusted)))
    assert handshake(client, server) == "own"
    trusted.write_bytes(Authority(tmp_path, "other").cafile.read_bytes())
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(client, server)


@pytest.mark.parametrize("end", [datetime(2049, 12, 31, 23, 59, 59), datetime(2050, 1, 1)])  # noqa: DTZ001 what trustme takes
def test_when_a_certificate_ends_is_what_cryptography_reads(
    authority: Authority, end: datetime
) -> None:
    pem = authority.issue("long", "localhost", not_after=end.replace(tzinfo=UTC)).read_bytes()
    first = load_pem_x509_certificates(pem)[0]
    assert validity_of(pem.decode()) == (first.not_valid_before_utc, first.not_valid_after_utc)
    assert first.not_valid_after_utc - end.replace(tzinfo=UTC) < timedelta(seconds=1)


@given(at=st.integers(0, 400), noise=st.binary(max_size=80))
def test_a_broken_certificate_is_only_ever_told_as_one(own: Path, at: int, noise: bytes) -> None:
    whole = ssl.PEM_cert_to_DER_cert(_first_in(own.read_text()))
    with suppress(NotCertificate):
        validity_of(ssl.DER_cert_to_PEM_cert(whole[:at] + noise))


def _first_in(text: str) -> str:
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return text[text.index(begin) : text.index(end) + len(end)]


Told = dict[tuple[str, ...], float]


def told_of(**paths: Path) -> Callable[[], Told]:
    """What is told, at each call, of the files of a worker with those settings."""
    names = {f"SURGEWATCH_{name.upper()}": str(path) for name, path in paths.items()}
    settings = read_settings({"SURGEWATCH_KAFKA_SECURITY_PROTOCOL": "SSL"} | names)
    registry = CollectorRegistry()
    registry.register(Certificates(CertificatesInUse(settings).states))

    def told() -> Told:
        ends, unfit = registry.collect()
        told: Told = {(one.labels["use"], one.labels["part"]): one.value for one in ends.samples}
        return told | {(one.labels["use"],): one.value for one in unfit.samples}

    return told


def ends_in(path: Path) -> list[float]:
    read = load_pem_x509_certificates(path.read_bytes())
    return [one.not_valid_after_utc.timestamp() for one in read]


def test_what_is_told_of_the_files_in_use_is_what_cryptography_reads_and_follows_a_renewal(
    authority: Authority, own: Path, tmp_path: Path
) -> None:
    bundle, served = tmp_path / "bundle.pem", tmp_path / "served.pem"
    other = Authority(tmp_path / "other")
    soon = authority.issue("soon", "localhost", not_after=datetime.now(UTC) + timedelta(days=2))
    bundle.write_bytes(soon.read_bytes() + other.cafile.read_bytes())
    served.write_bytes(soon.read_bytes())
    told = told_of(
        kafka_ssl_cafile=bundle,
        kafka_ssl_certfile=served,
        metrics_ssl_certfile=own,
        redis_ssl_cafile=bundle,  # no effect: redis:// has no TLS
    )
    expected: Told = {
        ("kafka", "own"): ends_in(soon)[0],
        ("kafka", "authorities"): max(ends_in(bundle)),
        ("metrics", "own"): ends_in(own)[0],
        ("kafka",): 0,
        ("metrics",): 0,
    }
    assert told() == expected
    served.write_bytes(own.read_bytes())
    assert told() == expected | {("kafka", "own"): ends_in(own)[0]}
    with pytest.raises(NotCertificate):
        last_end_of("")


def test_of_a_file_that_became_unfit_the_one_in_use_is_told_on_and_that_it_is_unfit(
    authority: Authority, own: Path, tmp_path: Path
) -> None:
    served = tmp_path / "served.pem"
    served.write_bytes(own.read_bytes())
    told = told_of(kafka_ssl_cafile=authority.cafile, kafka_ssl_certfile=served)
    in_use = {("kafka", "own"): ends_in(own)[0]} | {
        ("kafka", "authorities"): ends_in(authority.cafile)[0]
    }
    assert told() == in_use | {("kafka",): 0}
    expired = authority.issue("ended", "localhost", not_after=EXPIRED)
    for text in (b"half a renewal", expired.read_bytes(), None, b""):
        if text is None:
            served.unlink()
        else:
            served.write_bytes(text)
        assert told() == in_use | {("kafka",): 1}, text
    renewed = authority.issue("renewed-2", "localhost")
    served.write_bytes(renewed.read_bytes())
    assert told() == in_use | {("kafka", "own"): ends_in(renewed)[0], ("kafka",): 0}


def test_a_certificate_in_use_that_ends_is_told_as_unfit_with_its_own_end(own: Path) -> None:
    begin, end = validity_of(own.read_text())
    now = [begin]
    in_use = FilesInUse(TlsFiles("x", certfile=str(own)), now=lambda: now[-1])
    assert not in_use.look()
    assert in_use.problem is None
    now.append(end + timedelta(seconds=1))
    assert not in_use.look()
    assert "expired on" in str(in_use.problem)
    assert in_use.own == (begin, end)
    now.append(end)  # the clock was wrong
    in_use.look()
    assert in_use.problem is None


def test_a_certificate_put_in_place_before_its_first_day_is_taken_when_that_comes(
    own: Path, tmp_path: Path
) -> None:
    later = Authority(tmp_path / "later").issue("early", "localhost")
    begin = validity_of(later.read_text()).begin
    served, now = tmp_path / "served.pem", [begin]
    served.write_bytes(own.read_bytes())
    in_use = FilesInUse(TlsFiles("x", certfile=str(served)), now=lambda: now[-1])
    first = in_use.context
    served.write_bytes(later.read_bytes())
    now.append(begin - timedelta(seconds=1))
    assert not in_use.look()
    assert "is valid from" in str(in_use.problem)
    assert in_use.context is first
    now.append(begin)
    assert in_use.look()  # though no file changed
    assert in_use.problem is None
    assert in_use.context is not first
