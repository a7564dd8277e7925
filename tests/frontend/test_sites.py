"""What messages and lists say of sites is what the table of sites says."""

from causaldsl.model.edges import RECEIVERS, SENDERS
from causaldsl.vocabulary.sites import SITE_WORDS, listed


def test_sites_in_words() -> None:
    words = [SITE_WORDS[word] for word in ("embed", "head.q", "head.k", "kv_head.k", "mlp_in")]
    assert listed(words) == "embed, head[l.h].q or .k, kv_head[l.g].k or mlp_in[l]"
    assert listed(words[:1]) == "embed"
    assert listed(words[3:], "and") == "kv_head[l.g].k and mlp_in[l]"


def test_an_edge_ends_only_where_a_component_reads() -> None:
    """And starts at what one writes: nothing is both."""
    assert not set(SENDERS) & set(RECEIVERS)
    assert all(SITE_WORDS[word].receives for word in RECEIVERS if word != "logits")
    assert not any(SITE_WORDS[word].receives for word in SENDERS)


def test_what_is_behind_a_norm_is_read() -> None:
    assert [word.word for word in SITE_WORDS.values() if word.normed] == ["mlp_in"]
