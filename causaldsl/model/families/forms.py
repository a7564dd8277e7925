"""What a decoder's blocks are made of, and under which names its weights are kept.

For one block, with x the residual stream, N a norm (or nothing) and s a multiplier::

    a = s * after_attention(A(before_attention(x)));      m = x + a,  then stream_mid(m)
    f = s * after_mlp(F(before_mlp(m)));                  y = m + f,  then stream_post(y)

and in a parallel block F reads x in the place of m. Everything here is plain data of one model: the
sizes are those of its configuration, names are those of the parameters in its transformers module.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

Part = Literal["whole", "q", "k", "v", "gate", "up"]
QKV: tuple[Part, Part, Part] = ("q", "k", "v")


@dataclass(frozen=True)
class Stored:
    """Where a matrix is kept: the module that holds it, and which of its rows it is.

    ``order`` says how q, k and v, or gate and up, share one matrix:

    ===========  ===============================================================================
    separate     each has its own
    joined       all of q, then all of k, then all of v; all of gate, then all of up
    grouped      by key-value head: its q heads, its k, its v (each head's q, k, v if none share)
    quarters     four parts, in each a quarter of q, of v and of k, in this order
    ===========  ===============================================================================

    ``inputs_first``: stored as (inputs, outputs), the other way round than ``torch.nn.Linear``.
    """

    module: str
    part: Part = "whole"
    order: Literal["separate", "joined", "grouped", "quarters"] = "separate"
    inputs_first: bool = False

    @property
    def weight(self) -> str:
        return f"{self.module}.weight"

    @property
    def bias(self) -> str:
        """The name of its bias; whether there is one, the weights say."""
        return f"{self.module}.bias"

    def first_row(self, head: int, n_heads: int, n_kv_heads: int, d_head: int) -> int:
        """Where the ``d_head`` outputs of a head begin; k and v count key-value heads."""
        place = {"q": 0, "k": 1, "v": 2}[self.part]
        if self.order == "joined":
            return d_head * ((0, n_heads, n_heads + n_kv_heads)[place] + head)
        if self.order == "grouped":
            group = n_heads // n_kv_heads
            owner, within = divmod(head, group) if self.part == "q" else (head, group + place - 1)
            return d_head * (owner * (group + 2) + within)
        if self.order == "quarters":
            quarter = n_heads // 4
            owner, within = divmod(head, quarter)
            return d_head * ((3 * owner + (0, 2, 1)[place]) * quarter + within)
        return d_head * head


@dataclass(frozen=True)
class Norm:
    """(x - mean(x)) / sqrt(var(x) + eps) * w + b for ``layer``, without the mean and b for ``rms``.

    ``weight``: ``times`` w, times ``one_plus`` w, or ``none``. ``over`` is what is normalised: the
    whole ``stream``; each ``head`` with the same w; each head with its ``own`` w; or all heads of
    q or k together (``projection``). The parameters of ``own`` are rows of one weight, or have
    ``{h}`` in their name. In half precision the sums are in float32; with ``rounds_first`` the
    normalised x is rounded to the model's dtype before w, else after.
    """

    module: str
    kind: Literal["layer", "rms"]
    eps: float
    weight: Literal["times", "one_plus", "none"] = "times"
    over: Literal["stream", "head", "own", "projection"] = "stream"
    rounds_first: bool = False

    def each(self, heads: int) -> Iterator[Norm]:
        """The norms that it stands for: one for each head, where each is a module of its own."""
        for head in range(heads if "{h}" in self.module else 1):
            yield replace(self, module=self.module.replace("{h}", str(head)))


@dataclass(frozen=True)
class Rotary:
    """The first ``dims`` dimensions of each query and key are rotated, after any norm.

    ``pairs``: dimension i turns with i + dims / 2 (``halves``), or 2i with 2i + 1
    (``interleaved``). ``kind`` is the rule for the frequencies (``default``, ``llama3``, ``yarn``,
    ``dynamic``, ``longrope``, ...), ``of`` the layer type whose frequencies these are, if a model
    has several. In prompts of more than ``longest`` tokens they are others.
    """

    dims: int
    pairs: Literal["halves", "interleaved"] = "halves"
    kind: str = "default"
    of: str = ""
    longest: int | None = None


@dataclass(frozen=True)
class Attention:
    """Softmax attention: scores ``scale`` * q k^T, softly capped, with ALiBi, then masked.

    ``window``: no position sees further back than this many, itself included. ``alibi``: slope *
    key position is added to the scores ``after`` they are scaled, or ``before``; the slopes are
    those of ``mpt`` or ``bloom`` where the number of heads is no power of two. ``softcap`` c turns
    scores s into c tanh(s / c). ``sinks`` names a parameter (n_heads,): scores of one more key
    whose value is 0. ``clip`` bounds q, k and v from both sides, before q and k are normed.
    """

    n_heads: int
    n_kv_heads: int
    d_head: int
    q: Stored
    k: Stored
    v: Stored
    out: Stored
    scale: float
    q_norm: Norm | None = None
    k_norm: Norm | None = None
    rotary: Rotary | None = None
    alibi: Literal["", "after", "before"] = ""
    slopes: Literal["bloom", "mpt"] = "bloom"
    window: int | None = None
    softcap: float | None = None
    sinks: str = ""
    clip: float | None = None


@dataclass(frozen=True)
class Experts:
    """``n`` gated MLPs of which a router picks ``per_token``, and adds their weighted outputs.

    ``gate_up`` (n, 2 d_hidden, d_model) and ``down`` (n, d_model, d_hidden) are parameters; with
    ``inputs_first`` their last two dimensions are the other way round. gate and up are halves, or
    ``interleaved`` columns; ``biases`` says whether ``gate_up_bias`` (n, 2 d_hidden) and
    ``down_bias`` exist. The weights are a softmax over ``all`` experts, divided by the sum of the
    chosen ones if ``renormalised``, or over the ``chosen`` ones only. With ``limit`` L and
    ``alpha`` an expert's neurons are (min(max(up, -L), L) + 1) * g sigmoid(alpha g), g = min(gate,
    L). ``shared`` is an MLP that every token passes through, times sigmoid of ``shared_gate``.
    """

    n: int
    per_token: int
    d_hidden: int
    router: Stored
    gate_up: str
    down: str
    softmax: Literal["all", "chosen"] = "all"
    renormalised: bool = True
    inputs_first: bool = False
    interleaved: bool = False
    biases: bool = False
    limit: float | None = None
    alpha: float = 1.0
    shared: Mlp | None = None
    shared_gate: Stored | None = None


@dataclass(frozen=True)
class Mlp:
    """``plain`` W_out act(W_in x), ``gated`` W_out (act(W_gate x) * W_in x), or ``experts``.

    ``act`` is a name of a Hugging Face configuration. A mixture of experts has no matrices of its
    own and no one hidden layer.
    """

    kind: Literal["plain", "gated", "experts"]
    act: str
    d_hidden: int
    up: Stored | None = None
    down: Stored | None = None
    gate: Stored | None = None
    experts: Experts | None = None


@dataclass(frozen=True)
class Block:
    """One block; a norm that attention and MLP share stands in both places with one name.

    ``add_scale`` multiplies what attention and MLP add. With ``skip_normed`` the stream goes on
    from the norm's output instead of its input (BLOOM's ``apply_residual_connection_..``).
    """

    attention: Attention
    mlp: Mlp
    before_attention: Norm | None = None
    after_attention: Norm | None = None
    before_mlp: Norm | None = None
    after_mlp: Norm | None = None
    stream_mid: Norm | None = None
    stream_post: Norm | None = None
    parallel: bool = False
    add_scale: float = 1.0
    skip_normed: bool = False

    @property
    def placed(self) -> list[Norm]:
        """The norm at each place of the block that has one, but for those of queries and keys."""
        places = (
            self.before_attention,
            self.after_attention,
            self.before_mlp,
            self.after_mlp,
            self.stream_mid,
            self.stream_post,
        )
        return [place for place in places if place is not None]

    def norms(self) -> Iterator[Norm]:
        """Every norm of the block once, those of queries and keys too."""
        attention = self.attention
        yield from dict.fromkeys(self.placed)
        if attention.q_norm is not None:
            yield from attention.q_norm.each(attention.n_heads)
        if attention.k_norm is not None:
            yield from attention.k_norm.each(attention.n_kv_heads)


@dataclass(frozen=True)
class Positions:
    """Learned position embeddings: token i of a prompt gets row i + ``offset``."""

    module: str
    offset: int = 0


@dataclass(frozen=True)
class Architecture:
    """A whole decoder.

    The stream begins as ``embed_norm``(``embed_scale`` * looked-up embedding, through
    ``project_in``) + position; d_embed is the embedding's own width. Behind the last block:
    ``last_norm``, ``project_out``, ``unembed``, times ``logit_scale``, softly capped at
    ``logit_softcap``. ``tied``: the unembedding is the embedding.
    """

    family: str
    n_layers: int
    d_model: int
    d_embed: int
    d_vocab: int
    n_ctx: int
    blocks: tuple[Block, ...]
    embed: Stored
    unembed: Stored
    last_norm: Norm | None
    embed_scale: float = 1.0
    embed_norm: Norm | None = None
    project_in: Stored | None = None
    project_out: Stored | None = None
    positions: Positions | None = None
    logit_scale: float = 1.0
    logit_softcap: float | None = None
    tied: bool = False

    def norms(self) -> Iterator[Norm]:
        """Every norm once: before and after blocks, of queries and keys, the embedding's, the last.

        What is done to one of them is done to it wherever it is used.
        """
        if self.embed_norm is not None:
            yield self.embed_norm
        for block in self.blocks:
            yield from block.norms()
        if self.last_norm is not None:
            yield self.last_norm
