"""A site: one place in one model where an activation lives, with its width and its hook."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from causaldsl.diagnostics import Mistake
from causaldsl.model.dictionaries.form import Dictionary
from causaldsl.model.shapes import ModelDims
from causaldsl.vocabulary.sites import SITE_WORDS, SITES, SiteWord

_NOT_BY_POSITION = ("hook_pattern", "hook_attn_scores", "hook_rot_q", "hook_rot_k")
_JOINED_Z = re.compile(r"blocks\.\d+\.attn\.hook_z")
_BLOCK = re.compile(r"blocks\.(\d+)\.")
_STREAM_BY_NORM = {"ln1.hook_in": "resid_pre", "ln2.hook_in": "resid_mid"}
_STREAM_BY_NORM["hook_resid_mid"] = "resid_mid"
"""Hooks of a block that show the stream as a norm reads it: what goes past the norm is not seen."""
_SHARED = ("ln1.hook_out", "ln1.hook_normalized", "ln1.hook_scale")


@dataclass(frozen=True, order=True)
class Site:
    """A place in a model.

    ``kind`` is a word of :data:`causaldsl.vocabulary.sites.SITES`; ``"hook"`` is any other hook of
    TransformerLens, named by ``hook``. Layers and heads count from 0. For ``kv_head.*`` the head is
    the index of the shared key-value head. ``"random_mlp"`` is the hidden layer of an MLP that is
    not in the model: see ``engine/random_mlp.py``. ``"features"`` are those of a ``dictionary``:
    all of them, or the ``numbers`` that are given.
    """

    kind: str
    layer: int | None = None
    head: int | None = None
    hook: str | None = None
    seed: int | None = None
    dictionary: Dictionary | None = None
    numbers: tuple[int, ...] | None = None

    def __str__(self) -> str:
        if self.dictionary is not None:
            return f"{self.dictionary.name}.features{_numbered(self.numbers)}"
        if self.seed is not None:
            return f"random_mlp({self.layer}, seed: {self.seed})"
        if self.kind == "hook":
            return f'hook("{self.hook}")'
        if self.head is not None:
            owner, part = self.kind.split(".")
            return f"{owner}[{self.layer}.{self.head}].{part}"
        return self.kind if self.layer is None else f"{self.kind}[{self.layer}]"

    @property
    def word(self) -> SiteWord:
        """All that is known of sites of this kind."""
        return SITES[self.kind]

    @property
    def hook_name(self) -> str:
        """The TransformerLens hook point where this activation is seen.

        Reading ``resid_mid`` there is right; writing there is not (it is the input of the layer
        norm only, so the skip connection would keep the old value). See ``SiteWord.written``.
        """
        if self.dictionary is not None:
            return self.written.hook_name
        return self.hook or self.word.hook.format(layer=self.layer)

    @property
    def written(self) -> Site:
        """Where a change of it is made: of features, where their dictionary writes."""
        return self if self.dictionary is None else self._of(self.dictionary.writes)

    @property
    def read(self) -> Site:
        """Where features are read from, by their dictionary."""
        return self if self.dictionary is None else self._of(self.dictionary.reads)

    def _of(self, kind: str) -> Site:
        return Site(kind, self.layer) if kind in SITES else Site("hook", hook=kind)

    @property
    def by_position(self) -> bool:
        """Whether its hook shows one vector a prompt and token, as far as its name tells."""
        return self.is_pattern or not self.hook_name.endswith(_NOT_BY_POSITION)

    @property
    def is_pattern(self) -> bool:
        """Whether it has a number for each token of the prompt, and so is as wide as that."""
        return self.kind == "head.pattern"

    @property
    def is_virtual(self) -> bool:
        """Whether it is not in the model itself, so that other sites stand in for it."""
        return bool(self.word.reads)

    def of_layer(self, kind: str, head: int | None = None) -> Site:
        """Another site of the same layer."""
        return Site(kind, self.layer, head)

    def width(self, shapes: ModelDims) -> int | None:
        """Size of the activation's last dimension; None where only the run knows it: for a raw
        hook, and for a pattern of attention.

        The hook of a layer's z is known: it shows all heads, one after the other.
        """
        if self.dictionary is not None:
            return self.dictionary.form.features if self.numbers is None else len(self.numbers)
        if self.hook is not None:
            joined = _JOINED_Z.fullmatch(self.hook)
            return shapes.n_heads * shapes.d_head if joined else None
        if not self.word.width:
            return None
        mlp = None if self.layer is None else shapes.mlp(self.layer)
        if self.word.width == "d_mlp" and mlp is not None:
            return mlp.d_hidden
        return int(getattr(shapes, self.word.width))

    def depth(self, shapes: ModelDims) -> tuple[int, int]:
        """Layer and place in it, in the order of the forward pass. See :meth:`before`."""
        if self.dictionary is not None:
            return self.written.depth(shapes)
        if self.hook is not None:  # all that is known of a raw hook is its block
            match = _BLOCK.match(self.hook)
            return (int(match[1]) if match else -1), 0
        if self.layer is None:
            return (-1 if self.word.entry == "tokens" else shapes.n_layers), 0
        return self.layer, self.word.depth

    def before(self, other: Site, shapes: ModelDims) -> bool:
        """Whether a change here can change the other site, at the same token."""
        return self.depth(shapes) < other.depth(shapes) and not self.beside(other, shapes)

    def beside(self, other: Site, shapes: ModelDims) -> bool:
        """Whether one is of attention and the other of the MLP of one parallel block: both read
        what enters the block, and neither reads the other."""
        here, there = self.written, other.read
        return (
            shapes.parallel
            and here.layer == there.layer
            and {here.word.part, there.word.part} == {"attention", "mlp"}
        )

    def feeds_attention(self, shapes: ModelDims) -> bool:
        """Whether some attention layer reads this site, so that later positions can see it."""
        if self.dictionary is not None:
            return self.written.feeds_attention(shapes)
        before_last = self.layer is not None and self.layer < shapes.n_layers - 1
        return self.word.attends or before_last

    def outputs(self, shapes: ModelDims) -> list[Site]:
        """The outputs of its component that are computed from what is received here: z of every
        head that shares a key or value, or the MLP's output."""
        if not self.word.receives or not self.word.into:
            return []
        if self.head is None:
            return [self.of_layer(self.word.into)]
        group = shapes.n_heads // shapes.n_kv_heads if self.word.needs == "shared" else 1
        members = range(self.head * group, (self.head + 1) * group)
        return [self.of_layer(self.word.into, head) for head in members]

    def check(self, shapes: ModelDims) -> None:
        """Raise a :class:`Mistake` if this model has no such site."""
        if self.hook is not None:
            self._check_raw(shapes, self.hook)
            return
        if not shapes.text and self.kind not in {site.kind for site in all_sites(shapes)}:
            *sites, last = map(str, all_sites(shapes))
            raise Mistake(
                "no-such-site",
                f"{shapes.name} is a toy model, so it has no {self}",
                f"its sites are {', '.join(sites)} and {last}",
            )
        n_layers = shapes.n_layers
        if self.layer is not None and not 0 <= self.layer < n_layers:
            raise Mistake(
                "layer-range",
                f"{shapes.name} has no layer {self.layer}",
                f"its layers are 0 to {n_layers - 1}"
                + ", counted from the first" * (self.layer < 0),
            )
        if self.word.needs == "sequential" and shapes.parallel:
            raise Mistake(
                "no-such-site",
                f"{shapes.name} runs attention and MLP in parallel, so it has no resid_mid",
                "use resid_pre or resid_post",
            )
        if self.word.needs == "neurons" and self.layer is not None:
            self._check_neurons(shapes, self.layer)
        if self.head is not None:
            self._check_head(shapes, self.head)

    def _check_raw(self, shapes: ModelDims, hook: str) -> None:
        """A hook that shows only one of the places where the model reads an activation."""
        match = _BLOCK.match(hook)
        if match is None or not shapes.text:
            return
        layer, rest = match[1], hook[match.end() :]
        use = _STREAM_BY_NORM.get(rest)
        if use == "resid_mid" and shapes.parallel:
            use = "resid_pre"
        block = shapes.form.blocks[0] if shapes.form is not None else None
        if block is not None and rest == "attn.hook_in" and block.before_attention is None:
            use = "resid_pre"  # attention reads the stream itself
        one_norm = block is not None and block.before_attention == block.before_mlp
        if rest in _SHARED and shapes.parallel and one_norm:
            raise Mistake(
                "two-readers",
                f"attention and MLP of {shapes.name} both read {self}",
                f"use mlp_in[{layer}], or resid_pre[{layer}] for both",
            )
        if use is not None:
            raise Mistake(
                "two-readers",
                f"{self} is the residual stream as one of its readers sees it: what goes past that "
                "would keep its old value",
                f"use {use}[{layer}]",
            )

    def _check_neurons(self, shapes: ModelDims, layer: int) -> None:
        """Whether the layer's MLP has one hidden layer, and, for one beside it, known matrices."""
        if not shapes.has_neurons(layer):
            mlp = shapes.mlp(layer)
            count = f"{mlp.experts.n} experts" if mlp and mlp.experts else "experts"
            raise Mistake(
                "no-such-site",
                f"the MLP of layer {layer} of {shapes.name} is a mixture of {count}, so it has no "
                f"{self.kind.replace('random_mlp', 'one shape for a random MLP')}",
                f"use mlp_out[{layer}]",
            )
        if self.is_virtual and shapes.text and shapes.form is None:
            raise Mistake(
                "no-matrix",
                f"{self} is drawn like the MLP of layer {layer}, and where {shapes.architecture} "
                "keeps its matrices is not known here",
                "`causaldsl models --families` lists the families that are known",
            )

    def _check_head(self, shapes: ModelDims, head: int) -> None:
        kv = self.word.index == "kv_head"
        count = shapes.n_kv_heads if kv else shapes.n_heads
        if not 0 <= head < count:
            what = "key-value heads" if kv else "heads"
            raise Mistake(
                "head-range",
                f"{shapes.name} has no {what[:-1]} {head}",
                f"each layer has {what} 0 to {count - 1}",
            )
        if self.word.needs == "own" and shapes.n_kv_heads != shapes.n_heads:
            group = shapes.n_heads // shapes.n_kv_heads
            shared, part = head // group, self.kind[-1]
            members = ", ".join(f"{self.layer}.{shared * group + i}" for i in range(group))
            raise Mistake(
                "shared-kv-head",
                f"head {self.layer}.{head} has no {part} of its own in {shapes.name}",
                f"heads {members} share one: write kv_head[{self.layer}.{shared}].{part}",
            )


def _numbered(numbers: Sequence[int] | None) -> str:
    if numbers is None:
        return ""
    listed = ", ".join(map(str, numbers))
    return f"[{listed}]" if len(numbers) == 1 else f"[{{{listed}}}]"


def all_sites(shapes: ModelDims) -> list[Site]:
    """Every named site of a model, in the order in which a forward pass meets them."""
    if not shapes.text:  # a toy model: one hidden layer, and no residual stream
        heads = [Site("head.z", 0, head) for head in range(shapes.n_heads)]
        return [*(heads or [Site("mlp_hidden", 0)]), Site("logits")]
    present = [word for word in SITE_WORDS.values() if has_site(shapes, word)]
    first, last = (
        [Site(w.word) for w in present if w.index == "none" and (w.entry == "tokens") == before]
        for before in (True, False)
    )
    indices: dict[str, Sequence[int | None]] = {
        "layer": [None],
        "head": range(shapes.n_heads),
        "kv_head": range(shapes.n_kv_heads),
    }
    inner = [
        Site(word.word, layer, head)
        for layer in range(shapes.n_layers)
        for word in present
        if has_site(shapes, word, layer)
        for head in indices.get(word.index, ())
    ]
    return [*first, *inner, *last]


def has_site(shapes: ModelDims, word: SiteWord, layer: int | None = None) -> bool:
    """Whether a model has sites of this kind, in a layer or at all."""
    shared = shapes.n_kv_heads != shapes.n_heads
    layers = range(shapes.n_layers) if layer is None else [layer]
    lacking = {
        "sequential": shapes.parallel,
        "own": shared,
        "shared": not shared,
        "neurons": not any(shapes.has_neurons(layer) for layer in layers),
    }
    return not lacking.get(word.needs, False)
