"""Classes are what the pairs say, whatever they are called; training that depends on the pairs."""

import json
import random
from pathlib import Path

import pytest
import torch

from causaldsl.check.pairs import Pair, PairSet, Prompt
from causaldsl.check.program import Checker
from causaldsl.diagnostics import Source
from causaldsl.engine.bases import DasOptions, orthonormal
from causaldsl.engine.das import DasFit, Learner, fit_together
from causaldsl.engine.interpret import interpret
from causaldsl.engine.open import open_session
from causaldsl.engine.session import Session
from causaldsl.graph.compiler import compile_program
from causaldsl.plan.examples import epochs_of, held_out_of
from causaldsl.plan.settings import Settings
from causaldsl.vocabulary.learned import Das
from tests.frontend.world import make_world
from tests.tiny import NAMES, OBJECTS


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return make_world(tmp_path)


PROGRAM = """model lm = "tiny-llama"
pairs p = jsonl("pairs.jsonl", train: 0.6)
site resid = resid_post[1] @ END
subspace v = das(resid, on: p.train, seed: 1, epochs: 4, lr: 0.05)
measure m on p.test { v = patch resid along v  report fldd }
"""
DEFAULT = PROGRAM.replace(", epochs: 4", "")


def lines(first: str, second: str) -> list[dict[str, object]]:
    """Pairs in both directions in turn; the first class says one object, the second another."""
    rng = random.Random(0)
    found: list[dict[str, object]] = []
    for i in range(24):
        one, other = rng.sample(NAMES, 2)
        texts = [f"The man gave {one} the", f"The boy gave {other} the"]
        answers = [f" {name}" for name in rng.sample(OBJECTS, 2)]
        classes = [first, second]
        if i % 2:
            texts.reverse(), answers.reverse(), classes.reverse()
        line = dict(zip(("base", "source", "answer", "foil"), texts + answers, strict=True))
        line["class"] = {"base": classes[0], "source": classes[1]}
        found.append(line)
    return found


def session_of(world: Path, pairs: list[dict[str, object]], text: str) -> Session:
    (world / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in pairs))
    program = Checker(Source("c.cpatch", text), world / "c.cpatch").check()
    session = open_session(program, compile_program(program), Settings(), lambda *_: None)
    interpret(session)
    return session


def learned(session: Session) -> torch.Tensor:
    vectors: torch.Tensor = session.values[session.graph.key_of("v")].vectors
    return vectors


def test_das_is_the_same_for_any_two_labels(world: Path) -> None:
    found = [
        learned(session_of(world, lines(*labels), PROGRAM))
        for labels in (("AA", "AB"), ("S", "P"), ("one man", "[red]$x$"))
    ]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_without_classes_there_is_a_note_and_no_no_change_examples(world: Path) -> None:
    pairs = lines("a", "b")
    labelled = session_of(world, pairs, PROGRAM)
    for line in pairs:
        del line["class"]
    plain = session_of(world, pairs, PROGRAM)
    assert not torch.equal(learned(labelled), learned(plain))
    assert any("p.train says no classes" in note for note in plain.notes)
    assert not any("classes" in note for note in labelled.notes)


def test_default_training_holds_out_and_repeats(world: Path) -> None:
    first, again = (session_of(world, lines("a", "b"), DEFAULT) for _ in range(2))
    fit = first.training[first.graph.key_of("v")]
    assert torch.equal(learned(first), learned(again))
    assert len(fit.held_out) == len(fit.losses) <= 100
    few = session_of(world, lines("a", "b")[:12], DEFAULT)
    assert any("too few pairs to hold some out" in note for note in few.notes)
    assert not few.training[few.graph.key_of("v")].held_out


@pytest.mark.parametrize(
    ("losses", "held_out", "falling"),
    [
        ((4.0, 3.0, 2.0, 1.0), (), (2.0, 1.0)),
        ((4.0, 1.0, 1.0, 0.95), (), None),
        ((4.0, 3.0, 2.0, 1.0), (4.0, 3.0, 3.0, 3.1), None),
        ((4.0, 4.0, 4.0, 4.0), (4.0, 3.0, 2.0, 1.0), (2.0, 1.0)),
        ((-1.0, -2.0, -4.0), (), (-2.0, -4.0)),
        ((4.0,), (), None),
    ],
)
def test_when_a_loss_was_still_falling(
    losses: tuple[float, ...], held_out: tuple[float, ...], falling: tuple[float, float] | None
) -> None:
    assert DasFit(torch.eye(2), losses, held_out).still_falling == falling


def test_a_training_that_ends_while_its_loss_falls_says_so(world: Path) -> None:
    text = PROGRAM.replace("lr: 0.05", "lr: 0.1, objective: logit_diff")
    session = session_of(world, lines("a", "b"), text)
    before, after = session.training[session.graph.key_of("v")].still_falling
    (note,) = [note for note in session.notes if "still falling" in note]
    assert f"from {before:.4g} to {after:.4g} in the last third of 4 epochs" in note
    assert note.endswith("`epochs: 8` trains for longer")


def some(n: int) -> PairSet:
    return PairSet(
        "p", tuple(Pair(Prompt(f"b{i}", (1,)), Prompt("s", (2,)), i, -1, -1) for i in range(n))
    )


@pytest.mark.parametrize(
    ("n", "epochs", "held"),
    [(6, 100, 0), (30, 100, 6), (100, 50, 20), (300, 25, 60), (2000, 10, 400)],
)
def test_epochs_follow_from_the_pairs(n: int, epochs: int, held: int) -> None:
    training = Das().training(None)
    assert epochs_of(some(n), training) == epochs
    assert held_out_of(some(n), training) == held
    fixed = Das(epochs=3).training(None)
    assert (epochs_of(some(n), fixed), held_out_of(some(n), fixed)) == (3, 0)


def test_training_keeps_the_best_epoch_and_stops() -> None:
    """What is held out wants the first direction; what is trained on leads away from it."""
    goals = torch.eye(3)

    def losses(step: object) -> torch.Tensor:
        return torch.stack(
            [1 - (goals[batch[0]] @ basis).square().sum() for _, basis, batch in step]
        )  # type: ignore[attr-defined]

    options = DasOptions(lr=0.1, epochs=40, decay="none", seed=1)
    learner = Learner(3, options, lambda _: [torch.tensor([1])], [torch.tensor([0])])
    (found,) = fit_together([learner], losses)
    best = min(found.held_out)
    assert len(found.losses) < 40
    assert len(found.held_out) - 1 - found.held_out.index(best) == learner.patience
    assert float(losses([(0, found.basis, torch.tensor([0]))])[0]) == pytest.approx(best)
    assert torch.allclose(found.basis, orthonormal(found.basis))


def test_classes_of_patterns_count_by_their_shape(world: Path) -> None:
    text = """import "prompts.cpatch"
pairs same = ioi CDD -> ABB { train 4 }
pairs other = ioi DCD -> ABB { train 4 }
"""
    program = Checker(Source("c.cpatch", text), world / "c.cpatch").check()
    same, other = (program.defined[name].train for name in ("same", "other"))
    assert (same.classes, other.classes) == (("ABB",), ("ABB", "DCD"))
    assert (other.class_named("BAB"), same.class_named("BAB")) == ("DCD", None)


def test_a_pair_and_its_mirror_go_to_the_same_part(world: Path) -> None:
    pairs = lines("a", "b")
    back = [
        line
        | {
            "base": line["source"],
            "source": line["base"],
            "answer": line["foil"],
            "foil": line["answer"],
        }
        for line in pairs
    ]
    both = [one for line in zip(pairs, back, strict=True) for one in line]
    (world / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in both))
    text = PROGRAM.splitlines()
    program = Checker(Source("c.cpatch", "\n".join(text[:2])), world / "c.cpatch").check()
    family = program.defined["p"]
    assert len(family.train) + len(family.test) == len(both)
    assert not family.train.identities & family.test.identities
    assert len(family.train) == 2 * len(family.train.identities)
