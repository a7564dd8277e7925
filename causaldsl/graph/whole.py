"""Sites at every position."""

from __future__ import annotations

from causaldsl.check.places import Point, PositionRef
from causaldsl.graph.operations import SiteAt
from causaldsl.model.sites import Site


def everywhere(site: Site) -> SiteAt:
    return SiteAt(site=site, position=PositionRef(Point("all", 0)))
