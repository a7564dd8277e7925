"""Params: what the command line sets, what it changes, and what is said of a wrong setting."""

from pathlib import Path

import pytest

from causaldsl.check.checked import CheckedProgram
from causaldsl.check.program import Checker
from causaldsl.cli import main
from causaldsl.commands.options import read_settings
from causaldsl.diagnostics import Mistake, ProgramError, Source
from causaldsl.graph.compiler import compile_program
from tests.frontend.world import PRELUDE

TEXT = (
    'param weights = "tiny-llama"\nparam layer = 1\nparam n = 4\nparam data = "even.jsonl"\n'
    'param objective_of = "logit_diff"\n'
    + PRELUDE.replace('model lm = "tiny-llama"', "model lm = weights").replace("test 6", "test n")
    + """
pairs lines = jsonl(data)
subspace v = das(resid_post[layer] @ END, on: flip.train, epochs: layer, objective: objective_of)
measure m on flip.test {
  a = patch resid_post[layer] @ END along v
  b = patch resid_post[layer] @ END along v * W_in[layer] * W_out[layer]
  report fldd
}
expect m.a.fldd < layer + 1
"""
)


def check(world: Path, *settings: str, text: str = TEXT) -> CheckedProgram:
    source = Source("case.cpatch", text)
    return Checker(source, world / "case.cpatch", None, read_settings(settings)).check()


def test_a_param_stands_wherever_a_constant_may(world: Path) -> None:
    program = check(world)
    assert program.params == {
        "weights": "tiny-llama",
        "layer": 1,
        "n": 4,
        "data": "even.jsonl",
        "objective_of": "logit_diff",
    }
    assert len(program.measurements["m"].pairs) == 4
    assert "resid_post[1]" in str(program.named["v"].operand("site"))


def test_a_setting_changes_what_is_computed(world: Path) -> None:
    plain, changed = (set(compile_program(check(world, *s)).network) for s in ((), ("layer=2",)))
    assert plain != changed
    assert set(compile_program(check(world, "layer=1")).network) == plain
    assert check(world, "n = 3").params["n"] == 3


def test_the_model_can_be_set_whatever_it_is_called(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world.parent)
    for setting in (f"model={world.name}/tiny-gpt2", f"weights={world.name}/tiny-gpt2"):
        program = check(world, setting)
        assert program.model is not None
        assert program.model.path == (world / "tiny-gpt2").resolve()


def test_a_path_on_the_command_line_starts_at_the_current_folder(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.jsonl").write_text((world / "even.jsonl").read_text())
    monkeypatch.chdir(tmp_path)
    assert check(world, "data=mine.jsonl").families["lines"].whole
    with pytest.raises(ProgramError, match=r"there is no file even\.jsonl"):
        check(world, "data=even.jsonl")


def test_an_imported_file_may_have_params(world: Path) -> None:
    (world / "with_param.cpatch").write_text(
        'param where = "even.jsonl"\nmodel lm = "tiny-llama"\npairs lines = jsonl(where)\n'
    )
    program = check(world, text='import "with_param.cpatch"\nlet x = 1\n')
    assert program.params == {"where": "even.jsonl"}


@pytest.mark.parametrize(
    ("setting", "message", "help"),
    [
        ("layr=2", "the program has no param `layr`", "did you mean `layer`?"),
        ("m=2", "the program has no param `m`", "params here: data, layer, model, n,"),
        ("layer", "`--set layer` sets nothing", "write --set NAME=VALUE"),
        ("layer=", "`--set layer=` sets nothing", "write --set NAME=VALUE"),
        ("=3", "`--set =3` sets nothing", "write --set NAME=VALUE"),
    ],
)
def test_wrong_settings(world: Path, setting: str, message: str, help: str) -> None:
    with pytest.raises(Mistake) as caught:
        check(world, setting)
    assert caught.value.message == message
    assert (caught.value.help or "").startswith(help)


@pytest.mark.parametrize("given", ["deep", "\uff11", "1_0", "nan"])
def test_a_setting_of_the_wrong_kind_is_told_at_its_param(world: Path, given: str) -> None:
    with pytest.raises(ProgramError) as caught:
        check(world, f"layer={given}")
    (found,) = caught.value.diagnostics
    assert found.message == f"`--set layer={given}` is not a number, but the param is one"
    assert found.span.text == "param layer = 1"


def test_the_same_param_twice_on_the_command_line() -> None:
    with pytest.raises(Mistake, match="set twice"):
        read_settings(["a=1", "a=2"])


def test_sites_lists_those_that_are_calls(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more in ([], ["--all"]):
        assert main(["sites", str(world / "tiny-llama"), *more]) == 0
        shown = capsys.readouterr().out
        for site in ("mlp_in[", "random_mlp(LAYER, seed: N)", 'hook("NAME")'):
            assert site in shown
    assert main(["sites", "toy/illusion"]) == 0
    assert "random_mlp" not in capsys.readouterr().out


CELLS = """
param number = 2
let above = layer + 1
sweep by_place on flip.test {
  for l in 0..3, p in {S2, END}: patch resid_post[l] @ p  report fldd
}
sweep by_head on flip.test { for h in heads: patch head[h].z @ END  report fldd }
sweep by_layer on flip.test { for l in layers: patch mlp_out[l] @ END  report fldd }
trace t = patch resid_post[0] @ END to logit_diff on flip.test { at END }
"""


def test_params_stand_in_the_index_of_a_cell_and_of_a_component(world: Path) -> None:
    named = """
expect by_place[layer.END].fldd < by_head[layer.number].fldd and by_place[above.S2].fldd < 1
expect by_layer[above + 1].fldd < t.heads[above.number] + t.mlps[layer]
"""
    plain = """
expect by_place[1.END].fldd < by_head[1.2].fldd and by_place[2.S2].fldd < 1
expect by_layer[3].fldd < t.heads[2.2] + t.mlps[1]
"""
    ours, theirs = (
        [repr(claim.condition) for claim in check(world, text=TEXT + CELLS + claims).claims]
        for claims in (named, plain)
    )
    assert len(ours) == 4
    assert ours == theirs


def test_a_name_in_an_index_that_is_no_number_stands_for_itself(world: Path) -> None:
    claim = "site S2 = resid_pre[0] @ END\nexpect by_place[1.S2].fldd < 1\n"
    assert len(check(world, text=TEXT + CELLS + claim).claims) == 2
