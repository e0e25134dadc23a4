"""Settings: where they come from, what is refused and how it is said."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.edges.settings.reading import Settings, SettingsError, read_settings
from streams.edges.settings.specs import SPECS, hidden, settings_markdown, settings_table


def _file(folder: Path, text: str) -> Path:
    path = folder / "surgewatch.toml"
    path.write_text(text, encoding="utf-8")
    return path


def _refusal(environ: dict[str, str], path: Path | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        read_settings(environ, path)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_nothing_set_gives_the_defaults() -> None:
    assert read_settings({}) == Settings()
    assert {row.origin for row in settings_table(read_settings({}))} == {"default"}


@pytest.mark.parametrize("name", SPECS)
def test_every_default_is_allowed(name: str) -> None:
    assert msgspec.convert(SPECS[name].default, SPECS[name].hint) == SPECS[name].default


@pytest.mark.parametrize("name", SPECS)
def test_every_setting_has_a_meaning_and_says_what_is_allowed(name: str) -> None:
    assert SPECS[name].meaning
    assert SPECS[name].allowed


def test_a_variable_beats_the_file_and_the_file_beats_the_default(tmp_path: Path) -> None:
    path = _file(tmp_path, "rule_followers_24h = 7\nrule_comments_24h = 8\n")
    settings = read_settings({"SURGEWATCH_RULE_COMMENTS_24H": "9"}, path)
    assert (settings.rule_followers_24h, settings.rule_comments_24h) == (7, 9)
    assert settings.origins == {
        "rule_followers_24h": str(path),
        "rule_comments_24h": "SURGEWATCH_RULE_COMMENTS_24H",
    }


def test_flat_keys_and_tables_say_the_same(tmp_path: Path) -> None:
    flat = _file(
        tmp_path, 'kafka_sasl_username = "u"\nredis_url = "unix:///r.sock"\ndetector="a.B"'
    )
    first = read_settings({}, flat)
    text = '[kafka.sasl]\nusername = "u"\n[redis]\nurl = "unix:///r.sock"\n[detector]\nname="a.B"'
    assert read_settings({}, _file(tmp_path, text)) == first
    assert first.detector == "a.B"


def test_the_detectors_parameters_are_a_table_in_the_file_and_json_in_a_variable(
    tmp_path: Path,
) -> None:
    expected = {"window_size": 10, "grace": 0.5, "on": True, "kind": "x"}
    table = '[detector.parameters]\nwindow_size = 10\ngrace = 0.5\non = true\nkind = "x"\n'
    assert read_settings({}, _file(tmp_path, table)).detector_parameters == expected
    variable = msgspec.json.encode(expected).decode()
    settings = read_settings({"SURGEWATCH_DETECTOR_PARAMETERS": variable})
    assert settings.detector_parameters == expected


def test_the_file_may_be_named_by_a_variable(tmp_path: Path) -> None:
    path = _file(tmp_path, "topic_partitions = 12\n")
    assert read_settings({"SURGEWATCH_CONFIG": str(path)}).topic_partitions == 12


def test_an_empty_variable_is_one_not_set() -> None:
    assert read_settings({"SURGEWATCH_REDIS_URL": "", "SURGEWATCH_CONFIG": ""}) == Settings()


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("RULE_FOLLOWERS_24H", "0", "from 1 to"),
        ("RULE_FOLLOWERS_24H", "many", "a whole number"),
        ("RULE_FOLLOWERS_24H", "1.5", "a whole number"),
        ("TOPIC_PARTITIONS", "10001", "from 1 to 10000"),
        ("BUDGET_NOTICES_PER_CREATOR_DAY", "0", "above 0, below 1"),
        ("BUDGET_NOTICES_PER_CREATOR_DAY", "nan", "above 0, below 1"),
        ("BUDGET_NOTICES_PER_CREATOR_DAY", "1 in 0 creators", "1 in 1,000 creators a day"),
        ("BUDGET_NOTICES_PER_CREATOR_DAY", "2 in 1", "1 in 1,000 creators a day"),
        ("BUDGET_PAGES_PER_CREATOR_DAY", "seldom", "1 in a million creators a day"),
        ("DETECTOR_THRESHOLD", "inf", "a number above 0"),
        ("KAFKA_SECURITY_PROTOCOL", "TLS", "one of PLAINTEXT, SSL"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka", "host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:65536", "host:port"),
        ("REDIS_URL", "localhost:6379", "redis://host:port"),
        ("TOPIC_FOLLOWS", "a b", "1 to 249 letters"),
        ("TOPIC_FOLLOWS", "a\n", "1 to 249 letters"),
        ("DETECTOR", "GaussianScorer", "river.anomaly.GaussianScorer"),
        ("DETECTOR_PARAMETERS", "[1]", "a table"),
        ("DETECTOR_PARAMETERS", "x", "a table"),
        ("METRICS_PORT", "70000", "from -1 to 65535"),
    ],
)
def test_a_bad_value_is_named_with_its_key_and_what_is_allowed(
    name: str, text: str, allowed: str
) -> None:
    line = _refusal({f"SURGEWATCH_{name}": text})
    assert line.startswith(f"SURGEWATCH_{name} = {text.strip()}")
    assert allowed in line


def test_budgets_may_be_said_in_plain_words(tmp_path: Path) -> None:
    settings = read_settings(
        {"SURGEWATCH_BUDGET_PAGES_PER_CREATOR_DAY": "1 in 2 million creators a day"},
        _file(tmp_path, '[budget]\nnotices_per_creator_day = "1 in 500 creators a day"\n'),
    )
    assert settings.budget_notices_per_creator_day == 0.002
    assert settings.budget_pages_per_creator_day == 0.0000005
    for spec in SPECS.values():
        if spec.is_budget:
            said = spec.allowed.split('"')[1]
            told = read_settings({f"SURGEWATCH_{spec.name.upper()}": said})
            assert getattr(told, spec.name) == spec.default


def test_a_value_of_the_wrong_type_in_the_file_is_refused(tmp_path: Path) -> None:
    path = _file(tmp_path, '[rule]\nfollowers_24h = "50000"\n')
    line = _refusal({}, path)
    assert line.startswith(f"{path}: rule_followers_24h = 50000: allowed is a whole number")
    assert "true" in _refusal({}, _file(tmp_path, "topic_partitions = true")).lower()


@pytest.mark.parametrize("name", ["CACHE", "DATA"])
def test_what_the_build_and_the_tests_are_told_is_no_setting(name: str) -> None:
    assert read_settings({f"SURGEWATCH_{name}": "folder"}) == Settings()


def test_an_unknown_key_or_variable_is_refused_with_the_closest_name(tmp_path: Path) -> None:
    line = _refusal({}, _file(tmp_path, "[rule]\nfollower_24h = 5\n"))
    assert "unknown key rule_follower_24h = 5: did you mean rule_followers_24h?" in line
    line = _refusal({"SURGEWATCH_REDIS_URI": "redis://a"})
    assert line == "unknown variable SURGEWATCH_REDIS_URI: did you mean SURGEWATCH_REDIS_URL?"
    assert "surgewatch config" in _refusal({}, _file(tmp_path, "[zzz]\nqqq = 1\n"))


def test_a_key_set_twice_is_refused(tmp_path: Path) -> None:
    path = _file(tmp_path, 'redis_prefix = "a"\n[redis]\nprefix = "b"\n')
    assert "redis_prefix is set twice" in _refusal({}, path)


def test_a_file_that_cannot_be_used_is_one_plain_line(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in _refusal({}, tmp_path / "none.toml")
    assert "is not TOML" in _refusal({}, _file(tmp_path, "a = = b"))
    (tmp_path / "surgewatch.toml").write_bytes(b"a = '\xff'")
    assert "is not TOML" in _refusal({}, tmp_path / "surgewatch.toml")


def test_a_secret_may_be_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("word one\n", encoding="utf-8")
    variable = "SURGEWATCH_REDIS_PASSWORD_FILE"
    settings = read_settings({variable: str(tmp_path / "password")})
    assert settings.redis_password == "word one"
    assert settings.origins == {"redis_password": variable}
    assert "cannot be read" in _refusal({variable: str(tmp_path / "none")})
    both = {variable: str(tmp_path / "password"), "SURGEWATCH_REDIS_PASSWORD": "x"}
    assert "keep one" in _refusal(both)


def test_only_secrets_may_be_read_from_a_file() -> None:
    assert "unknown variable" in _refusal({"SURGEWATCH_REDIS_URL_FILE": "f"})


def test_no_password_is_shown_anywhere() -> None:
    environ = {
        "SURGEWATCH_METRICS_USERNAME": "me",
        "SURGEWATCH_METRICS_PASSWORD": "hush-1",
        "SURGEWATCH_KAFKA_SASL_PASSWORD": "hush-2",
        "SURGEWATCH_REDIS_URL": "redis://me:hush-3@h:1/0?password=hush-4",
    }
    settings = read_settings(environ)
    shown = repr(settings) + repr(settings_table(settings)) + str(settings)
    assert "hush" not in shown
    assert "redis://me:***@h:1/0" in shown
    assert "hush" not in _refusal({"SURGEWATCH_REDIS_URL": "redys://me:hush@h"})
    assert "hush" not in _refusal({"SURGEWATCH_REDIS_PASSWORT": "hush"})
    assert "hush" not in _refusal({"SURGEWATCH_REDIS_PASSWORD": "hush\0"})


@given(st.text(min_size=1))
def test_no_password_in_a_url_survives_whatever_it_is_made_of(password: str) -> None:
    url = f"redis://user:{password}@host:6379/0"
    shown = hidden(SPECS["redis_url"], url)
    assert shown == "redis://user:***@host:6379/0"


def test_choices_may_be_written_in_any_case() -> None:
    settings = read_settings({"SURGEWATCH_LOG_LEVEL": "WARNING"})
    assert settings.log_level == "warning"


def test_sasl_without_a_user_and_topics_of_one_name_are_refused() -> None:
    line = _refusal({"SURGEWATCH_KAFKA_SECURITY_PROTOCOL": "SASL_SSL"})
    assert "kafka_sasl_username and kafka_sasl_password" in line
    line = _refusal({"SURGEWATCH_TOPIC_FOLLOWS": "comments"})
    assert line == "topic_follows = 'comments': each topic needs a name of its own"


def test_variables_that_kubernetes_sets_for_a_service_named_surgewatch_are_passed_over() -> None:
    links = {
        "SURGEWATCH_SERVICE_HOST": "10.0.0.1",
        "SURGEWATCH_SERVICE_PORT_HTTP": "9464",
        "SURGEWATCH_PORT": "tcp://10.0.0.1:9464",
        "SURGEWATCH_PORT_9464_TCP_ADDR": "10.0.0.1",
        "SURGEWATCH_METRICS_PORT": "tcp://10.0.0.1:9464",
    }
    assert read_settings(links | {"KUBERNETES_SERVICE_HOST": "10.0.0.0"}) == Settings()
    assert "unknown variable" in _refusal({"SURGEWATCH_SERVICE_HOST": "10.0.0.1"})


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Settings().topic_partitions = 5  # type: ignore[misc]  # the claim is that this fails


def test_the_markdown_table_has_a_line_for_every_setting() -> None:
    lines = settings_markdown().splitlines()
    assert [line.split("`")[1] for line in lines[2:]] == list(SPECS)
    assert list(SPECS) == [f.name for f in msgspec.structs.fields(Settings) if f.name != "origins"]


def test_a_secrets_file_may_be_named_in_the_settings_file_and_is_found_beside_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "redis").write_bytes(b"word \r\n")
    path = _file(tmp_path, '[redis]\npassword_file = "redis"\n')
    settings = read_settings({}, path)
    assert settings.redis_password == "word "
    assert settings.origins == {"redis_password": str(path)}
    both = _file(tmp_path, '[redis]\npassword_file = "redis"\npassword = "x"\n')
    assert "redis_password is set twice" in _refusal({}, both)
    wrong = _file(tmp_path, "[redis]\npassword_file = 5\n")
    assert "redis_password_file: allowed is the path of a file" in _refusal({}, wrong)
    absent = _file(tmp_path, 'kafka_sasl_password_file = "none"\n')
    assert "kafka_sasl_password_file: " in _refusal({}, absent)
    unknown = _file(tmp_path, '[redis]\npasswort_file = "hush"\n')
    assert "did you mean redis_password_file?" in _refusal({}, unknown)
    assert "hush" not in _refusal({}, unknown)


def test_one_line_break_is_taken_from_a_secret_and_an_empty_file_is_refused(
    tmp_path: Path,
) -> None:
    variable, path = "SURGEWATCH_REDIS_PASSWORD_FILE", tmp_path / "word"
    for raw, secret in ((b"a b", "a b"), (b"a\n", "a"), (b"a\r\n", "a"), (b"a\n\n", "a\n")):
        path.write_bytes(raw)
        assert read_settings({variable: str(path)}).redis_password == secret
    for raw in (b"", b"\n", b"\r\n"):
        path.write_bytes(raw)
        assert _refusal({variable: str(path)}) == f"{variable}: {path} is empty"
    path.write_bytes(b"\xff")
    assert "is not UTF-8 text" in _refusal({variable: str(path)})
    assert "Is a directory" in _refusal({variable: str(tmp_path)})


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"KAFKA_SSL_KEYFILE": "k"}, "kafka_ssl_certfile must be set too"),
        ({"REDIS_SSL_KEY_PASSWORD": "hush"}, "redis_ssl_certfile must be set too"),
        ({"METRICS_USERNAME": "me"}, "metrics_username and metrics_password go together"),
        ({"METRICS_PASSWORD": "hush"}, "metrics_username and metrics_password go together"),
        ({"METRICS_USERNAME": "a:b", "METRICS_PASSWORD": "hush"}, "text without a colon"),
        ({"REDIS_URL": "redis://me:hush@h:1", "REDIS_PASSWORD": "hush"}, "redis_password is set"),
        ({"REDIS_URL": "redis://me@h:1", "REDIS_USERNAME": "me"}, "redis_username is set"),
        ({"REDIS_URL": "redis://me:@h:1"}, "has an empty password"),
        ({"REDIS_URL": "rediss://h:1?ssl_cert_reqs=none"}, "redis_url has options of TLS"),
    ],
)
def test_logins_and_certificates_that_do_not_go_together_are_refused(
    names: dict[str, str], words: str
) -> None:
    line = _refusal({f"SURGEWATCH_{name}": text for name, text in names.items()})
    assert words in line
    assert "hush" not in line


@pytest.mark.parametrize("url", ["redis://:hush", "redis://me:hush/0", "redis://:hush#1@h:6379"])
def test_a_password_in_a_broken_url_is_hidden(url: str) -> None:
    assert "hush" not in hidden(SPECS["redis_url"], url)
    assert hidden(SPECS["redis_url"], "redis://[::1]:6379/0") == "redis://[::1]:6379/0"
    cluster = "redis-cluster://one:7000,two:7001"
    assert hidden(SPECS["redis_url"], cluster) == cluster
