import json

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from causaldsl.diagnostics import Mistake
from causaldsl.model.tokens import Tokens
from tests.tiny import tiny_tokenizer

TEXT = "Then, Mary and John had a ring at 12. Mary"


def covered(text, encoded):
    return [text[start:end] for start, end in encoded.offsets]


@pytest.fixture
def tokens():
    return Tokens(tiny_tokenizer())


def test_offsets_leave_out_the_space_that_a_token_swallows(tokens):
    encoded = tokens.encode("Mary and John")
    assert encoded.offsets == ((0, 4), (5, 8), (9, 13))
    assert tokens.pieces("Mary and John") == ["Mary", " and", " John"]


@pytest.mark.parametrize("trim", [True, False])
def test_offsets_do_not_depend_on_the_tokenizers_own_convention(trim):
    from tokenizers import processors

    tokenizer = tiny_tokenizer()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim)
    assert Tokens(tokenizer).encode("Mary and").offsets == ((0, 4), (5, 8))


def test_white_space_alone_keeps_its_offsets(tokens):
    assert covered("Mary 1", tokens.encode("Mary 1")) == ["Mary", " ", "1"]
    assert covered("a\n\nb", tokens.encode("a\n\nb")) == ["a", "\n", "\n", "b"]


def test_a_character_of_several_tokens_belongs_to_each(tokens):
    encoded = tokens.encode("é")
    assert encoded.offsets == ((0, 1), (0, 1))
    assert tokens.decode(encoded.ids) == "é"
    assert tokens.pieces("é") == ["Ã", "©"]


def test_special_tokens_follow_the_models_convention():
    plain, begun = Tokens(tiny_tokenizer()), Tokens(tiny_tokenizer(bos=True))
    assert begun.encode("Mary").ids == (0, *plain.encode("Mary").ids)
    assert begun.encode("Mary").offsets == ((0, 0), (0, 4))
    assert begun.pieces("Mary") == ["Mary"]  # special tokens are not of the text
    assert begun.single("Mary") == plain.single("Mary")


def test_single_tokens(tokens):
    assert tokens.single(" Mary") != tokens.single("Mary")
    assert tokens.decode([tokens.single(" Mary")]) == " Mary"
    assert tokens.single(" Xyzzy") is None
    assert tokens.single(" Mary and") is None
    assert tokens.single("") is None


def test_decoding_gives_the_text_back(tokens):
    assert tokens.decode(tokens.encode(TEXT).ids) == TEXT
    assert "".join(tokens.pieces(TEXT)) == TEXT


def test_ids_beyond_the_vocabulary_have_a_name(tokens):
    assert tokens.piece(10**6) == "<1000000>"


def test_sentencepiece_style():
    """A tokenizer that sets a space before every text, as Llama 2's does."""
    words = ["<unk>", "▁Mary", "▁and", "▁", "M"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    tokens = Tokens(tokenizer)
    assert tokens.encode("Mary and").ids == (1, 2)
    assert covered("Mary and", tokens.encode("Mary and")) == ["Mary", "and"]
    assert tokens.single(" Mary") == tokens.single("Mary") == 1
    assert tokens.single(" Nobody") is None
    assert tokens.pieces("Mary and") == [" Mary", " and"]


def test_truncation_and_padding_of_the_file_are_switched_off():
    tokenizer = tiny_tokenizer()
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=50)
    assert len(Tokens(tokenizer).encode("Mary and John")) == 3


def test_loading_from_a_folder(tmp_path):
    tiny_tokenizer(bos=True).save(str(tmp_path / "tokenizer.json"))
    assert Tokens.load(tmp_path).encode("Mary").ids[0] == 0


def test_old_folders_have_vocabulary_and_merges(tmp_path):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate(["<|endoftext|>", *alphabet, "th", "Ġth"])}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    (tmp_path / "merges.txt").write_text("#version: 0.2\nt h\nĠ th\n", encoding="utf-8")
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    tokens = Tokens.load(tmp_path)
    assert tokens.pieces("th th") == ["th", " th"]
    assert tokens.encode("th th").offsets == ((0, 2), (3, 5))
    assert tokens.encode("<|endoftext|>").ids == (0,)


def test_no_tokenizer_is_a_mistake(tmp_path):
    with pytest.raises(Mistake, match="holds no tokenizer") as caught:
        Tokens.load(tmp_path)
    assert caught.value.code == "no-tokenizer"


def test_a_damaged_tokenizer_is_a_mistake(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(Mistake, match="cannot read the tokenizer"):
        Tokens.load(tmp_path)
