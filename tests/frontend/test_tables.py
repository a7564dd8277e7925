"""Prompts from tables of words: the answers that stand beside them, and what pairs share."""

from pathlib import Path

import pytest

from causaldsl.check.pair_families import PairFamily
from causaldsl.check.pairs import PairSet
from causaldsl.check.program import Checker
from causaldsl.diagnostics import Source

BESIDE = {"Mary": "John", "Bartholomew": "Tom", "Amy": "Dan", "Paul": "Kate"}
"""Of friends.tsv, those whose friend is one token."""
NOUNS = [("man", "one", "is"), ("men", "one", "are"), ("boy", "two", "is"), ("boys", "two", "are")]


def made(world: Path, program: str) -> PairFamily:
    text = 'model lm = "tiny-llama"\n' + program
    checked = Checker(Source("case.cpatch", text), world / "case.cpatch").check()
    family = checked.defined["p"]
    assert isinstance(family, PairFamily)
    return family


def part_of(family: PairFamily) -> PairSet:
    assert family.test is not None
    return family.test


def test_answers_stand_beside_the_words(world: Path) -> None:
    family = made(
        world,
        'lexicon x = table("friends.tsv")\n'
        'prompts q { test "The friend of {X} is" slots X: x answer X.friend position WHO = X }\n'
        "pairs p = q A <-> B { test 2 }",
    )
    pairs, tokens = part_of(family).pairs, _tokens(world)
    assert len(pairs) == 2
    for pair in pairs:
        base, source = (p.text.split()[3] for p in (pair.base, pair.source))
        assert tokens.single(" " + BESIDE[base]) == pair.answer
        assert tokens.single(" " + BESIDE[source]) == pair.foil == pair.counterfactual
        assert (pair.base.cls, pair.source.cls) == (BESIDE[base], BESIDE[source])
        # WHO is the last of its tokens, however many they are.
        assert pair.base.named["WHO"] == pair.base.length - 2
    texts = [text for pair in pairs for text in pair.identity]
    assert len(set(texts)) == 4
    assert part_of(family).units.count == 2


def test_columns_fill_templates(world: Path) -> None:
    family = made(
        world,
        'lexicon x = table("friends.tsv")\n'
        'prompts q { test "The friend of {X} is {X.friend} and {X}" slots X: x '
        'answer " good" foil " bad" position LAST = X.2 }\n'
        "pairs p = q A { test 3 }",
    )
    pairs, tokens = part_of(family), _tokens(world)
    assert not pairs.paired
    for pair in pairs.pairs:
        words = pair.base.text.split()
        friend = {**BESIDE, "Kate": "Bartholomew"}[words[3]]
        assert words == ["The", "friend", "of", words[3], "is", friend, "and", words[3]]
        assert (pair.answer, pair.foil) == (tokens.single(" good"), tokens.single(" bad"))
        assert pair.base.named["LAST"] == pair.base.length - 1


@pytest.mark.parametrize("split", ["", " split half"])
def test_words_of_a_pair_are_alike_in_a_column(world: Path, split: str) -> None:
    rows = "\n".join("\t".join(row) for row in [("noun", "lemma", "verb"), *NOUNS])
    (world / "nouns.tsv").write_text(rows)
    family = made(
        world,
        f'lexicon n = table("nouns.tsv"){split}\nlexicon place = words("places.txt")\n'
        'prompts q { train "The {X} at the {P}" test "The {X} in the {P}" '
        "slots X: n, P: place answer X.verb }\n"
        "pairs p = q A <-> B { train 4 test 4 same lemma }",
    )
    lemma = {word: kind for word, kind, _ in NOUNS}
    verb = {word: own for word, _, own in NOUNS}
    seen = {}
    for role, part in family.parts.items():
        for pair in part.pairs:
            base, source = (p.text.split()[1] for p in (pair.base, pair.source))
            assert lemma[base] == lemma[source]
            assert {pair.base.cls, pair.source.cls} == {"is", "are"}
            assert pair.base.cls == verb[base]
            assert pair.base.text.split()[4] == pair.source.text.split()[4]
            seen.setdefault(role, set()).add(lemma[base])
    if split:
        assert seen["train"].isdisjoint(seen["test"])


def _tokens(world: Path):
    from causaldsl.model.tokens import Tokens

    return Tokens.load(world / "tiny-llama")
