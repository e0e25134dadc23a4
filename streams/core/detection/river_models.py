"""River's own anomaly detectors: made by name, asked one count at a time, kept as bytes.

River's models bring SciPy: half of a worker's start and 80 MB. Only who asks for one pays.
"""

import importlib
import inspect
import io
import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from river import base

_FEATURE: Final = "count"
_PROBE_COUNTS: Final = (3.0, 0.0, 5.0)


class RiverDetectorError(ValueError):
    """The detector named in the settings cannot be used; ``path`` names it."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"detector {path!r}: {why}")
        self.path = path


class RiverStateError(ValueError):
    """A stored River model cannot be read."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"stored River model: {why}; it was damaged, or written by another version of River:"
            " empty the store and let the worker read the topics again"
        )


@dataclass(frozen=True, slots=True)
class RiverRecipe:
    """Which River detector to make: dotted path under ``river.`` and constructor arguments."""

    path: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def model(self) -> "RiverModel":
        """Make a fresh model; raises `RiverDetectorError` when that cannot be.

        A seed that is not given is 0, so that the same counts give the same scores.
        HalfSpaceTrees wants values in 0..1: without ``limits`` a MinMaxScaler goes before it.
        """
        from river import anomaly, preprocessing  # noqa: PLC0415 slow to import, and large

        kind = self._kind()
        parameters = dict(self.parameters)
        if "seed" in inspect.signature(kind).parameters:
            parameters.setdefault("seed", 0)
        try:
            made = kind(**parameters)
        except (TypeError, ValueError, AttributeError) as error:
            raise RiverDetectorError(self.path, f"bad detector_parameters: {error}") from error
        if kind is anomaly.HalfSpaceTrees and "limits" not in parameters:
            made = preprocessing.MinMaxScaler() | made
        return RiverModel(made)

    def check(self) -> None:
        """Make one and feed it three counts, so that a misfit shows at the start."""
        model = self.model()
        try:
            for count in _PROBE_COUNTS:
                model.learn(count)
                model.score(count)
        except Exception as error:  # a foreign class may raise anything
            why = f"cannot work on a count: {type(error).__name__}: {error}"
            raise RiverDetectorError(self.path, why) from error

    def _kind(self) -> Any:
        module_name, _, name = self.path.rpartition(".")
        if not f"{module_name}.".startswith("river."):
            why = "must be a dotted path that begins with river., as river.anomaly.GaussianScorer"
            raise RiverDetectorError(self.path, why)
        try:
            kind = getattr(importlib.import_module(module_name), name)
        except (ImportError, AttributeError) as error:
            from river import anomaly  # noqa: PLC0415 slow to import: only who names it pays

            why = f"River has no such class; river.anomaly has: {', '.join(anomaly.__all__)}"
            raise RiverDetectorError(self.path, why) from error
        if not inspect.isclass(kind) or not issubclass(kind, _DETECTORS):
            raise RiverDetectorError(self.path, "is not an anomaly detector of River")
        return kind


_DETECTORS: Final = (base.AnomalyDetector, base.SupervisedAnomalyDetector)


class RiverModel:
    """One River detector of either kind behind two calls that take a count."""

    def __init__(self, model: Any) -> None:
        self._model = model
        # River's supervised detectors judge a target y, the others a dictionary of features.
        self._supervised = isinstance(model, base.SupervisedAnomalyDetector)

    def learn(self, count: float) -> None:
        """Learn a closed bucket's count."""
        if self._supervised:
            self._model.learn_one({}, count)
        else:
            self._model.learn_one({_FEATURE: count})

    def score(self, count: float) -> float:
        """Give River's raw score of a count: finite; what is not a number is 0."""
        if self._supervised:
            score = float(self._model.score_one({}, count))
        else:
            score = float(self._model.score_one({_FEATURE: count}))
        return 0.0 if math.isnan(score) else min(max(score, -1e300), 1e300)

    def dump(self) -> bytes:
        """Give the model as bytes that `load` reads. River objects have no other form."""
        return pickle.dumps(self._model, protocol=5)

    @classmethod
    def load(cls, raw: bytes) -> "RiverModel":
        """Read what `dump` wrote; raises `RiverStateError`."""
        from river import compose  # noqa: PLC0415 slow to import: see above

        try:
            model = _RiverUnpickler(io.BytesIO(raw)).load()
        except RiverStateError:
            raise
        except Exception as error:  # damaged pickles raise whatever the bytes happen to say
            why = type(error).__name__
            raise RiverStateError(why) from error
        if not isinstance(model, (*_DETECTORS, compose.Pipeline)):
            why = f"it holds a {type(model).__name__}, not an anomaly detector"
            raise RiverStateError(why)
        return cls(model)


class _RiverUnpickler(pickle.Unpickler):
    """Reads River models and nothing that could act.

    A plain unpickler calls whatever the bytes name: who can write to the store could then run
    code in every worker. Found are only classes of River's model packages, plain containers,
    Random and numpy's arrays; never a dotted name: through a module it leads to os.system.
    """

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Find what the bytes name, or raise `RiverStateError`."""
        if (module_name, global_name) in _ALLOWED:
            return super().find_class(module_name, global_name)
        if "." not in global_name and f"{module_name}.".startswith("river."):
            found = super().find_class(module_name, global_name)
            home = f"{getattr(found, '__module__', '')}."
            plain = inspect.isclass(found) and not home.startswith(_ACTING)
            # River's Rust functions only calculate; its Python ones may open files.
            if home.startswith("river._river_rust.") or (plain and home.startswith("river.")):
                return found
        why = f"it names {module_name}.{global_name}, which no River model needs"
        raise RiverStateError(why)


_ACTING: Final = ("river.checks.", "river.datasets.", "river.evaluate.", "river.stream.")
"""Packages of River that read files, fetch data or run others."""
_ALLOWED: Final = frozenset(
    {
        *(("builtins", name) for name in ("bytearray", "dict", "float", "frozenset", "int")),
        *(("builtins", name) for name in ("list", "set", "str", "tuple", "complex", "bool")),
        *(("collections", name) for name in ("Counter", "OrderedDict", "defaultdict", "deque")),
        ("functools", "partial"),
        ("random", "Random"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
    }
)
