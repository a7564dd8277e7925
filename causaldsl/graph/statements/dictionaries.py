"""`dictionary`: its weights, which words on its features take."""

from __future__ import annotations

from causaldsl.check.dictionaries import CheckedDictionary
from causaldsl.graph.compiler import Compiler, compiles
from causaldsl.graph.graph import Made
from causaldsl.vocabulary.dictionaries import DictionaryWord


@compiles(CheckedDictionary)
def dictionary(compiler: Compiler, dictionary: CheckedDictionary) -> Made:
    word = DictionaryWord(dictionary=dictionary.dictionary)
    return Made("dictionary", compiler.add(word, [], dictionary.span))
