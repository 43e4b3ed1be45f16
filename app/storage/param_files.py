"""Tuned hyper-parameters on disk: one small JSON file a symbol, replaced whole, checked on every read."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from app.domain.errors import InvalidInput
from app.learning.model import ParamChoice, TunedParams
from app.learning.parameters import DEFAULT_PARAMS, EnsembleParams
from app.runtime.whole_file import replace_file
from app.storage.file_names import file_name

_MOST_BYTES = 64 * 1024


class _ParamFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    symbol: str
    params: EnsembleParams
    tuned_through: AwareDatetime
    loss: float = Field(ge=0, allow_inf_nan=False)
    default_loss: float = Field(ge=0, allow_inf_nan=False)
    trials: int = Field(ge=1)


class ParamFiles:
    """The `ParamStore` in a directory: <root>/<SYMBOL>.json."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def load(self, symbol: str) -> TunedParams | None:
        """What tuning found for `symbol`, None when it has not been tuned. Raises InvalidInput for a bad file."""
        path = self._path(symbol)
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise InvalidInput("it is larger than a parameter file can be")
            found = _ParamFile.model_validate_json(path.read_bytes())
        except InvalidInput as fault:
            raise InvalidInput(f"{path.name}: {fault.message}") from None
        except FileNotFoundError:
            return None
        except OSError:
            raise InvalidInput(f"{path.name} cannot be read") from None
        except ValidationError as fault:
            first = fault.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise InvalidInput(f"{path.name}: {where}: {first['msg']}") from None
        if found.symbol != symbol:
            raise InvalidInput(f"{path.name} holds the parameters of {found.symbol}")
        return TunedParams(
            symbol=symbol,
            params=found.params,
            tuned_through=found.tuned_through,
            loss=found.loss,
            default_loss=found.default_loss,
            trials=found.trials,
        )

    def choose(self, symbol: str, *, at: datetime) -> ParamChoice:
        """The tuned parameters if they are sound and know nothing after `at`, else the defaults with the reason."""
        try:
            tuned = self.load(symbol)
        except InvalidInput as fault:
            return ParamChoice(params=DEFAULT_PARAMS, source="default", reason=f"tuned parameters refused: {fault.message}")
        if tuned is None:
            return ParamChoice(params=DEFAULT_PARAMS, source="default")
        if tuned.tuned_through > at:
            reason = f"tuned on data up to {tuned.tuned_through:%Y-%m-%d}, which is in the future of this training"
            return ParamChoice(params=DEFAULT_PARAMS, source="default", reason=reason)
        return ParamChoice(params=tuned.params, source="tuned")

    def save(self, tuned: TunedParams) -> None:
        """Keep `tuned` as the parameters of its symbol, atomically."""
        content = _ParamFile(
            symbol=tuned.symbol,
            params=tuned.params,
            tuned_through=tuned.tuned_through,
            loss=tuned.loss,
            default_loss=tuned.default_loss,
            trials=tuned.trials,
        )
        replace_file(self._path(tuned.symbol), content.model_dump_json(indent=1).encode() + b"\n")

    def _path(self, symbol: str) -> Path:
        return self._root / f"{file_name(symbol)}.json"
