"""Strategies by name: those of the catalog, and a user's own, one file each in the strategies directory.

A file is run only when its strategy is named; nothing in the directory is run for being there.
"""

from __future__ import annotations

import importlib.util
import keyword
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from app.domain.errors import Conflict, InvalidInput
from app.domain.forecast import Forecaster
from app.engine.decision import Sleeve
from app.engine.strategy_rules import strategy_limits, strategy_policy
from app.risk.limits import Policy, RiskLimits
from app.services.strategies import strategy_templates
from app.strategies.catalog import CATALOG, MODEL_DRIVEN, find
from app.strategies.forecaster import StrategyForecaster
from app.strategies.forecasts import Hybrid
from app.strategies.laws import broken_laws
from app.strategies.strategy import Strategy, Values, checked

_DECLARES = ("name", "doc", "parameters", "exits", "threshold", "memory", "columns", "score")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A strategy with every parameter it has."""

    strategy: Strategy
    values: Mapping[str, float]

    @property
    def name(self) -> str:
        """The strategy's."""
        return self.strategy.name

    @property
    def memory(self) -> int:
        """How many bars it needs."""
        return self.strategy.memory(self.values)

    @property
    def uses_models(self) -> bool:
        """Whether it asks the models for forecasts."""
        return isinstance(self.strategy, Hybrid)

    def forecaster(self, models: Forecaster) -> StrategyForecaster:
        """What a live cycle asks."""
        return StrategyForecaster(self.strategy, self.values, models=models if self.uses_models else None)

    def rules(self, limits: RiskLimits, policy: Policy) -> tuple[RiskLimits, Policy]:
        """Limits and policy with its thresholds and exits."""
        return strategy_limits(self.strategy, limits), strategy_policy(self.strategy, self.values, policy)

    def sleeves(self, policy: Policy) -> tuple[Sleeve, ...]:  # noqa: ARG002 - as an account that several share has them
        """None: it has the whole account."""
        return ()


class StrategyService:
    """Finds strategies and writes new ones."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def own(self) -> list[str]:
        """Names of the user's own strategies, by their files; none of them is run."""
        if not self._directory.is_dir():
            return []
        return sorted(p.stem for p in self._directory.glob("*.py") if p.stem.isidentifier() and not p.stem.startswith("test_"))

    def find(self, name: str) -> Strategy:
        """The strategy of that name, a user's own run from its file. Raises NotFound naming those near it, InvalidInput naming
        the file and the line that is wrong."""
        own = self.own()
        return load(self._directory / f"{name}.py") if name in own and name not in CATALOG else find(name, own)

    def choose(self, name: str, given: Values) -> Chosen:
        """A strategy to trade with. Raises InvalidInput as well for wrong parameters, and for a user's own that looks ahead or
        remembers more than it declares."""
        strategy = self.find(name)
        values = checked(strategy, given)
        if name not in CATALOG:
            path = self._directory / f"{name}.py"
            with _faults_of(path):
                faults = broken_laws(strategy, values)
            if faults:
                raise InvalidInput(f"{path}: " + "; ".join(faults), code="strategy_unsound")
        return Chosen(strategy=strategy, values=values)

    def create(self, name: str, *, as_class: bool) -> tuple[Path, Path]:
        """Write a working strategy and its test; their files. Raises InvalidInput for a name that cannot be one, Conflict
        when it is taken; nothing is overwritten."""
        if not (name.isidentifier() and name.isascii() and name == name.lower()) or name.startswith(("test_", "_")):
            raise InvalidInput(f"{name!r} cannot be a strategy's name: use small letters, digits and _, a letter first")
        if keyword.iskeyword(name) or importlib.util.find_spec(name) is not None:
            raise InvalidInput(f"{name} is a word or module of Python, so its test could not import it; choose another name")
        if name in CATALOG or name == MODEL_DRIVEN:
            raise Conflict(f"{name} is a strategy of the product; choose another name")
        path, test = self._directory / f"{name}.py", self._directory / f"test_{name}.py"
        for taken in (path, test):
            if taken.exists():
                raise Conflict(f"{taken} exists already; choose another name, or remove it first")
        self._directory.mkdir(parents=True, exist_ok=True)
        words = {"name": name, "title": "".join(part.capitalize() for part in name.split("_")), "directory": self._directory}
        template = strategy_templates.CLASS if as_class else strategy_templates.VECTOR
        path.write_text(template.format(**words))
        test.write_text(strategy_templates.TEST.format(**words))
        return path, test


def load(path: Path) -> Strategy:
    """The STRATEGY of a file. Raises InvalidInput naming the file, and the line where it fails."""
    module = _run(path)
    strategy: Strategy | None = getattr(module, "STRATEGY", None)
    if strategy is None:
        raise InvalidInput(f"{path}: it defines no STRATEGY; end it with STRATEGY = YourClass() (see docs/strategies.md)")
    lacking = [name for name in _DECLARES if not hasattr(strategy, name)]
    if lacking:
        hint = "; wrap a class with on_bar in class_strategy(...)" if hasattr(strategy, "on_bar") else ""
        raise InvalidInput(f"{path}: STRATEGY lacks {', '.join(lacking)}{hint}")
    if strategy.name != path.stem:
        raise InvalidInput(f"{path}: STRATEGY is named {strategy.name!r}; name it as its file, {path.stem!r}")
    with _faults_of(path):
        values = checked(strategy, {})
        threshold, memory = strategy.threshold(values), strategy.memory(values)
    if not 0.0 < threshold <= 1.0 or memory < 1:
        raise InvalidInput(f"{path}: threshold must be above 0 to 1, memory at least 1; they are {threshold} and {memory}")
    return strategy


def _run(path: Path) -> ModuleType:
    name = f"own_strategy_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InvalidInput(f"{path}: it cannot be read as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    with _faults_of(path):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _faults_of(path: Path) -> Iterator[None]:
    """Whatever a user's file raises becomes InvalidInput with the file and the line."""
    try:
        yield
    except SyntaxError as fault:
        raise InvalidInput(f"{path} line {fault.lineno}: {fault.msg}") from fault
    except Exception as fault:
        raise InvalidInput(f"{path}{_line(path, fault)}: {type(fault).__name__}: {fault}") from fault


def _line(path: Path, fault: Exception) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(fault.__traceback__) if Path(frame.filename).name == path.name]
    return f" line {lines[-1]}" if lines else ""
