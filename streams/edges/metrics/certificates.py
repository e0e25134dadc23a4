"""When the certificates in use end, as a metric that is computed when it is asked for."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.edges.metrics.catalogue_running import CERTIFICATE_END as SPEC
from streams.edges.tls.certificates import CertificateEnd


class CertificateEnds(Collector):
    """Reads the files at each scrape, for a renewed one counts from the next connection on."""

    def __init__(self, ends: Callable[[], Iterable[CertificateEnd]]) -> None:
        self._ends = ends

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        family = GaugeMetricFamily(SPEC.family, SPEC.meaning, labels=SPEC.label_names)
        for one in self._ends():
            family.add_metric((one.use, one.part), one.end.timestamp())
        yield family
