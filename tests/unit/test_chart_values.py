"""Values of the chart: settings arrive as written, and what is wrong is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from streams.edges.settings.reading import Settings, read_settings
from streams.edges.settings.specs import SPECS, Spec
from tests.chart_files import CHART, OWN_SETTINGS, schema_of
from tests.conftest import saying_what_is_missing
from tests.helm import merged, one_of, refusal, rendered, tool_of
from tests.unit.chart_cases import LEAST, SCALED

TEXTS: Final = {
    "kafka_bootstrap_servers": "a:1,[fd00::1]:65535",
    "redis_url": "rediss-cluster://a:1,b:2",
    "traces_endpoint": "https://collector:4318/v1/traces",
    "detector": "river.anomaly.GaussianScorer",
    "detector_parameters": {"window_size": 2000, "exact": True, "grace": 0.5, "name": "1e3"},
}
"""Values of settings whose form is narrower than a word."""
REFUSED: Final = (
    ({"replica": 2}, "replica"),
    ({"image": {"repo": "a"}}, "repo"),
    ({"image": {"digest": "sha256:12"}}, "/image/digest"),
    ({"settings": {"rule_folowers_24h": 5}}, "rule_folowers_24h"),
    ({"settings": {"rule_followers_24h": "many"}}, "/settings/rule_followers_24h"),
    ({"settings": {"rule_followers_24h": 0}}, "minimum"),
    ({"settings": {"topic_follows": "a b"}}, "/settings/topic_follows"),
    ({"settings": {"log_level": "loud"}}, "'debug'"),
    ({"settings": {"metrics_port": 1}}, "metrics_port"),
    ({"settings": {"redis_password": "x"}}, "redis_password"),
    ({"settings": {"redis_url": "redis://:word@h:1/0"}}, "secrets.redis_password"),
    ({"settings": {"redis_url": "redis://h:1/0?password=word"}}, "secrets.redis_password"),
    ({"settings": {"kafka_security_protocol": "SASL_SSL"}}, "secrets.kafka_sasl_password"),
    ({"image": {"repository": ""}}, "image.repository"),
    (
        {"settings": {"metrics_ssl_certfile": "/a"}, "serviceMonitor": {"enabled": True}},
        "serviceMonitor.endpoint.scheme",
    ),
    ({"secrets": {"rule_followers_24h": {"name": "a", "key": "b"}}}, "rule_followers_24h"),
    ({"secrets": {"redis_password": {"name": "a"}}}, "key"),
    ({"replicaCount": 5}, "replicaCount = 5: there are 4 partitions"),
    ({"terminationGracePeriodSeconds": 1}, "/terminationGracePeriodSeconds"),
    ({"autoscaling": {"minReplicaCount": 0}}, "/autoscaling/minReplicaCount"),
    ({"networkPolicy": {"kafka": {"peers": [{"cidr": "10.0.0.0/8"}]}}}, "cidr"),
    ({"networkPolicy": {"kafka": {"peers": [{"ipBlock": {"cidr": "10.0.0.0"}}]}}}, "cidr"),
    ({"serviceMonitor": {"interval": "15"}}, "/serviceMonitor/interval"),
    ({"extraEnv": [{"name": "SURGEWATCH_LOG_LEVEL", "value": "debug"}]}, "/extraEnv/0/name"),
    ({"podDisruptionBudget": {"maxUnavailable": 0}}, "/podDisruptionBudget/maxUnavailable"),
    ({"probes": {"liveness": {"path": "/"}}}, "path"),
    ({"resources": {"limits": {"memory": ""}}}, "/resources/limits/memory"),
    ({"resources": {"limits": {"memory": "2 GB"}}}, "/resources/limits/memory"),
    ({"resources": {"requests": {"cpu": -1}}}, "/resources/requests/cpu"),
)
SCALING_REFUSED: Final = (
    ({"maxReplicaCount": 13}, "autoscaling.maxReplicaCount = 13: there are 12 partitions"),
    ({"minReplicaCount": 12, "maxReplicaCount": 6}, "minReplicaCount = 12 is above"),
    ({"prometheusAddress": ""}, "autoscaling.prometheusAddress"),
)


@pytest.fixture(autouse=True)
def _helm_is_there() -> None:
    with saying_what_is_missing():
        tool_of("helm")


def settings_of(values: Mapping[str, Any], folder: Path) -> Settings:
    """What a worker in the first pod reads, in Kubernetes."""
    template = one_of(rendered(values), "StatefulSet")["spec"]["template"]
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    for one in template["spec"]["containers"][0]["env"]:
        environ[one["name"]] = one.get("value", "surgewatch-0")
    for name in [name for name in environ if name.endswith("_FILE")]:
        path = folder / name
        path.write_text(f"{name}\n")
        environ[name] = str(path)
    return read_settings(environ)


def given_by_values(spec: Spec) -> bool:
    return not spec.secret and spec.name not in OWN_SETTINGS


def other_value_of(spec: Spec) -> Any:
    """An allowed value, the farthest from the default."""
    if spec.name in TEXTS:
        return TEXTS[spec.name]
    if spec.choices:
        return sorted(set(spec.choices) - {spec.default})[0]
    if spec.type_name == "text":
        return f"other-{spec.name}"
    schema = schema_of(spec)
    if "exclusiveMaximum" in schema:
        return schema["exclusiveMaximum"] / 2
    most = schema["maximum"]
    return most if most != spec.default else schema["minimum"]


def test_every_setting_arrives_as_it_was_written(tmp_path: Path) -> None:
    wanted = {spec.name: other_value_of(spec) for spec in SPECS.values() if given_by_values(spec)}
    wanted["budget_pages_per_creator_day"] = 0.000_000_1
    secrets = {spec.name for spec in SPECS.values() if spec.secret}
    named = {name: {"name": "surgewatch", "key": name} for name in secrets}
    values = merged(LEAST, {"settings": wanted, "secrets": named})
    found = settings_of(values, tmp_path)
    assert {name: getattr(found, name) for name in wanted} == wanted
    for name in secrets:
        assert getattr(found, name) == f"SURGEWATCH_{name.upper()}_FILE"
    assert found.kafka_instance_id == "surgewatch-0"
    assert (found.metrics_host, found.metrics_port) == ("0.0.0.0", 9464)


def test_every_default_may_be_written_out(tmp_path: Path) -> None:
    wanted = {
        spec.name: spec.default
        for spec in SPECS.values()
        if given_by_values(spec) and spec.default is not None
    }
    found = settings_of(merged(LEAST, {"settings": wanted}), tmp_path)
    assert {name: getattr(found, name) for name in wanted} == wanted


def test_the_charts_own_settings_are_the_programs_defaults_or_better() -> None:
    chart = yaml.safe_load((CHART / "values.yaml").read_text())["settings"]
    # the partition count stands there for the checks of replicas
    assert {name for name, value in chart.items() if value != SPECS[name].default} == {
        "log_format",
        "kafka_session_timeout_ms",
    }


@pytest.mark.parametrize(("values", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_is_wrong_is_refused_and_named(values: Mapping[str, Any], words: str) -> None:
    assert words in refusal(merged(LEAST, values))


@pytest.mark.parametrize("name", ["kafka_bootstrap_servers", "redis_url"])
def test_what_has_no_default_must_be_given(name: str) -> None:
    settings = {key: value for key, value in LEAST["settings"].items() if key != name}
    assert f"settings.{name}: where is" in refusal({**LEAST, "settings": settings})


@pytest.mark.parametrize(("values", "words"), SCALING_REFUSED)
def test_scaling_that_cannot_be_is_refused(values: Mapping[str, Any], words: str) -> None:
    assert words in refusal(merged(merged(LEAST, SCALED), {"autoscaling": values}))


def test_a_password_is_not_in_what_is_said_of_it() -> None:
    values = {"settings": {"redis_url": "redis://:sesame@h:1/0"}}
    assert "sesame" not in refusal(merged(LEAST, values))
