"""When the certificates in use end, and whether their files serve: computed when asked for."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.edges.metrics.catalogue_running import CERTIFICATE_END, TLS_FILES_UNFIT
from streams.edges.metrics.specs import MetricSpec
from streams.edges.tls.certificates import FilesState


class Certificates(Collector):
    """Reads the files at each scrape, for a renewed one counts from the next connection on."""

    def __init__(self, states: Callable[[], Iterable[FilesState]]) -> None:
        self._states = states

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        ends, unfit = _family_of(CERTIFICATE_END), _family_of(TLS_FILES_UNFIT)
        for state in self._states():
            unfit.add_metric((state.use,), float(state.problem is not None))
            for one in state.ends:
                ends.add_metric((one.use, one.part), one.end.timestamp())
        yield from (ends, unfit)


def _family_of(spec: MetricSpec) -> GaugeMetricFamily:
    return GaugeMetricFamily(spec.family, spec.meaning, labels=spec.label_names)
