"""Sites that are not in the model: what is read, and where is written, in their place.

``random_mlp(l)`` reads what MLP l reads and adds to what MLP l puts out. Any other site is its own.
"""

from __future__ import annotations

from dataclasses import replace

from causaldsl.graph.operations import SiteAt
from causaldsl.model.sites import Site


def touched(site: Site) -> list[Site]:
    """The sites of the model that reading and writing this one needs."""
    if not site.is_virtual:
        return [site]
    return [Site("mlp_in", site.layer), Site("mlp_out", site.layer)]


def read_for(at: SiteAt) -> list[SiteAt]:
    """What a clean run must record for a site to be read there."""
    return [at.model_copy(update={"site": site}) for site in touched(at.site)]


def edited(at: SiteAt) -> SiteAt:
    """Where a change at this site is written."""
    if not at.site.is_virtual:
        return at
    written = replace(at.site, kind="mlp_out", seed=None)
    return at.model_copy(update={"site": written})
