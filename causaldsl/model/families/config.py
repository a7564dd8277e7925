"""Reading a Hugging Face ``config.json``: the same thing is spelled differently in each family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from causaldsl.diagnostics import Mistake
from causaldsl.model.families.forms import Rotary

LARGEST, MOST_LAYERS = 2**31 - 1, 10_000
"""What no size of a model is above, and how many layers none has."""
Windows = Callable[[int], int | None]
"""The window of a layer."""


class Config:
    """The entries of a configuration. What a file leaves out has the family's default value."""

    def __init__(self, entries: Mapping[str, Any], name: str = "this model"):
        self.entries, self.name = entries, name

    def get(self, key: str, default: Any = None) -> Any:
        """An entry, also one that is null; the default if it is left out."""
        return self.entries.get(key, default)

    def first(self, *keys: str) -> int | None:
        """The first of these keys that is set, as a whole number.

        Raises :class:`Mistake` for one that has several values, a layer each.
        """
        for key in keys:
            value = self.entries.get(key)
            if value is None:
                continue
            if isinstance(value, list) and len(set(map(str, value))) == 1:
                value = value[0]
            if isinstance(value, list):
                raise Mistake(
                    "unreadable-config",
                    f"the configuration of {self.name} has several values of {key}",
                    "layers of one size are expected",
                )
            whole = isinstance(value, int | float) and float(value).is_integer()
            if not whole or not 0 <= value <= LARGEST:
                raise Mistake(
                    "unreadable-config",
                    f"the configuration of {self.name} has {str(value)[:40]!r} as its {key}",
                    f"a whole number up to {LARGEST} is expected",
                )
            return int(value)
        return None

    def needed(self, what: str, *keys: str) -> int:
        """The first of these keys that is there. Raises :class:`Mistake` if none is."""
        found = self.first(*keys)
        if found is None:
            family = str(self.get("model_type", ""))
            raise Mistake(
                "unreadable-config",
                f"the configuration of {self.name} does not name its {what}",
                f"its model_type is {family!r}; a decoder-only Hugging Face config is expected",
            )
        return found

    @property
    def n_layers(self) -> int:
        found = self.needed("layers", "num_hidden_layers", "n_layer", "num_layers", "n_layers")
        if found > MOST_LAYERS:
            message = f"the configuration of {self.name} names {found} layers"
            raise Mistake("unreadable-config", message, f"at most {MOST_LAYERS} are read")
        return found

    @property
    def d_model(self) -> int:
        return self.needed("width", "hidden_size", "n_embd", "d_model")

    @property
    def n_heads(self) -> int:
        return self.needed("heads", "num_attention_heads", "n_head", "num_heads", "n_heads")

    @property
    def d_vocab(self) -> int:
        return self.needed("vocabulary", "vocab_size")

    @property
    def n_ctx(self) -> int:
        keys = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")
        return self.first(*keys) or 2048

    @property
    def n_kv_heads(self) -> int:
        return self.first("num_key_value_heads", "num_kv_heads") or self.n_heads

    @property
    def d_mlp(self) -> int:
        keys = ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")
        return self.first(*keys) or 4 * self.d_model

    def d_head(self, default: int | None = None) -> int:
        return self.first("head_dim") or default or self.d_model // self.n_heads

    def rotary(
        self,
        d_head: int,
        part: float = 1.0,
        pairs: Any = "halves",
        layer_type: str = "",
    ) -> Rotary:
        """Its rotary embedding; ``part`` of a head is rotated where no file says otherwise."""
        told = self.get("rope_parameters") or self.get("rope_scaling") or {}
        own = told.get(layer_type, told) or {}
        kind = own.get("rope_type") or own.get("type") or "default"
        for value in (self.get("rotary_pct"), self.get("partial_rotary_factor")):
            part = part if value is None else float(value)
        part = float(own.get("partial_rotary_factor") or part)
        longest = None
        if kind == "dynamic":
            longest = self.n_ctx
        elif kind == "longrope":
            key = "original_max_position_embeddings"
            longest = int(own.get(key) or self.get(key) or self.n_ctx)
        return Rotary(int(d_head * part), pairs, kind, layer_type, longest)

    def layer_types(self, sliding: Callable[[int], bool]) -> list[str]:
        """``sliding_attention`` or ``full_attention`` for each layer, by a rule if not named."""
        named = self.get("layer_types")
        if named:
            return list(named)
        kinds = ("full_attention", "sliding_attention")
        return [kinds[sliding(layer)] for layer in range(self.n_layers)]
