"""Generated texts against transformers' own `generate` under hooks written by hand."""

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor
from transformers.generation.logits_process import (
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from causaldsl.diagnostics import ProgramError
from causaldsl.engine.session import Session
from causaldsl.engine.words import generation
from causaldsl.engine.words.generation import Texts
from causaldsl.engine.writing import choose
from causaldsl.report.kinds.generations import Generations
from causaldsl.results.numbers import Number
from causaldsl.results.records import GenerationRecord, Results
from causaldsl.vocabulary.generation import GenerateWord, occurrences
from tests.engine.test_interpret import check, run
from tests.engine.test_store import found
from tests.engine.test_store import run as store_run
from tests.families.models import NAMES, family_folder
from tests.frontend.world import PRELUDE, make_world

FAMILIES = {
    "llama": "model.layers",
    "gpt2": "transformer.h",
    "gpt_neox": "gpt_neox.layers",
    "gemma2": "model.layers",
    "mpt": "transformer.blocks",
    "opt": "model.decoder.layers",
}
TEXTS = ["Then Mary", "Then John went to the park", "After the meeting Anna and Kate", "Paul had a"]
PROGRAM = """
prompts said = corpus("said.txt")
subspace v = random(resid_post[1] @ END, seed: 1)
generate g on said {
  plain = base
  everywhere = steer resid_post[1] @ all along v by 20
  end = steer resid_post[1] @ END along v by 20
  gone = ablate resid_post[2] @ all to zero along v
  first = ablate resid_post[0] @ 1 to mean + steer resid_post[1] @ all along v by 7
  tokens 9
  report text, length
}
"""
Hook = Callable[[Tensor, int], Tensor]
"""From an activation (1, T, d) of a layer, and the index of its first token, to the new one."""


@contextmanager
def hooked(module: Any, layers: str, hooks: dict[int, Hook]) -> Iterator[None]:
    handles = []
    for layer, change in hooks.items():
        seen = [0]

        def hook(_: Any, args: Any, out: Any, seen: list[int] = seen, change: Hook = change) -> Any:
            x = out[0] if isinstance(out, tuple) else out
            new = change(x, seen[0])
            seen[0] += x.shape[1]
            return (new, *out[1:]) if isinstance(out, tuple) else new

        handles.append(module.get_submodule(layers)[layer].register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def by_hand(module: Any, layers: str, ids: list[int], hooks: dict[int, Hook]) -> list[int]:
    with hooked(module, layers, hooks), torch.no_grad():
        tokens = torch.tensor([ids])
        mask = torch.ones_like(tokens)
        out = module.generate(
            tokens,
            attention_mask=mask,
            max_new_tokens=9,
            do_sample=False,
            pad_token_id=1,
            use_cache=True,
        )
    new = out[0, len(ids) :].tolist()
    return new[: new.index(0)] if 0 in new else new


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_is_that_of_transformers(family: str, tmp_path: Path) -> None:
    """Token by token, each prompt alone there and all together here, on both backends."""
    folder = family_folder(tmp_path, family)
    (tmp_path / "said.txt").write_text("\n".join(TEXTS))
    text = f'model lm = "{folder.name}"\n{PROGRAM}'
    wanted: dict[str, list[list[int]]] = {}
    for backend in ("cone", "hooks"):
        _, session = run(text, tmp_path, backend=backend)
        found: Texts = session.values[session.graph.key_of("g")]
        if not wanted:
            wanted = _wanted(session, FAMILIES[family])
        for arm, texts in wanted.items():
            assert [list(t) for t in found.written[arm].tokens] == texts, (backend, arm)
        lengths = [len(new) for new in wanted["plain"]]
        assert found["plain"]["length"].mean == pytest.approx(sum(lengths) / len(lengths))
    different = len({str(texts) for texts in wanted.values()})
    assert different >= (2 if family == "gemma2" else 4)  # which repeats its prompts' last tokens


def _wanted(session: Session, layers: str) -> dict[str, list[list[int]]]:
    module = session.loaded.hf
    v = session.values[session.graph.key_of("v")].direction
    prompts = session.graph.pairs[session.graph.key_of("said")].side("base")
    firsts: list[Tensor] = []

    def keep(x: Tensor, _: int) -> Tensor:
        firsts.append(x[0, 1])
        return x

    for prompt in prompts:
        with hooked(module, layers, {0: keep}), torch.no_grad():
            module(torch.tensor([prompt.ids]))
    mean = torch.stack(firsts).mean(0)

    def push(by: float) -> Hook:
        return lambda x, _: x + by * v

    def push_end(x: Tensor, first: int) -> Tensor:
        new = x.clone()
        if not first:
            new[:, -1] += 20 * v
        return new

    def set_first(x: Tensor, first: int) -> Tensor:
        new = x.clone()
        if not first:
            new[:, 1] = mean
        return new

    hooks: dict[str, dict[int, Hook]] = {
        "plain": {},
        "everywhere": {1: push(20)},
        "end": {1: push_end},
        "gone": {2: lambda x, _: x - (x @ v)[..., None] * v},
        "first": {0: set_first, 1: push(7)},
    }
    return {
        arm: [by_hand(module, layers, list(map(int, p.ids)), of_arm) for p in prompts]
        for arm, of_arm in hooks.items()
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("generation"))


SAMPLED = """
prompts said = corpus("{file}")
subspace v = random(resid_post[1] @ END, seed: 1)
generate g on said {{
  plain = base
  same = ablate resid_post[1] @ 1 to zero along v
  tokens 6  temperature 0.8  top_k 40  top_p 0.95  seed {seed}
  report length
}}
"""


def _texts(world: Path, file: str, seed: int, backend: str = "cone") -> dict[str, tuple[int, ...]]:
    text = 'model lm = "tiny-gpt2"\n' + SAMPLED.format(file=file, seed=seed)
    _, session = run(text, world, backend=backend)
    prompts = session.graph.pairs[session.graph.key_of("said")].side("base")
    found: Texts = session.values[session.graph.key_of("g")]
    written = found.written["plain"].tokens
    return {prompt.text: own for prompt, own in zip(prompts, written, strict=True)}


def test_what_is_drawn_hangs_on_the_seed_and_the_prompt_alone(world: Path) -> None:
    lines = (world / "texts.txt").read_text().split("\n\n")
    (world / "some.txt").write_text("\n".join(reversed(lines[3:8])))
    first, some = _texts(world, "texts.txt", 0), _texts(world, "some.txt", 0)
    assert {text: first[text] for text in some} == some
    assert _texts(world, "some.txt", 0, "hooks") == some
    other = _texts(world, "some.txt", 1)
    assert other.keys() == some.keys()
    assert other != some


@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (5, 1.0), (0, 0.7), (6, 0.8)])
def test_draws_are_of_transformers_distribution(top_k: int, top_p: float) -> None:
    """As often as its own filters make each token likely; none that these leave out."""
    word = GenerateWord(tokens=1, temperature=0.7, top_k=top_k, top_p=top_p)
    logits = 2 * torch.randn(12, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    scores = TemperatureLogitsWarper(0.7)(None, logits[None].clone())
    scores = TopKLogitsWarper(top_k)(None, scores) if top_k else scores
    scores = TopPLogitsWarper(top_p)(None, scores) if top_p < 1 else scores
    wanted = scores.softmax(-1)[0]
    n = 4000
    draws = (torch.arange(n, dtype=torch.float64) + 0.5) / n  # evenly over 0 to 1
    found = choose(logits.expand(1, n, -1), draws, word)[0]
    shares = torch.bincount(found, minlength=12).double() / n
    assert torch.allclose(shares, wanted, atol=1.5 / n)
    assert not shares[wanted == 0].any()


@pytest.mark.parametrize(
    ("text", "words", "count"),
    [
        ("Weddings? A wedding, THE Wedding day.", ["wedding", "wedding day"], 2),
        ("new york and New York!", ["New York"], 2),
        ("a+b a+b+c", ["a+b"], 2),
        ("abc", ["b"], 0),
        ("", ["a"], 0),
        ("Straße STRASSE", ["straße"], 2),
    ],
)
def test_words_of_a_text(text: str, words: list[str], count: int) -> None:
    assert occurrences(text, words) == count


def test_a_word_that_the_prompt_began_is_not_of_the_text(world: Path) -> None:
    """`restau` and `rant` are one word, which is not `rant`."""
    assert occurrences("rant and rant", ["rant"], before="the restau") == 1
    assert occurrences(" rant and rant", ["rant"], before="the restau") == 2
    text = 'model lm = "tiny-gpt2"\nprompts said = corpus(["The man gave"])\n'
    how = "generate g on said { plain = base  tokens 1  report length, count([WORDS]) }\n"
    _, session = run(text + how.replace("WORDS", '"x"'), world)
    first = session.values[session.graph.key_of("g")].written["plain"].texts[0].strip()
    text = text.replace("gave", "gavex")
    _, session = run(text + how.replace("WORDS", f'"{first}"'), world)
    found: Texts = session.values[session.graph.key_of("g")]
    new = found.written["plain"].texts[0]
    assert found["plain"]["count"].mean == occurrences("gavex" + new, [first])


def test_however_small_the_temperature_is() -> None:
    """It is the most likely token in the end, and no token of 0 / 0."""
    logits = 20 * torch.randn(2, 3, 50, generator=torch.Generator().manual_seed(4))
    draws = torch.tensor([0.0, 0.5, 0.999], dtype=torch.float64)
    for size in (1e-6, 1e-308):
        word = GenerateWord(tokens=1, temperature=size)
        assert torch.equal(choose(logits, draws, word), logits.argmax(-1))


def test_texts_end_as_the_folder_says_now(world: Path, tmp_path: Path) -> None:
    """Texts in the store are of the tokens that ended texts when they were written."""
    shutil.copytree(world / "tiny-gpt2", world / "ending")
    text = (
        'model lm = "ending"\nprompts said = corpus("texts.txt")\n'
        "generate g on said { plain = base  tokens 4  report text, length }\n"
    )
    before = store_run(text, world, tmp_path)
    _, session = run(text, world)
    whole = session.values[session.graph.key_of("g")].written["plain"].tokens
    end = whole[0][1]
    (world / "ending" / "generation_config.json").write_text(f'{{"eos_token_id": [{end}, 0]}}')
    _, session = run(text, world)
    cut = session.values[session.graph.key_of("g")].written["plain"].tokens
    assert cut == tuple(t[: t.index(end)] if end in t else t for t in whole)
    again = store_run(text, world, tmp_path)
    assert found(again) != found(before)
    assert found(again) == found(store_run(text, world, "none"))


def test_numbers_have_intervals_and_claims(world: Path) -> None:
    names = ", ".join(f'"{name}"' for name in NAMES)
    text = PRELUDE + (
        'prompts said = corpus("texts.txt")\n'
        "subspace v = random(resid_post[1] @ END, seed: 1)\n"
        "generate g on said { plain = base  pushed = steer resid_post[1] @ all along v by 30\n"
        f"  tokens 8  report text, length, named = share_with([{names}]), count([{names}]) }}\n"
        "let more = g.pushed.count - g.plain.count\n"
        "expect g.plain.length > 3 and g.pushed.named < 1.1\n"
        "generate on_pairs on flip.test { plain = base  moved = patch resid_post[1] @ S2\n"
        "  tokens 3  report length }\n"
    )
    results, session = run(text, world)
    found: Texts = session.values[session.graph.key_of("g")]
    written = found.written["plain"]
    counts = [occurrences(one, NAMES) for one in written.texts]
    assert sum(counts)
    number = found["plain"]["count"]
    assert number.mean == pytest.approx(sum(counts) / len(counts))
    assert number.low < number.mean < number.high
    share = found["plain"]["named"]
    assert share.mean == pytest.approx(sum(c > 0 for c in counts) / len(counts))
    assert 0 <= share.low < share.high <= 1
    assert [claim.verdict for claim in results.expectations] == ["held", "held"]
    assert results.expectations[0].low is not None
    assert results.intervals["more"].n == len(counts)
    on_pairs: Texts = session.values[session.graph.key_of("on_pairs")]
    assert (
        on_pairs["moved"]["length"].n
        == session.graph.pairs[session.graph.key_of("flip.test")].units.count
    )


HEAD = PRELUDE + 'prompts said = corpus("texts.txt")\nsubspace v = random(resid_post[1] @ END)\n'
BAD = [
    ("generate g on said { a = patch resid_post[1] @ END  tokens 3  report text }", "no-source"),
    ("generate g on flip.test { a = patch resid_post[1] @ all  tokens 3  report text }",
     "not-written-yet"),
    ("generate g on said { a = ablate resid_post[1] @ all to mean along v  tokens 3  report text }",
     "not-written-yet"),
    ('dictionary f = transcoder("transcoder") at mlp_in[1] -> mlp_out[1]\n'
     "generate g on said { a = ablate f.features[3] @ all to zero  tokens 3  report text }",
     "not-written-yet"),
    ('dictionary f = sae("sae") at resid_post[1]\n'
     "generate g on flip.test { a = patch f.features[3] @ all  tokens 3  report text }",
     "not-written-yet"),
    ("generate g on said { a = ablate random_mlp(1, seed: 0) @ all to zero  tokens 3  "
     "report text }", "not-written-yet"),
    ("generate g on said { a = steer resid_post[1] @ S2 along v by 1  tokens 3  report text }",
     "unknown-position"),
    ("generate g on said { a = resid_post[1] @ END -> logits { freeze all  layernorm frozen }  "
     "tokens 3  report text }", "path-here"),
    ("generate g on said { a = base  tokens 0  report text }", "bad-option"),
    ("generate g on said { a = base  tokens 300  report text }", "too-long"),
    ("generate g on said { a = base  tokens 3  top_k 4  report text }", "bad-option"),
    ("generate g on said { a = base  tokens 3  temperature 1  seed 1  seed 2  report text }",
     "option-twice"),
    ("generate g on said { a = base  tokens v  report text }", "wrong-kind"),
    ("generate g on said { a = base  tokens 3  report logit_diff }", "unknown-metric"),
    ("generate g on said { a = base  tokens 3  report share_with }", "bad-metric"),
    ("generate g on said { a = base  tokens 3  report share_with([3]) }", "bad-metric"),
    ('generate g on said { a = base  tokens 3  report count(["a"]), count(["b"]) }', "name-twice"),
    ("generate g on said { a = base  a = base  tokens 3  report text }", "name-twice"),
    ("generate g on said { length = base  tokens 3  report text }", "reserved-name"),
    ("generate g on flip { a = base  tokens 3  report text }", "which-part"),
    ("generate g on said { a = base  tokens 3  report length }\nexpect g.b.length > 1", "no-arm"),
    ("generate g on said { a = base  tokens 3  report length }\nexpect g.a.count > 1", "no-metric"),
    ("generate g on said { a = base  tokens 3  report length }\nexpect g.a > 1", "wrong-kind"),
    ("generate g on said { a = base  report text }", "syntax"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code"), BAD)
def test_refused(text: str, code: str, world: Path) -> None:
    with pytest.raises(ProgramError) as caught:
        check(HEAD + text + "\n", world)
    problem = caught.value.diagnostics[0]
    assert problem.code == code
    assert problem.help or "not a number" in problem.message


STORED = PRELUDE + (
    'prompts said = corpus("texts.txt")\nsubspace v = random(resid_post[1] @ END)\n'
    "generate g on said { plain = base  pushed = steer resid_post[1] @ all along v by 9\n"
    '  tokens 5  temperature 0.9  report text, length, share_with(["the"]) }\n'
    "subspace p = probe(resid_post[1] @ END, ABB, BAB, on: flip.train, held_out: 0.5)\n"
)


def test_a_run_that_was_stopped_goes_on_behind_the_last_part(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And gives the same bits, as does one that finds all of it in the store."""
    monkeypatch.setattr(generation, "WRITTEN_TOGETHER", 5)
    alone = store_run(STORED, world, "none")
    parts: list[int] = []
    before = generation.write

    def counted(*given: Any) -> Any:
        parts.append(len(given[3]))
        if len(parts) == 3:
            raise KeyboardInterrupt
        return before(*given)

    monkeypatch.setattr(generation, "write", counted)
    with pytest.raises(KeyboardInterrupt):
        store_run(STORED, world, tmp_path)
    made = store_run(STORED, world, tmp_path)
    assert parts == [5, 5, 5, 5, 5, 4]  # 24 prompts; the third part is made again
    assert found(made) == found(alone)
    again = store_run(STORED, world, tmp_path)
    assert len(parts) == 6
    assert found(again) == found(made)
    assert again.reused[0] == again.reused[1] > 0


HOSTILE = "<script>alert('x')</script> [red]\x1b[31m & \"q\" <b>"


def test_texts_are_shown_as_what_they_are() -> None:
    """Whatever the model writes: no markup of the page, no command of the terminal."""
    number = Number(mean=1.0, n=5, low=0.5, high=1.5)
    record = GenerationRecord(
        prompts=[HOSTILE] * 5,
        tokens=4,
        sampling={"temperature": 0.0},
        texts={"plain": [HOSTILE] * 5},
        ended={"plain": [True] * 5},
        numbers={"plain": {"n": number}},
        metrics={"n": f'count(["{HOSTILE}"])'},
    )
    kind = Generations()
    for made in (kind.panel(None, "g", record), kind.article(None, "g", record)):  # type: ignore[arg-type]
        assert "<script" not in str(made)
        assert "<b>" not in str(made).replace("<b>g</b>", "")
        assert "\x1b" not in str(made)
        assert "&lt;script&gt;" in str(made)
    out = Console(file=io.StringIO(), width=200, force_terminal=True)
    results = Results(program="p", measures={}, generations={"g": record})
    for table in kind.tables(results, "g", record):
        out.print(table)
    shown = out.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[31m" not in shown
    assert r"[red]\u001b[31m" in shown
