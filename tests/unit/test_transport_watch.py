"""A lost Kafka is told in one plain line, now and then, and its return too."""

import pytest
from aiokafka.errors import KafkaConnectionError

from streams.edges.errors import KafkaUnreachable
from streams.edges.transport.watch import KafkaWatch, lost_while_starting

NOON = 1_736_942_400.0


def heard(caplog: pytest.LogCaptureFixture, *seconds: tuple[float, float]) -> tuple[list[str], int]:
    """Lines, and how many failures were told; ``seconds``: silence, and time after noon."""
    failures: list[bool] = []
    watch = KafkaWatch("kafka:9092", lambda: failures.append(True))
    with caplog.at_level("WARNING"):
        for silent_seconds, after_noon in seconds:
            watch.hear(silent_seconds, NOON + after_noon)
    return [record.getMessage() for record in caplog.records], len(failures)


def test_a_short_silence_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    assert heard(caplog, (0.4, 0), (4.9, 5), (0.0, 6)) == ([], 0)


def test_a_loss_is_told_with_its_beginning_each_half_minute_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    silence = [(float(second), float(second)) for second in range(5, 66)]
    lines, failures = heard(caplog, *silence, (0.1, 66.0), (0.1, 67.0))
    assert len(lines) == 4
    assert failures == 3
    assert lines[0].startswith("Kafka at kafka:9092 has not answered since 12:00:00 UTC (5 s)")
    assert "(35 s)" in lines[1]
    assert "(65 s)" in lines[2]
    assert lines[3] == "Kafka at kafka:9092 answers again after 65 s"


def test_a_second_loss_is_told_at_once(caplog: pytest.LogCaptureFixture) -> None:
    lines, _ = heard(caplog, (6.0, 6), (0.0, 7), (5.5, 20))
    assert ["answers again" in line for line in lines] == [False, True, False]


def test_a_kafka_that_goes_while_the_app_starts_cannot_be_reached_and_is_no_bug() -> None:
    with (
        pytest.raises(KafkaUnreachable, match=r"cannot reach .*:9092 .*bootstrap") as told,
        lost_while_starting("kafka:9092"),
    ):
        raise KafkaConnectionError("Unable to bootstrap from kafka:9092")  # noqa: EM101 - aiokafka's
    assert told.value.exit_code == 3
