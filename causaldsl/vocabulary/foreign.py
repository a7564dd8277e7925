"""How other tools spell what this language has under another name.

Where such a spelling stands, a message says what to write. TransformerLens's hooks are those of the
table of sites; other names are those of Hugging Face modules, nnsight, pyvene and papers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from causaldsl.diagnostics import suggest
from causaldsl.vocabulary.sites import SITES

_SITES = {
    "embed": "embed_tokens wte embed_in embeddings word_embeddings embed.hook_out",
    "resid_pre": "block_input input hook_in ln1.hook_in",
    "resid_mid": "ln2.hook_in",
    "resid_post": "block_output resid residual residual_stream hidden_states layer_output output "
    "hook_out",
    "mlp_in": "mlp_input mlp.input",
    "mlp_hidden": "mlp_activation mlp_post mlp.act_fn mlp.act neurons neuron mlp.out.hook_in",
    "mlp_out": "mlp mlp_output mlp.output mlp.down_proj mlp.c_proj mlp.dense_4h_to_h mlps ffn "
    "feed_forward mlp.hook_out",
    "attn_out": "attn attention self_attn attention_output attn_output attn.output attn.c_proj "
    "attention.output self_attn.output self_attn.o_proj attention.dense "
    "attn.hook_out",
    "head.q": "query_output head_query_output self_attn.q_proj q_proj query attn.q.hook_out",
    "head.k": "key_output head_key_output self_attn.k_proj k_proj key attn.k.hook_out",
    "head.v": "value_output head_value_output self_attn.v_proj v_proj attn.v.hook_out",
    "head.z": "head heads attention_value_output head_attention_value_output head_output z "
    "attn.o.hook_in",
    "head.out": "attn.hook_result",
    "head.pattern": "attention_weights attn_weights attention_probs pattern",
    "logits": "lm_head unembed embed_out hook_unembed",
}
"""Sites by what others call them, in a module path without what leads to its layer."""
_OF_ANY_MODULE = frozenset(["hook_in", "hook_out", "input", "output"])
"""Names that every module of a path may end with: by themselves they mean a block's own."""
_ROOTS = frozenset(
    [
        "model",
        "transformer",
        "gpt_neox",
        "decoder",
        "language_model",
        "base_model",
        "blocks",
        "layers",
        "layer",
        "h",
    ]
)
"""The parts of a module path that lead to a layer."""
_OTHERS = {
    "lr": "learning_rate step_size alpha eta",
    "dim": "rank k n_components dims dimension dimensions n_dims low_rank_dimension",
    "epochs": "n_epochs num_epochs epoch steps n_steps iterations",
    "batch": "batch_size bs",
    "seed": "random_seed random_state rng",
    "on": "data dataset pairs",
    "to": "with",
    "by": "scale strength coefficient coeff amount",
    "along": "direction subspace vector",
    "train": "train_size train_split train_fraction split",
    "logit_diff": "ld logit_difference",
    "kl": "kl_div kl_divergence",
    "accuracy": "acc",
    "loss": "nll cross_entropy ce ce_loss",
    "patch": "replace interchange swap intervene intervention substitute resample_patch",
    "steer": "add inject add_vector",
    "norm": "len length magnitude",
    "cos": "cosine cosine_similarity cos_sim",
    "mean_difference": "diff_in_means mean_diff difference_in_means dim_means",
}
"""Options, metrics, verbs and functions by what others call them."""
_FORMS = {
    "zero_ablate": "ablate SITE to zero",
    "mean_ablate": "ablate SITE to mean",
    "resample_ablate": "ablate SITE to resample",
    "knockout": "ablate SITE to zero",
    "zero": "ablate SITE to zero",
    "range": "0..3 for range(4), since both ends count, or `layers`",
}
"""What takes more than a word here."""
_PATH = re.compile(r"[A-Za-z_]\w*(?:\s*\.\s*\w+|\[[^\]\n]*\]|\(\s*\w+\s*\))*")
_PIECE = re.compile(r"[\[(]([^\])]*)[\])]|(\d+)|([A-Za-z_]\w*)")
_LABEL = re.compile(r"L(\d+)[._]?H(\d+)\b")


def site_meant(text: str) -> str | None:
    """The site that is likely meant by what a text begins with, as it is written here.

    >>> site_meant("blocks.3.hook_resid_post @ END")
    'resid_post[3]'
    >>> site_meant("model.layers[l].mlp.down_proj"), site_meant("head[3, 1].z")
    ('mlp_out[l]', 'head[3.1].z')
    >>> site_meant("resid_post[3, END]"), site_meant("lexicon")
    ('resid_post[3] @ END', None)
    """
    found = _PATH.match(_LABEL.sub(r"head[\1, \2]", text, count=1))
    if found is None:
        return None
    at, names = [], []
    for bracket, number, name in _PIECE.findall(found[0]):
        if name:
            names.append(name)
        else:
            at += re.split(r"[.,]\s*", bracket.strip()) if bracket else [number]
    if not at and len(names) == 1 and "_" not in names[0]:
        return None  # a word that may be anything
    path = ".".join(name for name in names if name not in _ROOTS)
    led = len(path.split(".")) < len(names) or not path
    word = _word_at(path, led)
    if word is None and "hook_" in path:
        return f'hook("{found[0]}")'
    if word is None:
        return f"resid_post[{at[0]}]" if not path and at else None
    return _written(word, at)


def _word_at(path: str, led: bool) -> str | None:
    """The word for a path without what leads to its layer. Behind what led there its last part is
    enough, if it is not one of any module."""
    known, module = _sites(), path.removesuffix(".output")
    last = module.rpartition(".")[2]
    by_last = known.get(last) if led and last not in _OF_ANY_MODULE else None
    return known.get(path) or known.get(module) or by_last


def _written(word: str, at: list[str]) -> str:
    """A site with its index, and with the position that stands in its brackets elsewhere."""
    owner, dot, part = word.partition(".")
    if SITES[word].index == "none":
        return word
    if dot:
        layer, head, *_ = [*at, *("LAYER", "HEAD")[len(at) :]]
        return f"{owner}[{layer}.{head}].{part}"
    layer, *rest = at or ["LAYER"]
    position = f" @ {rest[0]}" if rest and rest[0][:1].isupper() else ""
    return f"{owner}[{layer}]{position}"


@cache
def _sites() -> dict[str, str]:
    """Every spelling of a site, without the way to its layer: its word."""
    found: dict[str, str] = {}
    for word, site in SITES.items():
        if not site.call:
            hook = site.hook.removeprefix("blocks.{layer}.")
            last = hook.rpartition(".")[2]
            for name in (word, hook, *([] if last in _OF_ANY_MODULE else [last])):
                found.setdefault(name, word)
    found |= {f"heads.{name.partition('.')[2]}": name for name in SITES if name[:5] == "head."}
    for word, names in _SITES.items():
        for name in names.split():
            found.setdefault(name, word)
    return found


def site_help(text: str, otherwise: str | None = None) -> str | None:
    """What to write in place of a text that begins as a site does elsewhere."""
    site = site_meant(text)
    return f"write {site}" if site else otherwise


def also_called() -> dict[str, tuple[str, ...]]:
    """Sites, options, metrics, verbs and functions, each with what others call it."""
    return {word: tuple(names.split()) for word, names in (_SITES | _OTHERS).items()}


def word_meant(name: str, available: Iterable[str], what: str = "names") -> str:
    """As :func:`suggest`, and it knows what others call a word.

    >>> word_meant("learning_rate", ["lr", "epochs"])
    'did you mean `lr`?'
    """
    if name in _FORMS:
        return f"write {_FORMS[name]}"
    known = list(available)
    meant = [word for word in known if name.lower() in _OTHERS.get(word, "").split()]
    return f"did you mean `{meant[0]}`?" if meant else suggest(name, known, what)
