"""Numbers of models whose tokens depend on their files or on the program.

The oracle is the Hugging Face module, run on the ids that transformers gives.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from causaldsl import api
from causaldsl.cli import main
from causaldsl.plan.settings import Settings
from causaldsl.results.store import run_key
from tests.frontend.world import make_world
from tests.model.test_tokenizer_layouts import folder, vocab_and_merges

TEXTS = ("Then, Mary and John went to the store.", "Then, John and Mary went to the store.")
PAIR = {"base": TEXTS[0], "source": TEXTS[1], "answer": " the", "foil": " and"}
PROGRAM = """model lm = "opt" {options}
pairs p = jsonl("pairs.jsonl")
measure m on p {{ a = patch resid_post[1] @ END  report logit_diff }}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OPT model in a folder without tokenizer.json, whose configuration asks for BOS."""
    from transformers import OPTConfig, OPTForCausalLM

    place = tmp_path_factory.mktemp("opt")
    at = vocab_and_merges(
        folder(
            place / "opt",
            "opt",
            tokenizer_class="GPT2Tokenizer",
            bos_token="</s>",
            add_bos_token=True,
        )
    )
    torch.manual_seed(0)
    config = OPTConfig(
        vocab_size=400,
        hidden_size=32,
        ffn_dim=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=64,
        word_embed_proj_dim=32,
        init_std=0.5,
        bos_token_id=1,
        eos_token_id=1,
        pad_token_id=0,
    )
    OPTForCausalLM(config).save_pretrained(at)
    (place / "pairs.jsonl").write_text(json.dumps(PAIR) + "\n")
    return place


def expected(place: Path, bos: bool) -> float:
    """The clean logit difference of the module by itself, in float64."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    read = AutoTokenizer.from_pretrained(str(place / "opt"))
    model: Any = AutoModelForCausalLM.from_pretrained(str(place / "opt"), dtype=torch.float64)
    ids = read(TEXTS[0])["input_ids"]
    assert ids[0] == read.bos_token_id == 1
    answer, foil = (
        read(PAIR[which], add_special_tokens=False)["input_ids"] for which in ("answer", "foil")
    )
    assert len(answer) == len(foil) == 1
    with torch.no_grad():
        logits = model(torch.tensor([ids if bos else ids[1:]])).logits[0, -1]
    return float(logits[answer[0]] - logits[foil[0]])


def run(place: Path, options: str, **more: Any) -> api.Run:
    program = place / "program.cpatch"
    program.write_text(PROGRAM.format(options=options))
    return api.run(program, **more)


def clean(run: api.Run) -> float:
    return run.results.measures["m"]["clean"]["logit_diff"].mean


@pytest.mark.parametrize(
    ("options", "bos", "said"),
    [
        ("", True, "`</s>` is put before every text by the tokenizer"),
        ("{ bos yes }", True, "`</s>` is put before every text by the tokenizer"),
        ("{ bos no }", False, "`</s>`, the tokenizer's, is left out by `bos no`"),
    ],
)
@pytest.mark.parametrize("backend", ["cone", "hooks"])
def test_the_tokenizers_own_bos(
    place: Path, options: str, bos: bool, said: str, backend: str
) -> None:
    found = run(place, options, backend=backend, dtype="float64")
    assert clean(found) == pytest.approx(expected(place, bos), abs=1e-9)
    assert abs(expected(place, True) - expected(place, False)) > 0.1
    assert found.results.provenance["bos"] == said


def test_the_program_s_dtype_and_the_command_lines(place: Path) -> None:
    found = run(place, "{ dtype float64 }")
    assert found.results.provenance["dtype"] == "float64"
    assert clean(found) == pytest.approx(expected(place, True), abs=1e-9)
    assert not [note for note in found.results.notes if "dtype" in note or "float" in note]
    other = run(place, "{ dtype float64 }", dtype="float32")
    assert other.results.provenance["dtype"] == "float32"
    assert clean(other) == pytest.approx(expected(place, True), abs=1e-4)
    assert clean(other) != clean(found)
    note = "computed in float32, as this run was told to; the program says float64"
    assert note in other.results.notes


def test_what_a_value_depends_on_is_in_its_key(place: Path) -> None:
    def key(options: str, dtype: str | None = None) -> str:
        program = place / "program.cpatch"
        program.write_text(PROGRAM.format(options=options))
        made = api.compile(program)
        chosen = Settings(dtype=dtype or "float32").of_program(made.program.model, dtype)
        return run_key(made.graph, chosen, made.program.model)

    assert key("") == key("{ bos yes }") == key("{ dtype float32 }")  # the same values
    assert key("{ dtype float64 }") == key("", "float64") == key("{ dtype bfloat16 }", "float64")
    assert len({key(""), key("{ bos no }"), key("{ dtype float64 }")}) == 3


def test_the_command_that_gives_a_run_again(place: Path, tmp_path: Path) -> None:
    program = place / "again.cpatch"
    for options, more, told in (
        ("{ dtype float64 }", [], []),
        ("{ dtype float64 }", ["--dtype", "float32"], [" --dtype float32"]),
        ("", ["--dtype", "float64"], [" --dtype float64"]),
    ):
        program.write_text(PROGRAM.format(options=options))
        assert main(["run", str(program), "--out", str(tmp_path / "out"), *more]) == 0
        page = (tmp_path / "out" / "report.html").read_text()
        (command,) = re.findall(r"causaldsl run [^<]*again.cpatch[^<]*", page)
        assert re.findall(r" --dtype \w+", command) == told


def test_warnings_are_told_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = make_world(tmp_path)
    program = world / "bare.cpatch"
    program.write_text(
        'model lm = "tiny-gpt2"\npairs p = jsonl("bare.jsonl")\n'
        "measure m on p { a = patch resid_post[1] @ END  report logit_diff }\n"
    )
    assert main(["check", str(program)]) == 0
    checked = capsys.readouterr()
    assert "warning[unspaced-answer]" in checked.err
    assert "is right" in checked.out
    assert main(["run", str(program), "--out", str(world / "out"), "--json"]) == 0
    assert "warning[unspaced-answer]" in capsys.readouterr().err
    results = json.loads((world / "out" / "results.json").read_text())
    (note,) = [note for note in results["notes"] if "lacks its space" in note]
    assert note.startswith("bare.cpatch:2:11 ")


@pytest.mark.parametrize(("options", "first"), [("", 0), ("{ bos no }", None), ("{ bos yes }", 0)])
def test_texts_of_the_model_begin_as_the_program_says(
    tmp_path: Path, options: str, first: int | None
) -> None:
    """The tokenizer puts no BOS, the configuration names one."""
    world = make_world(tmp_path)
    program = world / "written.cpatch"
    program.write_text(
        f'model lm = "tiny-gpt2" {options}\nprompts t = sample(lm, n: 24, length: 5)\n'
        "site x = resid_post[1] @ END\nsubspace v = pca(x, dim: 1, on: t)\n"
    )
    api.run(program, out=world / "out")
    lines = (world / "out" / "pairs" / "t.jsonl").read_text().splitlines()
    begins = {json.loads(line)["tokens"][0] for line in lines}
    assert begins == {first} if first is not None else len(begins) > 10
