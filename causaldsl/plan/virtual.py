"""Sites that are not in the model: what is read, and where is written, in their place.

``random_mlp(l)`` reads what MLP l reads and adds to what MLP l puts out. Features are read and
written where their dictionary is. Any other site is its own.
"""

from __future__ import annotations

from causaldsl.graph.operations import SiteAt
from causaldsl.model.sites import Site


def touched(site: Site) -> list[Site]:
    """The sites of the model that reading and writing this one needs."""
    if site.dictionary is not None:
        return list(dict.fromkeys([site.read, site.written]))
    return [site.of_layer(kind) for kind in site.word.reads] or [site]


def read_for(at: SiteAt) -> list[SiteAt]:
    """What a clean run must record for a site to be read there."""
    return [at.model_copy(update={"site": site}) for site in touched(at.site)]


def edited(at: SiteAt) -> SiteAt:
    """Where a change at this site is written."""
    if not at.site.is_virtual:
        return at
    if at.site.dictionary is not None:
        return at.model_copy(update={"site": at.site.written})
    return at.model_copy(update={"site": at.site.of_layer(at.site.word.writes)})
