"""Values for the chart that users may have, by name: each is rendered and checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

LEAST: Final[Mapping[str, Any]] = {
    "image": {"repository": "registry.example/surgewatch"},
    "settings": {
        "kafka_bootstrap_servers": "kafka-0.kafka:9092,kafka-1.kafka:9094",
        "redis_url": "redis://redis.data:6380/0",
    },
}
SASL: Final[Mapping[str, Any]] = {
    "settings": {
        "kafka_security_protocol": "SASL_SSL",
        "kafka_sasl_mechanism": "SCRAM-SHA-512",
        "kafka_sasl_username": "surgewatch",
        "kafka_ssl_cafile": "/etc/surgewatch/certificates/ca.crt",
        "redis_url": "rediss://redis.data:6380/0",
    },
    "secrets": {
        "kafka_sasl_password": {"name": "surgewatch-kafka", "key": "password"},
        "redis_password": {"name": "surgewatch-redis", "key": "password"},
    },
    "certificatesSecret": "surgewatch-ca",
}
LOGIN: Final[Mapping[str, Any]] = {
    "scheme": "https",
    "tlsConfig": {"ca": {"secret": {"name": "surgewatch-ca", "key": "ca.crt"}}},
    "basicAuth": {
        "username": {"name": "surgewatch-metrics", "key": "username"},
        "password": {"name": "surgewatch-metrics", "key": "password"},
    },
}
MONITORED: Final[Mapping[str, Any]] = {
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "endpoint": LOGIN},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "dashboards": {"enabled": True, "annotations": {"grafana_folder": "Surgewatch"}},
}
SCALED: Final[Mapping[str, Any]] = {
    "settings": {"topic_partitions": 12},
    "autoscaling": {
        "enabled": True,
        "minReplicaCount": 2,
        "maxReplicaCount": 12,
        "prometheusAddress": "http://prometheus.monitoring.svc:9090",
    },
}
PEERED: Final[Mapping[str, Any]] = {
    "networkPolicy": {
        "scrapers": [
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
        ],
        "kafka": {"ports": [9092, 9093], "peers": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
        "redis": {"peers": [{"podSelector": {"matchLabels": {"app": "redis"}}}]},
        "dns": {"peers": [{"namespaceSelector": {}}]},
        "extraEgress": [{"ports": [{"protocol": "TCP", "port": 4318}]}],
    }
}
PLACED: Final[Mapping[str, Any]] = {
    "image": {"digest": "sha256:" + "0" * 64},
    "imagePullSecrets": [{"name": "registry"}],
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "stream", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"podAntiAffinity": {}},
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "DoNotSchedule",
        }
    ],
    "priorityClassName": "streams",
    "podAnnotations": {"reloader.example/auto": "true"},
    "podLabels": {"team": "trust"},
    "extraEnv": [{"name": "TZ", "value": "UTC"}],
    "serviceAccount": {"create": False, "name": "streams"},
    "podDisruptionBudget": {"maxUnavailable": "50%"},
}
BARE: Final[Mapping[str, Any]] = {
    "networkPolicy": {"enabled": False},
    "podDisruptionBudget": {"enabled": False},
    "serviceAccount": {"create": False},
    "replicaCount": 1,
}

CASES: Final[Mapping[str, Mapping[str, Any]]] = {
    "least": {},
    "sasl": SASL,
    "monitored": MONITORED,
    "scaled": SCALED,
    "peered": PEERED,
    "placed": PLACED,
    "bare": BARE,
    "topics": {**SASL, "topics": {"create": True}},
    "subchart": {"global": {"region": "eu"}},
}
"""Each on top of `LEAST`."""
