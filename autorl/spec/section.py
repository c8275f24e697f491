"""What every section of a file has in common."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

MAX_ENTRIES = 10_000


class Spec(BaseModel):
    """Base of every section: frozen, strict, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())

    def mistakes(self) -> list[tuple[str, str]]:
        """Return what is wrong with the keys taken together, as (key, or empty for the section; message)."""
        return []

    @model_validator(mode="after")
    def _together(self) -> Self:
        if found := self.mistakes():
            raise PydanticCustomError("mistakes", "{text}", {"found": found, "text": "; ".join(m for _, m in found)})
        return self


def whole(value: Any) -> Any:
    """Read a whole number however it is written: `1e6` is one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def as_tuple(value: Any) -> Any:
    """Turn the list that a file holds into the tuple that a frozen section holds."""
    if isinstance(value, list) and len(value) > MAX_ENTRIES:
        raise ValueError(f"a list of {len(value):,} entries; at most {MAX_ENTRIES:,} are allowed")
    return tuple(value) if isinstance(value, list) else value


Whole = Annotated[int, BeforeValidator(whole)]
