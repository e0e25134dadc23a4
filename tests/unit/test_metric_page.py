"""The documents that are made from code are as fresh as the code."""

import pytest

from streams.edges.metrics.catalogue import CATALOGUE
from tests.docs import documents


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_a_document_made_from_code_is_not_stale(path: object) -> None:
    expected = {str(one): text for one, text in documents().items()}[str(path)]
    with open(str(path), encoding="utf-8") as file:
        assert file.read() == expected, "run: make docs"


def test_every_metric_is_in_its_document_with_its_meaning() -> None:
    (text,) = [text for path, text in documents().items() if path.name == "metrics.md"]
    for spec in CATALOGUE:
        assert f"| `{spec.name}` | {spec.type} |" in text
        assert spec.meaning in text
