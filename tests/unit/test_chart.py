"""The Helm chart: what it makes of values is what Kubernetes takes, and as hard as we say."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import jsonschema
import kubernetes_validate
import pytest
import yaml
from prometheus_client import CollectorRegistry

from deploy.grafana.build import dashboards
from streams.edges.metrics.exporter import Exporter
from streams.edges.process.health import STOP_SECONDS_MAX, Health
from tests.chart_files import CHART, DEPLOY, chart_files
from tests.conftest import saying_what_is_missing
from tests.helm import Resource, helm, merged, one_of, rendered, tool_of
from tests.unit.chart_cases import CASES, LEAST, LOGIN, MONITORED, PEERED, SASL, SCALED
from tests.unit.test_alerts import check_names_in

ROOT: Final = Path(__file__).parents[2]
CUSTOM: Final = ("ServiceMonitor", "PrometheusRule", "ScaledObject")
VERSIONS: Final = ("1.27", kubernetes_validate.latest_version())


@pytest.fixture(autouse=True)
def _helm_is_there() -> None:
    with saying_what_is_missing():
        tool_of("helm")


@cache
def resources_of(case: str) -> list[Resource]:
    return rendered(merged(LEAST, CASES[case]))


def workers_of(case: str) -> Mapping[str, Any]:
    spec: Mapping[str, Any] = one_of(resources_of(case), "StatefulSet")["spec"]
    return spec


def pods_of(case: str) -> list[Mapping[str, Any]]:
    return [
        one["spec"]["template"] for one in resources_of(case) if "template" in one.get("spec", {})
    ]


def check_resource(resource: Resource) -> None:
    """Fails where Kubernetes, or the operator whose it is, would not take it."""
    kind = resource["kind"]
    if kind in CUSTOM:
        schema = (ROOT / f"tests/kubernetes/{kind.lower()}.json").read_text()
        jsonschema.validate(resource, json.loads(schema))
    else:
        for version in VERSIONS:
            kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("case", CASES)
def test_kubernetes_takes_what_the_chart_makes(case: str) -> None:
    resources = resources_of(case)
    for resource in resources:
        check_resource(resource)
    names = [(one["kind"], one["metadata"]["name"]) for one in resources]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", CASES)
def test_helm_lint_finds_nothing(case: str) -> None:
    code, out, err = helm(["lint", "--strict"], merged(LEAST, CASES[case]))
    assert code == 0, out + err


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("StatefulSet", lambda one: one["spec"].update(replicaz=2)),
        ("NetworkPolicy", lambda one: one["spec"]["egress"][0].update(too=[])),
        ("ServiceMonitor", lambda one: one["spec"]["endpoints"][0].update(timeout="3s")),
        ("ServiceMonitor", lambda one: one["spec"]["endpoints"][0].update(interval="15")),
        ("PrometheusRule", lambda one: one["spec"]["groups"][0]["rules"][0].pop("expr")),
        ("ScaledObject", lambda one: one["spec"]["triggers"][0]["metadata"].update(threshold=3)),
    ],
)
def test_a_spoilt_object_is_seen(kind: str, spoil: Callable[[Any], None]) -> None:
    case = {"ScaledObject": "scaled", "StatefulSet": "least", "NetworkPolicy": "least"}
    resource = json.loads(json.dumps(one_of(resources_of(case.get(kind, "monitored")), kind)))
    spoil(resource)
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        check_resource(resource)


@pytest.mark.parametrize("case", CASES)
def test_every_pod_is_hardened(case: str) -> None:
    for pod in pods_of(case):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "privileged": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]
            # the only place where it may write
            writable = [
                one["mountPath"] for one in container["volumeMounts"] if not one.get("readOnly")
            ]
            assert writable == ["/tmp"]


def test_the_pods_user_is_the_images() -> None:
    users = re.findall(r"^USER (\d+)", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)
    for pod in pods_of("topics"):
        assert pod["spec"]["securityContext"]["runAsUser"] == int(users[-1])


def test_chart_image_and_package_have_one_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (version, version)
    (container,) = workers_of("least")["template"]["spec"]["containers"]
    assert container["image"] == f"registry.example/surgewatch:{version}"
    (container,) = workers_of("placed")["template"]["spec"]["containers"]
    assert container["image"] == "registry.example/surgewatch@sha256:" + "0" * 64


def test_a_worker_is_a_static_member_by_the_name_of_its_pod() -> None:
    (container,) = workers_of("least")["template"]["spec"]["containers"]
    (instance,) = [one for one in container["env"] if one["name"].endswith("_INSTANCE_ID")]
    assert instance["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert (
        workers_of("least")["serviceName"]
        == one_of(resources_of("least"), "Service")["metadata"]["name"]
    )
    assert one_of(resources_of("least"), "Service")["spec"]["clusterIP"] == "None"


def test_selectors_find_the_workers_and_nothing_else() -> None:
    resources = resources_of("topics")
    worker, job = workers_of("topics")["template"], one_of(resources, "Job")["spec"]["template"]
    for kind in ("StatefulSet", "Service", "PodDisruptionBudget"):
        selector = one_of(resources, kind)["spec"]["selector"]
        labels = selector.get("matchLabels", selector)
        assert labels.items() <= worker["metadata"]["labels"].items(), kind
        assert not labels.items() <= job["metadata"]["labels"].items(), kind
    policy = one_of(resources, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    for pod in (worker, job):
        assert policy.items() <= pod["metadata"]["labels"].items()


def test_probes_ask_pages_that_there_are_and_none_asks_for_more_than_it_must() -> None:
    (container,) = workers_of("least")["template"]["spec"]["containers"]
    exporter = Exporter(CollectorRegistry(), Health(0.0, 120.0), lambda: 1.0)
    ports = {one["name"] for one in container["ports"]}
    pages = {}
    for probe in ("startup", "liveness", "readiness"):
        asked = container[f"{probe}Probe"]["httpGet"]
        assert asked["port"] in ports
        status, _, _ = exporter.answer(asked["path"], "")
        pages[probe] = (asked["path"], status)
    # a worker that has not reached Kafka and Redis yet is not to be ended
    assert pages == {
        "startup": ("/livez", 200), "liveness": ("/livez", 200), "readiness": ("/readyz", 503)
    }  # fmt: skip


def test_probes_speak_tls_where_the_metrics_do() -> None:
    settings = {"metrics_ssl_certfile": "/etc/surgewatch/certificates/metrics.pem"}
    for more, scheme in (({}, None), (settings, "HTTPS")):
        worker = one_of(rendered(merged(LEAST, {"settings": more})), "StatefulSet")["spec"]
        (container,) = worker["template"]["spec"]["containers"]
        for probe in ("startup", "liveness", "readiness"):
            assert container[f"{probe}Probe"]["httpGet"].get("scheme") == scheme


def test_the_watchdog_ends_a_worker_before_kubernetes_does() -> None:
    (container,) = workers_of("least")["template"]["spec"]["containers"]
    liveness = container["livenessProbe"]
    assert workers_of("least")["template"]["spec"]["terminationGracePeriodSeconds"] > (
        STOP_SECONDS_MAX + 10
    )
    # it looks every 5 s, and prints all stacks, which a kill from outside does not
    assert liveness["periodSeconds"] * (liveness["failureThreshold"] - 1) > 2 * 5


def test_the_network_policy_lets_metrics_in_and_kafka_redis_and_dns_out() -> None:
    policy = one_of(resources_of("least"), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == [{"ports": [{"protocol": "TCP", "port": "metrics"}]}]
    ports = [[one["port"] for one in rule["ports"]] for rule in policy["egress"]]
    assert ports == [[9092, 9094], [6380], [53, 53]]


def test_the_network_policys_peers_are_the_values() -> None:
    asked = PEERED["networkPolicy"]
    policy = one_of(resources_of("peered"), "NetworkPolicy")["spec"]
    assert policy["ingress"][0]["from"] == asked["scrapers"]
    kafka, redis, dns, extra = policy["egress"]
    assert kafka["to"] == asked["kafka"]["peers"]
    assert [one["port"] for one in kafka["ports"]] == asked["kafka"]["ports"]
    assert redis["to"] == asked["redis"]["peers"]
    assert dns["to"] == asked["dns"]["peers"]
    assert extra == asked["extraEgress"][0]


@pytest.mark.parametrize(
    ("url", "ports"),
    [
        ("redis://redis/0", [6379]),
        ("redis://[fd00::1]:6390/0", [6390]),
        ("redis-cluster://a:7000,b:7001", [7000, 7001]),
        ("redis://redis:6400?db=1", [6400]),
        ("redis-cluster://a:7000,b:7001?name=:7002/", [7000, 7001]),
    ],
)
def test_the_port_of_redis_is_that_of_its_url(url: str, ports: list[int]) -> None:
    resources = rendered(merged(LEAST, {"settings": {"redis_url": url}}))
    rule = one_of(resources, "NetworkPolicy")["spec"]["egress"][1]
    assert [one["port"] for one in rule["ports"]] == ports


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://collector:4318/v1/traces", 4318),
        ("http://collector/v1/traces", 80),
        ("https://collector/v1/traces", 443),
    ],
)
def test_the_network_policy_lets_traces_out_where_they_are_sent(url: str, port: int) -> None:
    peers = [{"podSelector": {"matchLabels": {"app": "collector"}}}]
    asked = {"settings": {"traces_endpoint": url}, "networkPolicy": {"traces": {"peers": peers}}}
    policy = one_of(rendered(merged(LEAST, asked)), "NetworkPolicy")["spec"]
    assert policy["egress"][2] == {"ports": [{"protocol": "TCP", "port": port}], "to": peers}


def test_secrets_are_files_and_never_variables() -> None:
    for pod in pods_of("topics"):
        (container,) = pod["spec"]["containers"]
        env = {one["name"]: one.get("value") for one in container["env"]}
        for name, secret in SASL["secrets"].items():
            path = env[f"SURGEWATCH_{name.upper()}_FILE"]
            mount = max(
                (one for one in container["volumeMounts"] if path.startswith(one["mountPath"])),
                key=lambda one: len(one["mountPath"]),
            )
            (volume,) = [one for one in pod["spec"]["volumes"] if one["name"] == mount["name"]]
            assert volume["projected"]["defaultMode"] == 0o440
            items = {
                f"{mount['mountPath']}/{item['path']}": (source["secret"]["name"], item["key"])
                for source in volume["projected"]["sources"]
                for item in source["secret"]["items"]
            }
            assert items[path] == (secret["name"], secret["key"])
        assert not any("secretKeyRef" in str(one) for one in container["env"])


def test_rules_in_the_chart_are_prometheus_own() -> None:
    rule = one_of(resources_of("monitored"), "PrometheusRule")
    files = sorted((DEPLOY / "prometheus").glob("*.yml"))
    groups = [group for path in files for group in yaml.safe_load(path.read_text())["groups"]]
    assert rule["spec"]["groups"] == groups


def test_links_of_alerts_may_be_given_where_prometheus_has_none() -> None:
    urls = {"docsUrl": "https://docs.example/surgewatch/", "grafanaUrl": "https://grafana.example"}
    values = merged(LEAST, merged(MONITORED, {"prometheusRule": urls}))
    text = json.dumps(one_of(rendered(values), "PrometheusRule"))
    assert "externalLabels" not in text
    assert "https://docs.example/surgewatch/runbooks/SurgewatchDataDelayed.md" in text
    assert "https://grafana.example/d/surgewatch-workers?var-topic={{ $labels.topic }}" in text


def test_a_scrape_has_the_job_that_rules_ask_for() -> None:
    (endpoint,) = one_of(resources_of("monitored"), "ServiceMonitor")["spec"]["endpoints"]
    assert {"targetLabel": "job", "replacement": "surgewatch"} in endpoint["relabelings"]
    assert LOGIN.items() <= endpoint.items()
    service = one_of(resources_of("monitored"), "Service")
    assert endpoint["port"] in {one["name"] for one in service["spec"]["ports"]}
    selector = one_of(resources_of("monitored"), "ServiceMonitor")["spec"]["selector"]
    assert selector["matchLabels"].items() <= service["metadata"]["labels"].items()


def test_dashboards_are_config_maps_that_grafanas_sidecar_takes(tmp_path: Path) -> None:
    chart = shutil.copytree(CHART, tmp_path / "surgewatch")
    board = {"title": "A", "legendFormat": "{{ instance }}", "text": "two\nlines: {{ .Values }}"}
    path = chart / "files/dashboards/one-more.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(board, indent=2) + "\n")
    boards = {one.name: json.loads(one.read_text()) for one in path.parent.glob("*.json")}
    assert boards["one-more.json"] == board
    maps = [one for one in rendered(merged(LEAST, MONITORED), chart) if one["kind"] == "ConfigMap"]
    found = {name: json.loads(text) for one in maps for name, text in one["data"].items()}
    assert found == boards
    for one in maps:
        check_resource(one)
        assert one["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert one["metadata"]["annotations"] == {"grafana_folder": "Surgewatch"}
        assert len(json.dumps(one["data"])) < 900_000, "a config map holds a mebibyte"


def test_the_charts_copies_are_all_there_and_no_others() -> None:
    made = {path for path in chart_files(dashboards()) if path.parent != CHART}
    assert made == {path for path in (CHART / "files").rglob("*") if path.is_file()}


def test_scaling_stays_within_the_partitions_and_goes_down_slowly() -> None:
    spec = one_of(resources_of("scaled"), "ScaledObject")["spec"]
    assert 1 <= spec["minReplicaCount"] <= spec["maxReplicaCount"] == 12
    stateful = one_of(resources_of("scaled"), "StatefulSet")
    assert spec["scaleTargetRef"]["name"] == stateful["metadata"]["name"]
    assert "replicas" not in stateful["spec"], "an upgrade must not undo what KEDA decided"
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 900}]
    target = {"kind": "StatefulSet", "name": "a", "apiVersion": "apps/v1"}
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "a"},
        "spec": {"scaleTargetRef": target, "maxReplicas": 2, "behavior": behavior},
    }
    for version in VERSIONS:
        kubernetes_validate.validate(autoscaler, version, strict=True)


def test_scaling_asks_metrics_that_there_are() -> None:
    for trigger in one_of(resources_of("scaled"), "ScaledObject")["spec"]["triggers"]:
        query = trigger["metadata"]["query"]
        assert 'namespace="social"' in query
        check_names_in(query.replace(', namespace="social"', ""))
    assert SCALED["autoscaling"]["enabled"]


def test_the_job_that_makes_topics_needs_nothing_of_the_release() -> None:
    job = one_of(resources_of("topics"), "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    # at the first install the chart's own account is not there yet
    assert "serviceAccountName" not in job["spec"]["template"]["spec"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["topics", "create"]
