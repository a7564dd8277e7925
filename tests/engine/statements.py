"""Small programs with each kind of statement that takes the model, and what can be changed in them.

For tests of what holds of all of them: they are kept, go on after a stop, and go to workers.
"""

from __future__ import annotations

from tests.frontend.world import PRELUDE

ATTRIBUTED = """
attribution a to logit_diff on flip.train { over heads, mlps  check 4 }
attribution b to logit_diff on flip.train { over heads[1..2] @ END }
measure m on flip.test { some = patch top(3, a) @ all  report logit_diff }
expect m.some.logit_diff < 100
"""
OF_EDGES = """
attribution e to logit_diff on flip.train { edges  steps 2  check 3 }
set c = top(12, e)
measure m on flip.test {
  kept = only c else source
  gone = without c else mean
  chance = only random_like(c, seed: 1) else source
  report logit_diff, faithfulness
}
expect m.kept.faithfulness > m.chance.faithfulness - 100
"""
OF_NODES = """
set c = {0.1, 1.2, 2.0, mlps[0], mlps[2]}
measure m on flip.test {
  kept = only c else source
  gone = without c else zero
  here = only {0.1, 1.2} @ END else mean(flip.train.base)
  chance = only random_like(c, seed: 1, by: layer) else source
  report logit_diff, faithfulness
}
attribution a to logit_diff on flip.train { over heads }
sweep s on flip.test { for k in {2, 4, 8}: only top(k, a) else source  report faithfulness }
let cpr = area(s.faithfulness)
let cmd = area(s.faithfulness, to: 1)
"""
WRITTEN = """
prompts said = corpus("texts.txt")
subspace v = random(resid_post[1] @ END, seed: 1)
generate g on said {
  plain = base
  pushed = steer resid_post[1] @ all along v by 9
  without = ablate resid_post[2] @ all to zero along v
  tokens 5  temperature 0.9  top_k 30  top_p 0.9  seed 4
  report text, length, share_with(["the"])
}
expect g.pushed.length >= 1
"""
OF_FEATURES = """
dictionary f = sae("sae") at resid_post[1]
dictionary t = transcoder("transcoder") at mlp_in[2] -> mlp_out[2]
attribution a to logit_diff on flip.train { over f.features @ END  check 3 }
subspace best = best_features(f.features @ END, k: 4, on: flip.train)
subspace v = das(f.features @ END, on: flip.train, dim: 2, epochs: 2)
subspace few = mask(f.features[0..15] @ END, on: flip.train, epochs: 2)
let told = variance_explained(f.features @ END, on: flip.test)
measure m on flip.test {
  patched = patch f.features @ END
  some = patch f.features[top(4, a)] @ END
  best = patch f.features @ END along best
  learned = patch f.features @ END along v
  gone = ablate f.features[{1, 3}] @ END to zero
  mean = ablate f.features @ END to mean
  pushed = steer f.features[{1, 3}] @ END along random(f.features[{1, 3}] @ END) by 2
  other = patch t.features[0..9] @ END
  report logit_diff
}
"""
LEARNED = """
subspace v = das(resid_post[1] @ END, on: flip.train, dim: learned, most: 6, epochs: 3)
subspace few = mask(mlp_hidden[3] @ END, on: flip.train, epochs: 3)
subspace p = probe(resid_post[1] @ END, ABB, BAB, on: flip.train, held_out: 0.5)
let r2 = ridge_r2(mlp_hidden[2] @ END, target: p, at: resid_post[1] @ END, on: flip.train)
measure m on flip.test {
  a = patch resid_post[1] @ END along v
  b = patch mlp_hidden[3] @ END along few
  c = patch resid_post[1] @ END along p
  report logit_diff
}
"""
STATEMENTS = {
    name: PRELUDE + text
    for name, text in {
        "attributed": ATTRIBUTED,
        "of_edges": OF_EDGES,
        "of_nodes": OF_NODES,
        "written": WRITTEN,
        "of_features": OF_FEATURES,
        "learned": LEARNED,
    }.items()
}
CHANGED = (
    ("attributed", "over heads, mlps", "over heads"),
    ("attributed", "over heads[1..2] @ END", "over heads[1..2].q @ END"),
    ("attributed", "over heads[1..2] @ END", "over heads[1..2] @ {S2, END}"),
    ("attributed", "over heads[1..2] @ END", "over mlp_hidden[2] @ END  by neuron"),
    ("attributed", "a to logit_diff", "a to prob"),
    ("attributed", "check 4", "check 5"),
    ("attributed", "check 4", "steps 3  check 4"),
    ("attributed", "check 4", "steps 3  integrate activations  check 4"),
    ("attributed", "on flip.train { over heads,", "on flip.test { over heads,"),
    ("of_edges", "top(12, e)", "top(13, e)"),
    ("of_edges", "steps 2", "steps 3"),
    ("of_edges", "edges  steps 2", "over heads[1..2], mlps  edges  steps 2"),
    ("of_edges", "only c else source", "only c else zero"),
    ("of_edges", "without c else mean", "without c else mean(flip.test.source)"),
    ("of_edges", "random_like(c, seed: 1)", "random_like(c, seed: 2)"),
    ("of_edges", "random_like(c, seed: 1)", "random_like(c, seed: 1, by: layer)"),
    ("of_nodes", "2.0, mlps[0]", "2.1, mlps[0]"),
    ("of_nodes", "only c else source", "only c else source over {heads, mlps, embed}"),
    ("of_nodes", "mean(flip.train.base)", "mean(flip.train.source)"),
    ("of_nodes", "@ END else", "@ S2 else"),
    ("of_nodes", "{2, 4, 8}", "{2, 5, 8}"),
    ("written", "tokens 5", "tokens 6"),
    ("written", "temperature 0.9", "temperature 0.8"),
    ("written", "top_k 30", "top_k 3"),
    ("written", "top_p 0.9", "top_p 0.4"),
    ("written", "seed 4", "seed 5"),
    ("written", "by 9", "by 30"),
    ("of_features", "k: 4", "k: 3"),
    ("of_features", "check 3", "steps 2  check 3"),
    ("of_features", "gone = ablate f.features[{1, 3}]", "gone = ablate f.features[{1, 4}]"),
    ("of_features", 'sae("sae")', 'sae("sae", scale: 1.5)'),
    ("of_features", "dim: 2", "dim: 3"),
    ("learned", "most: 6", "most: 5"),
    ("learned", "dim: learned, most: 6", "dim: learned, most: 6, cost: 3"),
    ("learned", "held_out: 0.5", "held_out: 0.25"),
    ("learned", "held_out: 0.5", "held_out: 0.5, seed: 3"),
    ("learned", "few = mask(mlp_hidden[3] @ END, on: flip.train, epochs: 3)",
     "few = mask(mlp_hidden[3] @ END, on: flip.train, epochs: 3, cost: 9)"),
)  # fmt: skip
"""A statement, a part of it, and what stands there instead: another option, another number."""
