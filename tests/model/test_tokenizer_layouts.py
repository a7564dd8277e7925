"""Tokens in every layout of a model folder are those that transformers gives for that folder.

Where transformers and a sentencepiece model disagree, sentencepiece is right.
"""

import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import ByteLevelBPETokenizer, Tokenizer

from causaldsl.diagnostics import Mistake
from causaldsl.engine.weights.convert_tokenizer import convert, main
from causaldsl.model import tokenizer_files
from causaldsl.model.tokens import Tokens
from tests.tiny import WORDS, tiny_tokenizer

CORPUS = [
    "Then, Mary and John's friends (12 of them) went to the store.",
    "After the meeting Anna gave a drink to Tom, and Paul said so.",
    " ".join(WORDS),
] * 4
TEXTS = st.lists(
    st.one_of(
        st.sampled_from(
            ["Mary", " and", " John's", "  ", "\n", " 12", "e\u0301", "中", "<s>", "</s>"]
        ),
        st.sampled_from(["<|endoftext|>", "<mask>", " <extra> ", "<pad>", "</s>", " the store."]),
        st.text(max_size=4),
    ),
    max_size=8,
).map("".join)


def folder(place, model_type, **settings):
    """A folder with a configuration and tokenizer_config.json, and no tokenizer yet."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "config.json").write_text(json.dumps({"model_type": model_type}))
    (place / "tokenizer_config.json").write_text(json.dumps(settings))
    return place


def vocab_and_merges(place, special=("<|endoftext|>", "</s>")):
    """Byte-level BPE in GPT-2's two files."""
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(CORPUS, vocab_size=400, min_frequency=1, special_tokens=[*special])
    trained.save_model(str(place))
    return place


def sentencepiece(place, name="tokenizer.model", kind="bpe", **options):
    import sentencepiece

    (place / "corpus.txt").write_text("\n".join(CORPUS))
    sentencepiece.SentencePieceTrainer.train(
        input=str(place / "corpus.txt"),
        model_prefix=str(place / "made"),
        model_type=kind,
        vocab_size=400 if kind == "bpe" else 90,
        byte_fallback=kind == "bpe",
        hard_vocab_limit=False,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        minloglevel=2,
        **options,
    )
    (place / "made.model").rename(place / name)
    return place


def one_file(place, bos):
    tiny_tokenizer(bos=bos).save(str(place / "tokenizer.json"))
    return place


PLAIN = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>"}
GEMMA = {"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "pad_piece": "<pad>"}
LAYOUTS = {
    "llama: one file, BOS by its post-processor": lambda at: one_file(
        folder(at, "llama", **PLAIN), True
    ),
    "llama: the same, and add_bos_token is false": lambda at: one_file(
        folder(at, "llama", **PLAIN, add_bos_token=False), True
    ),
    "one file without BOS, and add_bos_token is true": lambda at: one_file(
        folder(at, "llama", **PLAIN, add_bos_token=True), False
    ),
    "one file, and tokens that the settings add": lambda at: one_file(
        folder(
            at,
            "llama",
            **PLAIN,
            eos_token="</s>",
            additional_special_tokens=["<extra>"],
            mask_token={"__type": "AddedToken", "content": "<mask>", "lstrip": True},
        ),
        True,
    ),
    "one file, special tokens are taken apart": lambda at: one_file(
        folder(at, "llama", **PLAIN, split_special_tokens=True), True
    ),
    "opt: vocab and merges with BOS": lambda at: vocab_and_merges(
        folder(at, "opt", tokenizer_class="GPT2Tokenizer", bos_token="</s>", add_bos_token=True)
    ),
    "gpt2: vocab and merges": lambda at: vocab_and_merges(folder(at, "gpt2")),
    "gpt2: the same with a special token": lambda at: vocab_and_merges(
        folder(at, "gpt2", tokenizer_class="GPT2Tokenizer", pad_token="<pad>")
    ),
    "qwen2: vocab and merges, composed, another split": lambda at: vocab_and_merges(
        folder(at, "qwen3", tokenizer_class="Qwen2Tokenizer", add_bos_token=False)
    ),
    "llama: sentencepiece with BOS": lambda at: sentencepiece(
        folder(at, "llama", tokenizer_class="LlamaTokenizer", add_bos_token=True)
    ),
    "llama: sentencepiece without BOS": lambda at: sentencepiece(
        folder(at, "llama", tokenizer_class="LlamaTokenizer", add_bos_token=False)
    ),
    "gemma: sentencepiece without a space before a text": lambda at: sentencepiece(
        folder(at, "gemma", tokenizer_class="GemmaTokenizer", add_bos_token=True),
        add_dummy_prefix=False,
        eos_piece="<eos>",
        bos_piece="<bos>",
        **GEMMA,
    ),
    "xlnet: a unigram sentencepiece model": lambda at: sentencepiece(
        folder(at, "xlnet", tokenizer_class="XLNetTokenizer"), "spiece.model", "unigram"
    ),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Every layout, our tokens and those of transformers. Conversions run in this process."""
    from transformers import AutoTokenizer

    cache = tmp_path_factory.mktemp("cache")
    patch = pytest.MonkeyPatch()
    patch.setenv("CAUSALDSL_CACHE", str(cache))
    patch.setattr(tokenizer_files, "run_converter", lambda module, source, to: convert(source, to))
    root = tmp_path_factory.mktemp("layouts")
    found = {}
    for number, (name, build) in enumerate(LAYOUTS.items()):
        place = build(root / str(number))
        found[name] = (Tokens.load(place), AutoTokenizer.from_pretrained(str(place)), place)
    patch.undo()
    return found


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_ids_are_those_of_transformers(made, name):
    ours, theirs, _ = made[name]

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(TEXTS)
    def same(text):
        encoded = ours.encode(text)
        assert list(encoded.ids) == theirs(text)["input_ids"]
        assert len(encoded.offsets) == len(encoded.ids)
        plain = theirs(text, add_special_tokens=False)["input_ids"]
        assert [*ours.begins, *plain] == list(encoded.ids)[: len(ours.begins) + len(plain)]

    same()


BEGUN = {
    "llama: one file, BOS by its post-processor": True,
    "llama: the same, and add_bos_token is false": True,
    "one file without BOS, and add_bos_token is true": False,
    "opt: vocab and merges with BOS": True,
    "gpt2: vocab and merges": False,
    "llama: sentencepiece with BOS": True,
    "llama: sentencepiece without BOS": False,
}


@pytest.mark.parametrize("name", BEGUN)
def test_what_begins_a_text(made, name):
    ours, theirs, _ = made[name]
    bos = theirs.bos_token_id
    assert ours.bos == bos
    assert theirs.eos_token_id is None or theirs.eos_token_id in ours.eos
    assert ours.begins == ((bos,) if BEGUN[name] else ())
    plain = theirs("Mary and John", add_special_tokens=False)["input_ids"]
    put, out = (Tokens(ours.tokenizer, bos, ours.eos, wanted) for wanted in (True, False))
    assert put.encode("Mary and John").ids == (bos, *plain)
    assert out.encode("Mary and John").ids == tuple(plain)
    assert put.encode("Mary and John").offsets[1:] == out.encode("Mary and John").offsets


def test_what_the_configuration_says_otherwise_is_in_doubt(made):
    doubts = {name: ours.doubt for name, (ours, _, _) in made.items() if ours.doubt}
    assert doubts == {
        "llama: the same, and add_bos_token is false": "tokenizer_config.json says "
        "`add_bos_token: false`, but tokenizer.json puts `<s>` before every text",
        "one file without BOS, and add_bos_token is true": "tokenizer_config.json says "
        "`add_bos_token: true`, but tokenizer.json puts none",
    }


@pytest.mark.parametrize("kind", ["mistral", "llama"])
def test_a_class_that_cuts_otherwise_than_the_model_is_not_used(tmp_path, kind):
    """The generic class of these sets no space before a text; the model's file says it is there."""
    from sentencepiece import SentencePieceProcessor

    place = sentencepiece(folder(tmp_path / "model", kind))
    (tmp_path / "out").mkdir()
    convert(place, tmp_path / "out")
    own = SentencePieceProcessor(model_file=str(place / "tokenizer.model"))
    written = Tokenizer.from_file(str(tmp_path / "out/tokenizer.json"))
    for text in (*CORPUS[:2], "a  b", "Anna"):
        assert written.encode(text, add_special_tokens=False).ids == own.encode(text)


def test_what_nobody_reads_as_the_model_does_is_refused(tmp_path, private_cache, capsys):
    place = sentencepiece(folder(tmp_path / "model", "olmo"), kind="unigram")
    (tmp_path / "out").mkdir()
    assert main([str(place), str(tmp_path / "out")]) == 1
    assert "where tokenizer.model says" in capsys.readouterr().err


def test_converted_once_in_a_process_of_its_own(tmp_path, private_cache):
    """What is in the cache is found again by the files' content, and only by that."""
    place = LAYOUTS["opt: vocab and merges with BOS"](tmp_path / "model")
    said = []
    first = Tokens.load(place, progress=said.append)
    assert len(said) == 1
    assert first.tokenizer.id_to_token(first.encode("Mary").ids[0]) == "</s>"
    again = shutil.copytree(place, tmp_path / "copy")
    assert Tokens.load(again, progress=said.append).encode("Mary") == first.encode("Mary")
    assert len(said) == 1
    assert len(list((private_cache / "models").glob("tokenizer-*"))) == 1


@pytest.mark.parametrize("file", ["tokenizer_config.json", "special_tokens_map.json"])
def test_damaged_settings_are_a_mistake(tmp_path, file):
    place = one_file(folder(tmp_path, "llama", **PLAIN), True)
    (place / file).write_text("{")
    with pytest.raises(Mistake, match="cannot read") as caught:
        Tokens.load(place)
    assert caught.value.code == "unreadable-tokenizer"


def test_no_bos_to_put(tmp_path):
    place = one_file(folder(tmp_path, "llama", tokenizer_class="PreTrainedTokenizerFast"), False)
    assert Tokens.load(place, bos=False).begins == ()
    with pytest.raises(Mistake, match="names no token that begins a text"):
        Tokens.load(place, bos=True)
