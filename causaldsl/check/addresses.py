"""Sites by their words: `resid_post[20]`, `head[7.3].z`, `embed`."""

from __future__ import annotations

from dataclasses import dataclass

from causaldsl.check.values import Place
from causaldsl.diagnostics import Span, located, suggest, wrong
from causaldsl.model.shapes import Shapes
from causaldsl.model.sites import Site
from causaldsl.vocabulary.sites import SITE_WORDS, SiteWord


@dataclass(frozen=True)
class SiteOwner:
    """`head[7.3]` or `kv_head[7.1]`, before one of its activations is named."""

    word: str
    layer: int
    head: int
    span: Span

    def part(self, name: str, shapes: Shapes, span: Span) -> Place:
        kind = f"{self.word}.{name}"
        if kind not in SITE_WORDS:
            parts = [w.partition(".")[2] for w in SITE_WORDS if w.startswith(self.word + ".")]
            raise wrong(
                "unknown-site",
                f"a {self.word} has no activation `{name}`",
                span,
                suggest(name, parts, "activations"),
            )
        site = Site(kind, self.layer, self.head)
        with located(self.span.to(span)):
            site.check(shapes)
        return Place(site, None, self.span.to(span))


def site_word(word: SiteWord, shapes: Shapes, span: Span) -> Place:
    """A site that needs no index."""
    site = Site(word.word)
    with located(span):
        site.check(shapes)
    return Place(site, None, span)


def site_at(
    word: str, layer: int, head: int | None, shapes: Shapes, span: Span
) -> Place | SiteOwner:
    """A site at a layer, or a head that waits for `.q`, `.k`, `.v`, `.z` or `.out`."""
    if head is not None:
        return SiteOwner(word, layer, head, span)
    if SITE_WORDS[word].index == "none":
        raise wrong("no-index", f"`{word}` has no index", span, f"write {word}")
    site = Site(word, layer)
    with located(span):
        site.check(shapes)
    return Place(site, None, span)
