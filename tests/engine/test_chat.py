"""Prompts in a chat template: the tokens of transformers, and numbers of raw PyTorch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from causaldsl import api
from causaldsl.check.pairs import Pair
from causaldsl.diagnostics import Mistake, ProgramError
from causaldsl.model.catalog import resolve
from causaldsl.model.chat import Frame
from causaldsl.model.tokens import Tokens
from tests import oracle
from tests.tiny import tiny_folder

TEMPLATE = """{% for message in messages %}
{{ bos_token }}{{ message['role'] }} said
{{ message['content'] }}{% endfor %}

{% if add_generation_prompt %}He said
{% endif %}"""
ROWS = [
    {
        "base": f"The man gave {a}",
        "source": f"The boy gave {b}",
        "answer": c,
        "foil": d,
        "positions": {"WHO": {"base": a, "source": b}},
    }
    for a, b, c, d in (("Mary", "John", "ring", "book"), ("Kate", "Paul", "kiss", "apple"))
]


class World:
    def __init__(self, folder: Path):
        from transformers import AutoTokenizer

        self.folder = folder
        model = tiny_folder(folder, "llama")
        self.module = oracle.of_folder(model)
        (model / "chat_template.jinja").write_text(TEMPLATE)
        self.tokenizer = AutoTokenizer.from_pretrained(str(model))
        text = "".join(json.dumps(row) + "\n" for row in ROWS)
        (folder / "pairs.jsonl").write_text(text)

    def ids(self, text: str) -> list[int]:
        message = [{"role": "user", "content": text}]
        found = self.tokenizer.apply_chat_template(
            message, add_generation_prompt=True, tokenize=True, return_dict=True
        )
        return list(found["input_ids"])

    def token(self, text: str) -> int:
        (token,) = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return int(token)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("chat"))


@pytest.fixture(autouse=True)
def there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.folder)


def pairs_of(run: api.Run) -> tuple[Pair, ...]:
    family = run.program.families["p"]
    found = family.whole or family.test
    assert found is not None
    return found.pairs


@pytest.mark.parametrize("reader", ["jsonl", "dataset"])
def test_tokens_positions_and_numbers(world: World, reader: str, tmp_path: Path) -> None:
    text = (
        f'model lm = "tiny-llama"\npairs p = {reader}("pairs.jsonl", frame: chat)\n'
        "measure m on p { a = patch resid_post[1] @ WHO  report logit_diff }"
    )
    run = api.run(text, dtype="float64", out=tmp_path / "run")
    found = {"clean": [], "a": []}
    for pair, row in zip(pairs_of(run), ROWS, strict=True):
        base, source = (world.ids(str(row[side])) for side in ("base", "source"))
        assert (list(pair.base.ids), list(pair.source.ids)) == (base, source)
        assert pair.base.named["END"] == len(base) - 1
        at = pair.base.named["WHO"]
        assert world.tokenizer.decode([base[at]]).strip() == str(row["base"]).split()[-1]
        value = oracle.read(world.module, torch.tensor([source]), ("resid_post", 1, None))[:, at]

        def patched(x: torch.Tensor, at: int = at, value: torch.Tensor = value) -> torch.Tensor:
            return torch.cat([x[:, :at], value[:, None], x[:, at + 1 :]], 1)

        answer, foil = (world.token(str(row[name])) for name in ("answer", "foil"))
        for arm, edits in (("clean", []), ("a", [(("resid_post", 1, None), patched)])):
            logits = oracle.logits(world.module, torch.tensor([base]), edits)[0]
            found[arm].append(float(logits[answer] - logits[foil]))
    for arm, values in found.items():
        measured = run.results.measures["m"][arm]["logit_diff"].mean
        assert measured == pytest.approx(sum(values) / 2, abs=1e-9)
    assert not any("space" in note for note in run.results.notes)
    saved = (tmp_path / "run" / "pairs" / "p.jsonl").read_text()
    (world.folder / "saved.jsonl").write_text(saved)
    again = api.run(text.replace(f'{reader}("pairs.jsonl", frame: chat)', 'jsonl("saved.jsonl")'))
    assert [pair.base for pair in pairs_of(again)] == [pair.base for pair in pairs_of(run)]


def test_templates_in_a_frame(world: World) -> None:
    text = """model lm = "tiny-llama"
lexicon name = words(["Mary", "John", "Kate", "Paul"])
prompts q { frame chat  test "The man gave {X}" slots X: name answer X position WHO = X }
pairs p = q A <-> B { test 2 }
measure m on p.test { a = patch resid_post[1] @ WHO  report loss }
"""
    for pair in pairs_of(api.run(text)):
        name = pair.base.text.split()[-1]
        assert list(pair.base.ids) == world.ids(pair.base.text)
        assert pair.answer == world.token(name)
        assert world.tokenizer.decode([pair.base.ids[pair.base.named["WHO"]]]).strip() == name


def test_answers_of_several_tokens_follow_the_frame(world: World) -> None:
    rows = [row | {"answer": "ring book", "foil": "kiss"} for row in ROWS]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (world.folder / "whole.jsonl").write_text(text)
    run = api.run(
        'model lm = "tiny-llama"\npairs p = jsonl("whole.jsonl", frame: chat, answers: whole)\n'
        "measure m on p { a = patch resid_post[1] @ WHO  report loss }",
        dtype="float64",
    )
    total = 0.0
    for row in rows:
        ids = world.ids(str(row["base"]))
        for token in world.tokenizer("ring book", add_special_tokens=False)["input_ids"]:
            logits = oracle.logits(world.module, torch.tensor([ids]))[0]
            total -= float(logits.log_softmax(-1)[token]) / 2
            ids = [*ids, token]
    assert run.results.measures["m"]["clean"]["loss"].mean == pytest.approx(total, abs=1e-9)


def test_a_word_that_is_another_token_at_the_beginning_of_a_line_is_refused(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some tokenizers set a space before a text, so that a word alone is not what comes next."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    model = tiny_folder(tmp_path, "llama")
    (model / "chat_template.jinja").write_text(TEMPLATE)
    old = Tokenizer.from_file(str(model / "tokenizer.json")).get_vocab()
    words = [word for word in old if word not in ("<s>", "<unk>")]
    vocab = {"<s>": 0, "<unk>": 1, "\n": 2}
    for word in words[: len(old) // 2 - 3]:
        vocab |= {word: len(vocab), f"▁{word}": len(vocab) + 1}
    made = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="first"),
            pre_tokenizers.Split(Regex("\n"), "isolated"),
        ]
    )
    made.save(str(model / "tokenizer.json"))
    monkeypatch.chdir(tmp_path)
    known = [word for word in words if f"▁{word}" in vocab and word.isalpha()][:2]
    text = f"""model lm = "tiny-llama"
lexicon name = words(["{known[0]}", "{known[1]}"])
prompts q {{ FRAME test "{known[0]} {{X}}" slots X: name answer X }}
pairs p = q A <-> B {{ test 2 }}
"""
    with pytest.raises(ProgramError, match=r"is not cut from .* between two tokens"):
        api.check(text.replace("FRAME", "frame chat"))
    row = {"base": known[0], "source": known[1], "answer": known[0], "foil": known[1]}
    Path("rows.jsonl").write_text(json.dumps(row))
    with pytest.raises(ProgramError, match="is not cut from the prompt between two tokens"):
        api.check('model lm = "tiny-llama"\npairs p = jsonl("rows.jsonl", frame: chat)\n')


def test_the_template_of_smollm2_is_that_of_transformers() -> None:
    spec = resolve("smollm2-135m", Path())
    if spec.path is None or not (spec.path / "chat_template.jinja").is_file():
        pytest.skip("smollm2-135m is not on this machine: causaldsl models pull smollm2-135m")
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(str(spec.path))
    ours = Tokens.load(spec.path).framed("chat")
    for text in ("The capital of France is", "When Mary and John went home, who was there?"):
        wanted = theirs.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=True
        )
        found = ours.encode(text)
        assert list(found.ids) == list(wanted["input_ids"])
        inside = [text[start:end] for start, end in found.offsets if start < end]
        assert "".join(inside) == text.replace(" ", "")


@pytest.mark.parametrize(
    ("template", "code"),
    [
        ("{{ messages[0].content }} and {{ messages[0].content }}", "bad-chat-template"),
        ("nothing", "bad-chat-template"),
        ("{{ raise_exception('no users here') }}", "bad-chat-template"),
        ("{{ messages[0].content.__class__.__mro__ }}", "bad-chat-template"),
        ("{% for", "bad-chat-template"),
    ],
)
def test_templates_that_can_t_be_used(template: str, code: str) -> None:
    with pytest.raises(Mistake) as refused:
        Frame(template, {})
    assert refused.value.code == code


def test_a_text_that_the_template_changes_is_refused() -> None:
    frame = Frame("[{{ messages[0].content | trim }}]", {})
    assert frame.around("a man") == ("[", "]")
    with pytest.raises(Mistake, match="does not leave this prompt as it is"):
        frame.around("a man ")


def test_what_the_template_decides_is_not_said_twice(world: World) -> None:
    said = 'pairs p = jsonl("pairs.jsonl", frame: chat)\n'
    with pytest.raises(ProgramError, match="itself what stands before a text"):
        api.check(f'model lm = "tiny-llama" {{ bos no }}\n{said}')
    (world.folder / "tiny-llama" / "chat_template.jinja").rename(world.folder / "aside")
    try:
        with pytest.raises(ProgramError, match="has no chat template"):
            api.check(f'model lm = "tiny-llama"\n{said}')
    finally:
        (world.folder / "aside").rename(world.folder / "tiny-llama" / "chat_template.jinja")
