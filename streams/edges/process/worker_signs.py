"""Asks a worker over HTTP how far it is: its metrics and its readiness."""

import http.client
from dataclasses import dataclass
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

_ANSWER_SECONDS_MAX: Final = 2.0


@dataclass(frozen=True, slots=True)
class WorkerSigns:
    """What a worker's metrics say. ``watermark_ms`` is its slowest partition's, None: none yet."""

    records: int
    dead: int
    late: int
    creators: int
    watermark_ms: int | None
    cpu_seconds: float
    resident_bytes: int


def is_ready(host: str, port: int) -> bool:
    """Whether the worker there reads its partitions; False as well when nobody answers."""
    status, _ = _page(host, port, "/readyz")
    return status == 200


def read_worker_signs(host: str, port: int) -> WorkerSigns | None:
    """Read a worker's metrics; None when it does not answer."""
    status, text = _page(host, port, "/metrics")
    return signs_of(text) if status == 200 else None


def signs_of(text: str) -> WorkerSigns:
    r"""Read Prometheus' text; a series that is absent counts as 0.

    >>> signs_of('surgewatch_records_total{topic="follows",result="counted"} 3\n').records
    3
    """
    sums: dict[str, float] = {}
    watermarks = []
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "surgewatch_watermark_timestamp_seconds":
                watermarks.append(sample.value)
            name = sample.name
            if name == "surgewatch_records_total":
                name = f"{name} {sample.labels['result']}"
            elif name == "surgewatch_creators_known":
                name = f"{name} {sample.labels['topic']}"
            sums[name] = sums.get(name, 0.0) + sample.value
    results = {
        result: int(sums.get(f"surgewatch_records_total {result}", 0))
        for result in ("counted", "late", "dead")
    }
    return WorkerSigns(
        records=sum(results.values()),
        dead=results["dead"],
        late=results["late"],
        creators=int(sums.get("surgewatch_creators_known follows", 0)),
        watermark_ms=round(min(watermarks) * 1000) if watermarks else None,
        cpu_seconds=sums.get("process_cpu_seconds_total", 0.0),
        resident_bytes=int(sums.get("process_resident_memory_bytes", 0)),
    )


def _page(host: str, port: int, path: str) -> tuple[int, str]:
    """Status and text of a page; status 0 when nobody answers."""
    connection = http.client.HTTPConnection(host, port, timeout=_ANSWER_SECONDS_MAX)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()
