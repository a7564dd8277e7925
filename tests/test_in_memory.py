"""Programs on a model that is in memory."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import causaldsl as cd
from causaldsl.diagnostics import Mistake
from tests.test_notebooks import Shell
from tests.tiny import tiny_folder

PROGRAM = """model lm = "tiny-gpt2"
pairs p = jsonl("p.jsonl")
measure m on p { a = patch resid_post[1] @ END  report logit_diff }
"""
LINES = (
    '{"base": "The man gave", "source": "The boy gave", "answer": " ring", "foil": " book"}\n'
    '{"base": "The girl gave", "source": "The man gave", "answer": " apple", "foil": " snack"}\n'
)


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """A model that is not the one in its folder any more."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tiny_folder(tmp_path, "gpt2")
    (tmp_path / "p.jsonl").write_text(LINES)
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.transformer.h[0].mlp.c_proj.weight.mul_(1.5)
    return model, AutoTokenizer.from_pretrained(folder)


def means(run: cd.Run) -> list[float]:
    return [run.results.measures["m"][arm]["logit_diff"].mean for arm in ("clean", "a")]


def test_it_is_run_as_it_is_now(given: tuple[Any, Any], tmp_path: Path) -> None:
    model, tokenizer = given
    model.train()
    model.transformer.h[1].eval()
    modes = [part.training for part in model.modules()]
    found = means(cd.run(PROGRAM, model=given))
    assert [part.training for part in model.modules()] == modes
    assert list((tmp_path / "temporary").iterdir()) == []
    model.save_pretrained(tmp_path / "mine")
    tokenizer.save_pretrained(tmp_path / "mine")
    assert found == means(cd.run(PROGRAM.replace("tiny-gpt2", "mine")))
    assert found != means(cd.run(PROGRAM))
    holder = SimpleNamespace(model=model, tokenizer=tokenizer)
    assert found == means(cd.run(PROGRAM, model=holder))


def test_what_is_not_in_its_weights_is_not_lost_in_silence(given: tuple[Any, Any]) -> None:
    model, tokenizer = given
    hook = model.transformer.h[0].register_forward_hook(lambda _, __, out: out * 1.5)
    with pytest.raises(Mistake, match="more than its weights"):
        cd.run(PROGRAM, model=given)
    hook.remove()
    assert cd.run(PROGRAM, model=(model, tokenizer)).held


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("gpt2", "a str is no model"),
        (torch.nn.Linear(2, 2), "a Linear is no model"),
        ((1, 2, 3), "a tuple is no model"),
    ],
)
def test_what_is_no_model_is_refused(wrong: Any, message: str) -> None:
    with pytest.raises(Mistake, match=message):
        cd.run(PROGRAM, model=wrong)


def test_a_model_without_its_tokenizer_is_refused(given: tuple[Any, Any]) -> None:
    with pytest.raises(Mistake, match="comes with no tokenizer"):
        cd.run(PROGRAM, model=given[0])


def test_in_a_notebook(given: tuple[Any, Any]) -> None:
    shell = Shell()
    cd.load_ipython_extension(shell)
    cpatch = shell.magics["cpatch"]
    shell.user_ns["mine"] = given
    cpatch("found --model mine", PROGRAM)
    assert means(shell.user_ns["found"]) == means(cd.run(PROGRAM, model=given))
    for line, message in (
        ("--model mien", "did you mean `mine`"),
        ("--check --model mine", "leave"),
    ):
        with pytest.raises(Exception, match=message):
            cpatch(line, PROGRAM)
