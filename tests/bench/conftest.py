"""Peers' engines import packages that are not here: no test may be looked for in them."""

from tests.bench.engines import ENGINES

collect_ignore = [f"engines/{engine.module}.py" for engine in ENGINES if engine.peer]
