"""The statements of the language: how each is written, and what it says, for the reference."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Statement:
    """One statement: ``rule`` is its rule in the grammar, ``form`` how it is written."""

    rule: str
    form: str
    doc: str


_ALL = (
    Statement("import_file", 'import "FILE.cpatch"', "Brings the definitions of another file."),
    Statement("use", 'use "PACKAGE"', "Brings the words of an installed Python package."),
    Statement("allow", "allow WARNING, ..", "Turns warnings of `check` off, by their names."),
    Statement("param", "param NAME = VALUE", "A constant that `--set NAME=VALUE` can change."),
    Statement(
        "model",
        'model NAME = "MODEL" [{ bos yes|no  revision ".."  dtype .. }]',
        "The program's model; whether BOS stands before every text, which revision, in what dtype.",
    ),
    Statement(
        "dictionary",
        'dictionary NAME = sae("FOLDER") at SITE | transcoder("FOLDER") at SITE -> SITE',
        "A sparse autoencoder or transcoder: `NAME.features @ POSITION` is a site.",
    ),
    Statement(
        "lexicon",
        'lexicon NAME = words("FILE" or [..]) | phrases(..) [split half]',
        "A list of words for the slots of prompts.",
    ),
    Statement(
        "prompts",
        'prompts NAME { train ".." test ".." slots .. answer .. foil .. position .. }',
        "Templates with slots, answers and named positions.",
    ),
    Statement(
        "text_prompts",
        'prompts NAME = corpus("FILE") | sample(MODEL, n: 200, length: 32, seed: 0)',
        "Prompts without answers: the lines of a file, or texts that the model writes.",
    ),
    Statement(
        "pairs",
        'pairs NAME = PROMPTS ABB <-> BAB { train .. test .. seed .. } | jsonl("FILE") | '
        "numbers(base: [..], source: [..])",
        "Pairs of a base and a source prompt; of `ABB <- {x: BAB, y: CDC}` each base has two.",
    ),
    Statement("site", "site NAME = SITE @ POSITION", "A name for a site at positions."),
    Statement(
        "set",
        "set NAME = {7.3, 8.6} | heads[7..9] | SET except SET | ..",
        "A name for heads, layers, positions or sites.",
    ),
    Statement("subspace", "subspace NAME = SUBSPACE", "A name for a direction or subspace."),
    Statement("let", "let NAME = VALUE", "A name for a number or another value."),
    Statement(
        "metric",
        "metric NAME = EXPRESSION",
        "A metric to report: an expression over logit(..), prob(..) and log_prob(..), of the "
        "answer, the foil or texts, worked out in every pair.",
    ),
    Statement(
        "path",
        "path NAME = SENDER -> RECEIVERS -> .. -> logits { freeze .. layernorm .. }",
        "An intervention that acts along one path only.",
    ),
    Statement(
        "run",
        "run NAME = base with INTERVENTIONS",
        "A name for a changed run, in whose activations others can be patched from.",
    ),
    Statement(
        "measure",
        "measure NAME on PAIRS { ARM = INTERVENTIONS .. report METRICS }",
        "Metrics of some interventions, each with its interval.",
    ),
    Statement(
        "sweep",
        "sweep NAME on PAIRS { for VARIABLE in VALUES, ..: INTERVENTIONS report METRICS }",
        "The same for every combination of loop variables.",
    ),
    Statement(
        "table",
        "table NAME { for VARIABLE in VALUES, ..: ARM = NUMBER .. }",
        "Numbers for every combination of loop variables.",
    ),
    Statement(
        "histogram",
        "histogram NAME on PAIRS, .. { ARM = DIRECTION at SITE [with INTERVENTIONS] .. }",
        "Projections of activations on directions, by class of prompts.",
    ),
    Statement(
        "generate",
        "generate NAME on PROMPTS { ARM = base | INTERVENTIONS .. tokens .. temperature .. "
        "report TEXT METRICS }",
        "Texts that the model writes under interventions, side by side, and numbers of them.",
    ),
    Statement(
        "trace",
        "trace NAME = INTERVENTIONS to METRIC on PAIRS { through .. top .. at .. }",
        "Which components and edges carry an effect.",
    ),
    Statement(
        "attribution",
        "attribution NAME to METRIC on PAIRS { over SITES  [edges]  steps ..  check .. }",
        "Estimates of what patching each site, or each edge, would do, by gradients.",
    ),
    Statement(
        "audit",
        "audit NAME = illusion(SUBSPACE, against: DIRECTION, on: PAIRS)",
        "Whether a subspace is a feature or an illusion, with the evidence.",
    ),
    Statement(
        "expect",
        "expect NUMBER < NUMBER and .. | argmax(SWEEP.METRIC) is CELL | AUDIT is VERDICT "
        "[over templates] [at LEVEL]",
        "A claim, which an interval decides: it held, fell, or is undecided.",
    ),
    Statement(
        "plot",
        'plot NAME [by VARIABLE] [lines VARIABLE] [relative NUMBER] [as "FILE"]',
        "Draws a measure, a sweep, a table or a histogram.",
    ),
    Statement(
        "render",
        'render NAME [as "FILE"]',
        "Draws a trace, a measure's part of the compiled graph, or all of it (`graph`).",
    ),
)

STATEMENTS = {statement.rule: statement for statement in _ALL}
