"""What every record is, and a number with its interval."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

Value = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""A number; null in JSON, and nan here, where it is withheld or has no end."""


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class Number(Record):
    """A number over n units with its 95% bootstrap interval; over one unit it has none.

    Pairs that share a prompt are one unit. A number that is withheld is null; a note says why.
    """

    mean: Value
    n: int
    low: Value
    high: Value
