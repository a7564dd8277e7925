"""The kinds of sites that the language has, for tests that must leave none out."""

from __future__ import annotations

from causaldsl.vocabulary.sites import SITE_WORDS


def kinds_of_sites() -> list[str]:
    """The last part of each site's word, in the order of the table: ``q`` is a head's or a shared
    one's."""
    return list(dict.fromkeys(word.rpartition(".")[2] for word in SITE_WORDS))
