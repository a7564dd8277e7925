"""`dictionary NAME = sae(..) at SITE`: a dictionary belongs to a model and to a site of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath

from causaldsl.check.apply import made
from causaldsl.check.context import Context, checks
from causaldsl.check.dictionaries import CheckedDictionary
from causaldsl.diagnostics import wrong
from causaldsl.model.dictionaries.form import Dictionary, Form
from causaldsl.model.sites import Site
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.types import DictionaryType

_SAME = {"gpt2-small": "gpt2"}
"""Names that TransformerLens has for models of the hub."""
_NORMED = "ln2.hook_normalized"
_UNCLEAR = (
    "TransformerLens shows there what the MLP reads with the norm's weights or without them, as "
    "its version and the norm have it; where it is with them, say `mlp.hook_in` in the files"
)


@checks(ast.Dictionary)
def dictionary(context: Context, node: ast.Dictionary) -> CheckedDictionary:
    found = made(context, node.value, DictionaryType)
    if found is None:
        raise wrong(
            "wrong-kind",
            f"`{show(node.value)}` is no dictionary",
            node.value.span,
            'write sae("FOLDER") at resid_post[8], or transcoder("FOLDER") at mlp_in[8] -> '
            "mlp_out[8]",
        )
    form, digest = found
    reads = _site(context, node.at)
    writes = reads if node.to is None else _site(context, node.to)
    _check_arrow(form, node)
    _check_width(context, reads, form.d_in, node.at)
    _check_width(context, writes, form.d_out, node.to or node.at)
    _check_hook(reads, form.hook, form.layer, node.at)
    if form.folded and reads.word.normed:
        message = (
            "its files say that it was trained on a model with its norms folded (`fold_ln`), where "
            f"{reads} is without the norm's weights"
        )
        raise wrong("dictionary-site", message, node.at.span, "use one of the model as it is")
    if node.to is not None:
        _check_hook(writes, form.hook_out, None, node.to)
    _check_model(context, form, node)
    if form.centred and not _loses_mean(context, reads, node):
        # Without a norm that takes the mean off, and within a block, nothing was centred.
        form, digest = replace(form, centred=False), f"{digest} with mean"
    if node.to is not None and reads.layer != writes.layer:
        message = f"{reads} and {writes} are of different layers"
        raise wrong("dictionary-site", message, node.to.span, "name two sites of one layer")
    name, (into, out) = node.name.text, (site.hook or site.kind for site in (reads, writes))
    known = Dictionary(name, digest, into, out, form)
    layer = reads.layer
    site = Site("features", layer, dictionary=known)
    return CheckedDictionary(name, known, site, _folder(node), node.span)


def _folder(node: ast.Dictionary) -> str:
    """The folder or release as it is written."""
    arguments = node.value.arguments if isinstance(node.value, ast.Call) else ()
    texts = [a.text for a in arguments if isinstance(a, ast.String)]
    options = [a for a in arguments if isinstance(a, ast.Option) and a.name.text == "id"]
    return " ".join([*(texts or [show(node.value)]), *(show(a.value) for a in options)])


def _site(context: Context, node: ast.Expression) -> Site:
    place = context.place(node, positioned=False)
    site = place.site
    if place.position is not None or site.head is not None or site.is_virtual or site.is_pattern:
        what = "a position" if place.position is not None else f"{site}"
        raise wrong(
            "dictionary-site",
            f"a dictionary stands at a site of a layer, and `{show(node)}` is not one"
            if what != "a position"
            else "a dictionary stands at a site, at whatever position",
            node.span,
            "write one such as resid_post[8], and the position behind its features: "
            "f.features @ END",
        )
    if site.kind in ("logits", "embed"):
        raise wrong(
            "dictionary-site",
            f"no dictionary can stand at {site}",
            node.span,
            "write a site of a layer, such as resid_post[8]",
        )
    return site


def _check_arrow(form: Form, node: ast.Dictionary) -> None:
    if form.transcoder and node.to is None:
        raise wrong(
            "dictionary-site",
            "a transcoder reads at one site and writes at another",
            node.at.span,
            "say where it writes: at mlp_in[8] -> mlp_out[8]",
        )
    if node.to is not None and not form.transcoder:
        raise wrong(
            "dictionary-site",
            "an autoencoder writes where it reads",
            node.to.span,
            f"write at {show(node.at)}",
        )


def _check_width(context: Context, site: Site, width: int, node: ast.Expression) -> None:
    there = site.width(context.shapes(node.span))
    if there is not None and there != width:
        raise wrong(
            "width-mismatch",
            f"this dictionary has activations of {width} dimensions, {site} has {there}",
            node.span,
            "name the site, and the model, that it was trained on",
        )


def _check_hook(site: Site, hook: str, layer: int | None, node: ast.Expression) -> None:
    """Where its files say that it was trained, it must be used."""
    if hook and hook != site.hook_name:
        raise wrong(
            "dictionary-site",
            f"its files say that it belongs to {hook}, and {site} is {site.hook_name}",
            node.span,
            f"write {_named(hook)}" if not hook.endswith(_NORMED) else _UNCLEAR,
        )
    if not hook and layer is not None and site.layer is not None and site.layer != layer:
        message = f"its files say that it belongs to layer {layer}"
        raise wrong("dictionary-site", message, node.span, f"write {site.kind}[{layer}]")


def _loses_mean(context: Context, site: Site, node: ast.Dictionary) -> bool:
    """Whether activations of a site have no mean once the weights that write it are centred."""
    form = context.shapes(node.span).form
    norm = None if form is None else form.last_norm
    in_stream = site.kind.startswith("resid_") or site.kind in ("attn_out", "mlp_out")
    return in_stream and (form is None or (norm is not None and norm.kind == "layer"))


def _named(hook: str) -> str:
    """How a program names a hook of TransformerLens."""
    from causaldsl.vocabulary.sites import SITE_WORDS

    _, _, rest = hook.partition("blocks.")
    layer, _, tail = rest.partition(".")
    for word in SITE_WORDS.values():
        if word.index == "layer" and word.hook.partition("{layer}.")[2] == tail:
            return f"{word.word}[{layer}]"
    return f'hook("{hook}")'


def _check_model(context: Context, form: Form, node: ast.Dictionary) -> None:
    model = context.program.model
    if not form.model or model is None:
        return
    names = {_plain(name) for name in (model.name, str(model.path or ""))}
    said = _said(node)
    if _plain(form.model) in names or (said and _plain(said) == _plain(form.model)):
        return
    raise wrong(
        "dictionary-model",
        f"its files say that it was trained on {form.model}, and this model is {model.name}",
        node.value.span,
        f'use that model; or write trained_on: "{form.model}", if it fits this one too',
    )


def _said(node: ast.Dictionary) -> str:
    """What the program says of the model that it was trained on."""
    options = node.value.arguments if isinstance(node.value, ast.Call) else ()
    for option in options:
        if isinstance(option, ast.Option) and option.name.text == "trained_on":
            return option.value.text if isinstance(option.value, ast.String) else ""
    return ""


def _plain(name: str) -> str:
    plain = PurePath(name.partition("@")[0]).name.lower()
    return _SAME.get(plain, plain)
