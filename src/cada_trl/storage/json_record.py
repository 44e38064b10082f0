"""Results as closed JSON objects: what is written can be read again, and nothing else. No torch."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from cada_trl.errors import UserError


class JsonRecord(BaseModel):
    """An immutable object without unknown fields; an infinite or undefined number is refused, null is "not known"."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def to_json(self) -> dict[str, Any]:
        """Plain objects, for json.dumps."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Inverse of to_json. Errors: UserError names the first field that is missing, unknown or wrong."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(part) for part in problem["loc"])
            raise UserError(
                f"{cls.__name__.lower()}: {where or 'the whole'}: {problem['msg']}; it was edited or is of another "
                "version: make it again"
            ) from error
