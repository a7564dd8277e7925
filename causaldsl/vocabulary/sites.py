"""The words that name a place in the model where an activation lives: every fact about a site.

The names are TransformerLens's. Catalog, check, plan, both backends, `causaldsl sites` and the
reference read this table. A new site is a row here, a place in the cone's forward pass, and one in
the oracles of the tests: docs/extending.md lists all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Index = Literal["none", "layer", "head", "kv_head"]


@dataclass(frozen=True)
class SiteWord:
    """One kind of site.

    ``word`` is its spelling, ``index`` what stands in its brackets, ``width`` the name of the
    dimension in :class:`causaldsl.model.shapes.ModelDims` ("" if only the run knows it), ``doc``
    one sentence for the reference.
    """

    word: str
    index: Index
    width: str
    doc: str
    part: Literal["stream", "attention", "mlp", "output"]
    """What it is part of: the residual stream, one of the two components, or the model's output."""
    depth: int = 0
    """Where in its block it is computed: it can change only sites of the block that are deeper."""
    hook: str = ""
    """The TransformerLens hook point that shows it, with ``{layer}``."""
    tap: str = ""
    """The name of its place in our own forward pass; "" if that has none, so that hooks serve it. A
    shared key head and a head's own key are the same place."""
    into: str = ""
    """What is computed from it inside its component: q, k and v make z, z makes a head's output."""
    receives: bool = False
    """Whether a path can go on there: it is something that a component, or the stream, reads."""
    attends: bool = False
    """Whether attention of its own layer carries it to later positions."""
    entry: Literal["tokens", "input", "mid", "hidden", "next", "end"] = "input"
    """The last place where a forward pass can start and still meet it: before the embedding, at its
    block's input, behind attention, at the MLP's neurons, at the next block, behind the last."""
    written: Literal["there", "heads", "stream"] = "there"
    """Where a write joins: at its hook; as a change of the sum of heads; as one of the stream,
    through what attention adds."""
    edge: Literal["", "start", "end"] = ""
    """Whether edges of the model start there, or end."""
    normed: bool = False
    """Whether it is what a norm gives, so that a dictionary may have that norm's weight in it."""
    estimated: bool = True
    """Whether an attribution estimates what a change of it does."""
    needs: Literal["", "sequential", "own", "shared", "neurons"] = ""
    """Which models have it: those whose MLP reads what attention wrote; those whose heads have keys
    and values of their own, or share them; layers whose MLP has one hidden layer."""
    reads: tuple[str, ...] = ()
    """The sites that are read in place of one that is not in the model."""
    writes: str = ""
    """The site where the effect of one that is not in the model is added."""
    call: str = ""
    """How a site is written that is written as a call."""

    @property
    def form(self) -> str:
        """The word, or how it is called."""
        return self.call or self.word


_ALL = (
    SiteWord(
        "embed", "none", "d_embed", "Token embeddings, as looked up: rows of W_E.", "stream",
        hook="hook_embed", tap="embed", attends=True, entry="tokens",
        edge="start",
    ),
    SiteWord(
        "resid_pre", "layer", "d_model", "Residual stream entering a block.", "stream",
        depth=0, hook="blocks.{layer}.hook_resid_pre", tap="resid_pre", receives=True,
        attends=True,
    ),
    SiteWord(
        "head.q", "head", "d_head",
        "A head's query, as W_Q gives it: before any norm or rotation.", "attention", depth=1,
        hook="blocks.{layer}.attn.hook_q", tap="q", into="head.z", receives=True,
        edge="end",
    ),
    SiteWord(
        "head.k", "head", "d_head",
        "A head's key, as W_K gives it: before any norm or rotation.", "attention", depth=1,
        hook="blocks.{layer}.attn.hook_k", tap="k", into="head.z", receives=True, attends=True,
        needs="own", edge="end",
    ),
    SiteWord(
        "kv_head.k", "kv_head", "d_head", "A key head shared by a group of query heads.",
        "attention", depth=1, hook="blocks.{layer}.attn.hook_k", tap="k", into="head.z",
        receives=True, attends=True, needs="shared", edge="end",
    ),
    SiteWord(
        "head.v", "head", "d_head", "A head's value.", "attention",
        depth=1, hook="blocks.{layer}.attn.hook_v", tap="v", into="head.z",
        receives=True, attends=True, needs="own", edge="end",
    ),
    SiteWord(
        "kv_head.v", "kv_head", "d_head", "A value head shared by a group of query heads.",
        "attention", depth=1, hook="blocks.{layer}.attn.hook_v", tap="v", into="head.z",
        receives=True, attends=True, needs="shared", edge="end",
    ),
    SiteWord(
        "head.pattern", "head", "",
        "A head's attention at a query: a share for each token, and 0 behind it.", "attention",
        depth=1, hook="blocks.{layer}.attn.hook_pattern", tap="pattern", into="head.z",
        receives=True, estimated=False,
    ),
    SiteWord(
        "head.z", "head", "d_head", "A head's attention-weighted value, before W_O.", "attention",
        depth=2, hook="blocks.{layer}.attn.hook_z", tap="z", into="head.out", edge="start",
    ),
    SiteWord(
        "head.out", "head", "d_model", "What one head adds to attention's output: z W_O.",
        "attention", depth=2, hook="blocks.{layer}.attn.hook_z", tap="head_out", written="heads",
    ),
    SiteWord(
        "attn_out", "layer", "d_model", "What the attention layer adds to the residual.",
        "attention", depth=3, hook="blocks.{layer}.hook_attn_out", tap="attn_out",
    ),
    SiteWord(
        "resid_mid", "layer", "d_model", "Residual stream between attention and MLP.", "stream",
        depth=4, hook="blocks.{layer}.hook_resid_mid", tap="resid_mid", receives=True, entry="mid",
        written="stream", needs="sequential",
    ),
    SiteWord(
        "mlp_in", "layer", "d_model", "What the MLP's weights read: the output of its norm.", "mlp",
        depth=5, hook="blocks.{layer}.mlp.hook_in", tap="mlp_in", into="mlp_out", receives=True,
        entry="mid", edge="end", normed=True,
    ),
    SiteWord(
        "mlp_hidden", "layer", "d_mlp", "MLP neurons after the nonlinearity, before W_out.", "mlp",
        depth=6, hook="blocks.{layer}.mlp.hook_post", tap="mlp_hidden", into="mlp_out",
        entry="hidden", needs="neurons",
    ),
    SiteWord(
        "mlp_out", "layer", "d_model", "What the MLP adds to the residual.", "mlp",
        depth=7, hook="blocks.{layer}.hook_mlp_out", tap="mlp_out", entry="mid",
        edge="start",
    ),
    SiteWord(
        "resid_post", "layer", "d_model", "Residual stream leaving a block.", "stream",
        depth=8, hook="blocks.{layer}.hook_resid_post", tap="resid_post", receives=True,
        entry="next",
    ),
    SiteWord(
        "logits", "none", "d_vocab", "The model's output.", "output",
        hook="unembed.hook_out", tap="logits", entry="end", edge="end",
        estimated=False,
    ),
    SiteWord(
        "random_mlp", "none", "d_mlp",
        "A control, not in the model: neurons of a random MLP beside that of a layer.", "mlp",
        depth=6, into="mlp_out", reads=("mlp_in", "mlp_out"), writes="mlp_out", entry="mid",
        needs="neurons",
        call="random_mlp(LAYER, seed: N)",
    ),
    SiteWord(
        "features", "none", "",
        "Activations of a dictionary's features; a change of them moves what it writes to.",
        "stream", reads=("dictionary",), entry="tokens", call="DICTIONARY.features",
    ),
    SiteWord(
        "hook", "none", "", "Any other hook of TransformerLens.", "stream", entry="tokens",
        call='hook("NAME")',
    ),
)  # fmt: skip

SITES = {site.word: site for site in _ALL}
SITE_WORDS = {word: site for word, site in SITES.items() if not site.call}
"""Sites that are written as a word, with an index or without."""
_PLACES = {"none": "", "layer": "[l]", "head": "[l.h]", "kv_head": "[l.g]"}


def listed(words: Iterable[SiteWord], joint: str = "or") -> str:
    """Sites as a message names them: `embed, head[l.h].q or .k, and mlp_in[l]`."""
    parts: dict[str, list[str]] = {}
    for word in words:
        owner, dot, part = word.word.partition(".")
        parts.setdefault(owner + _PLACES[word.index], []).append(dot + part)
    return in_words([owner + in_words(names, "or") for owner, names in parts.items()], joint)


def in_words(names: Sequence[str], joint: str) -> str:
    """`a, b or c`."""
    return f" {joint} ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
