"""The warnings of `check`, by name: what each says. `allow NAME` turns one off.

A warning is about a program that is right and may not be what was meant.
"""

from __future__ import annotations

WARNINGS = {
    "bos-twice": "Texts begin with BOS, and it is put before every text too.",
    "bos-in-some": "Some texts begin with BOS, and others do not.",
    "bos-in-doubt": "The tokenizer's files disagree about BOS.",
    "end-is-eos": "END is the token that ends a text.",
    "trailing-space": "A prompt ends in white space.",
    "mixed-style": "One of answer and foil begins with a space, and the other does not.",
    "unspaced-answer": "An answer lacks its space, and with it would be one token too.",
    "same-answer": "Sources have the same answers as their bases, written as texts.",
    "positions-apart": "A named position is at other tokens in sources than in bases.",
    "first-token": "A named position is the first token of a prompt.",
    "dropped-words": "Words of a lexicon are not one token for this model, and are left out.",
    "dictionary-bos": "Texts begin with BOS, unlike those of a dictionary's training, or lack it.",
    "alike-templates": "A test template is nearly a train template.",
    "alike-pairs": "Prompts differ only in white space, case or a number in front of them.",
    "unused-definition": "Nothing uses a name that the program defines.",
    "unused-loop-variable": "Nothing in a loop depends on one of its variables.",
    "duplicate-arm": "Two arms of a statement do the same.",
    "duplicate-cell": "Cells of an arm do the same, though their loop variables differ.",
    "different-units": "Numbers of different units are compared, added or subtracted.",
    "different-pairs": "Numbers that are measured on different pairs are compared or combined.",
    "holds-anyway": "A claim holds by what it says, whatever is measured.",
    "chosen-here": "A cell is claimed to be the largest, and its size too, on the same pairs.",
    "chosen-on-these": "A measure is of what was chosen for its size on the same pairs.",
    "seen-source": "A source that something was learned from is in pairs that it is measured on.",
    "own-values": "An arm puts in what the base has there itself, and changes nothing.",
    "hidden-change": "An arm changes what another of its interventions writes over.",
    "rounded-gradients": "What is chosen by gradients has them in bfloat16.",
    "control-keeps": "A random set has parts of the set that it is like, whatever is drawn.",
    "other-site": "A direction that was made at one site is used at another.",
}
