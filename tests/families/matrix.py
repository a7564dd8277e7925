"""The arms of the matrix, for a model of any family: by group, with the directions they need."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

from tests.families.anatomy import Model
from tests.families.arms import FREEZE, Arm, At, Direction, Do, Way

NORMS = ("recompute", "frozen")
POLICIES = list(product(FREEZE, NORMS))


@dataclass
class Made:
    """Arms under construction, and the directions that they name."""

    arms: list[Arm] = field(default_factory=list)
    directions: dict[str, Direction] = field(default_factory=dict)

    def add(self, *does: Do) -> None:
        self.arms.append(Arm(does))

    def along(self, kind: str, at: At) -> str:
        """The name of a random, mean-difference or DAS direction at a place."""
        texts = {
            "random": f"random({at}, seed: 1)",
            "mean": f"mean_difference({at}, ABB, BAB, on: flip.train)",
            "das": f"das({at}, on: flip.train, epochs: 2, lr: 0.05)",
            "plane": f"random({at}, dim: 2, seed: 2)",
        }
        name = f"{kind}_{at.name}"
        self.directions[name] = Direction(name, texts[kind])
        return name


def sites(model: Model, layer: int = 1, where: str = "END") -> list[At]:
    """One of every site that the family has, in the order of the forward pass."""
    kv = "head" if model.heads == model.kv_heads else "kv_head"
    shared = model.kv_heads - 1
    found = [
        At("embed", None, None, where),
        At("resid_pre", layer, None, where),
        At("head.q", layer, 2, where),
        At(f"{kv}.k", layer, shared, where),
        At(f"{kv}.v", layer, shared, where),
        At("head.z", layer, 2, where),
        At("head.out", layer, 1, where),
        At("attn_out", layer, None, where),
        At("resid_mid", layer, None, where),
        At("mlp_in", layer, None, where),
        At("mlp_hidden", layer, None, where),
        At("mlp_out", layer, None, where),
        At("resid_post", layer, None, where),
        At("logits", None, None, where),
    ]
    return [at for at in found if has(model, at)]


def has(model: Model, at: At) -> bool:
    """Parallel blocks have no stream between their parts; a mixture of experts has no one W_out."""
    if at.kind == "resid_mid":
        return model.parts.middle is not None
    return at.kind != "mlp_hidden" or model.parts.down is not None


def every_site(model: Model) -> Made:
    """Patched whole, at the last token (the embedding at an earlier one: all prompts end alike)."""
    made = Made()
    for at in sites(model):
        made.add(Do("patch", telling(at)))
    return made


def elsewhere(model: Model) -> Made:
    """At an earlier token, and in the first and last layers."""
    made = Made()
    for layer, where in ((0, "ONE"), (2, "S2-1"), (len(model.blocks) - 1, "END")):
        for at in sites(model, layer, where):
            late = at.kind.endswith((".k", ".v")) or at.kind in ("head.q", "attn_out", "mlp_out")
            if at.layer is not None and not (layer == 3 and late and where != "END"):
                made.add(Do("patch", at))
    return made


def directions(model: Model) -> Made:
    """Along random ones and a plane, differences of means, and trained ones."""
    made = Made()
    for at in map(telling, sites(model)):
        made.add(Do("patch", at, made.along("random", at)))
        made.add(Do("patch", at, made.along("plane", at)))
        if at.kind not in ("embed", "logits"):
            made.add(Do("patch", at, made.along("mean", at)))
    for at in sites(model):
        if at.kind in ("resid_pre", "head.z", "mlp_out", "mlp_hidden", "head.q"):
            made.add(Do("patch", at, made.along("das", at)))
    return made


def ablations(model: Model) -> Made:
    """To zero, the mean and another base's value; steering."""
    made = Made()
    for at in map(telling, sites(model)):
        along = made.along("random", at)
        made.add(Do("zero", at))
        made.add(Do("mean", at))
        made.add(Do("steer", at, along, 2.0))
        if at.kind in ("resid_pre", "head.out", "attn_out", "mlp_out", "head.z"):
            made.add(Do("resample", at))
            made.add(Do("zero", at, along))
            made.add(Do("mean", at, along))
            made.add(Do("resample", at, along))
    return made


def stretches(model: Model) -> Made:
    """Several positions at once, and all of them."""
    made = Made()
    kinds = ("resid_post", "head.z", "head.out", "attn_out", "mlp_out", "resid_mid", "mlp_hidden")
    for where in ("S2-2..S2", "END-3..END", "all"):
        for at in sites(model, 1, where):
            if where == "END-3..END" and at.kind in kinds:
                made.add(Do("patch", at, made.along("random", At(at.kind, at.layer, at.head))))
                made.add(Do("mean", at))
            elif at.kind.endswith((".k", ".v")) or (where != "END-3..END" and at.kind in kinds):
                made.add(Do("patch", at) if where != "all" else Do("zero", at))
    return made


def joined(model: Model) -> Made:
    """Two and more at once: one site at two places, a site and what it feeds, several layers."""
    made = Made()
    all_of_it = {at.kind: at for at in sites(model)}

    def other(kind: str, where: str, layer: int = 1) -> At:
        at = all_of_it[kind]
        return At(kind, layer, at.head, where)

    made.add(Do("patch", other("resid_post", "S2")), Do("zero", other("resid_post", "END")))
    made.add(Do("patch", other("head.z", "END")), Do("patch", other("head.out", "S2")))
    made.add(Do("patch", other("head.out", "END")), Do("zero", At("head.out", 1, 3)))
    made.add(Do("patch", other("head.out", "END")), Do("mean", other("mlp_out", "END")))
    made.add(Do("patch", other("attn_out", "END")), Do("patch", other("mlp_out", "END", 2)))
    made.add(Do("zero", other("head.q", "END")), Do("patch", other("head.z", "END", 2)))
    made.add(Do("patch", other("mlp_in", "END")), Do("zero", other("resid_post", "S2", 2)))
    made.add(Do("patch", other("resid_pre", "S2")), Do("patch", other("attn_out", "END", 2)))
    if "resid_mid" in all_of_it:
        made.add(Do("patch", other("resid_mid", "S2")), Do("zero", other("attn_out", "END")))
        made.add(Do("mean", other("resid_mid", "END", 2)), Do("patch", other("head.out", "S2")))
    if "mlp_hidden" in all_of_it:
        made.add(Do("patch", other("mlp_hidden", "S2")), Do("zero", other("mlp_hidden", "END", 2)))
    return made


def heads(model: Model) -> Made:
    """Every head by its own index; keys and values by that of the head that they are shared by."""
    made = Made()
    kv = "head" if model.heads == model.kv_heads else "kv_head"
    for layer in (1, 2):
        for head in range(model.heads):
            made.add(Do("patch", At("head.z", layer, head)))
            made.add(Do("patch", At("head.out", layer, head)))
            made.add(Do("patch", At("head.q", layer, head)))
        for head in range(model.kv_heads):
            made.add(Do("zero", At(f"{kv}.k", layer, head, "S2")))
            made.add(Do("patch", At(f"{kv}.v", layer, head, "S2")))
    return made


def senders(model: Model) -> list[tuple[Do, ...]]:
    """Heads, MLPs, the stream and the embedding, in the first blocks."""
    neurons = At("mlp_hidden" if model.parts.down is not None else "mlp_out", 0, None, "ONE")
    return [
        (Do("patch", At("head.z", 0, 1, "ONE")),),
        (Do("patch", At("mlp_out", 0, None, "ONE")),),
        (Do("patch", At("resid_post", 0, None, "ONE")),),
        (Do("patch", At("head.out", 0, 2, "ONE")), Do("zero", neurons)),
        (Do("patch", At("embed", None, None, "ONE")),),
    ]


def receivers(model: Model) -> dict[str, tuple[tuple[At, ...], ...]]:
    """Stages of receivers above the first block."""
    kv = "head" if model.heads == model.kv_heads else "kv_head"
    shared = model.kv_heads - 1
    q, k = At("head.q", 2, 1, "ONE"), At(f"{kv}.k", 2, shared, "ONE")
    v, far = At(f"{kv}.v", 1, shared, "ONE"), At("head.q", 3, 2, "END")
    mlp, stream = At("mlp_in", 2, None, "ONE"), At("resid_post", 1, None, "ONE")
    found = {
        "q": ((q,),),
        "k": ((k,),),
        "v": ((v,),),
        "mlp": ((mlp,),),
        "residual": ((stream,),),
        "set": ((At("head.q", 1, 0, "ONE"), mlp, k),),
        "chain": ((v,), (far,)),
        "chain through an MLP": ((At("mlp_in", 1, None, "ONE"),), (k,), (far,)),
    }
    if model.parts.middle is not None:
        found["middle"] = ((At("resid_mid", 1, None, "ONE"),),)
    return found


def paths(model: Model, every: bool = True) -> Made:
    """Every policy for every sender into every receiver; or each of them somewhere in a square."""
    made = Made()
    for i, sender in enumerate(senders(model)):
        at_end = tuple(Do(d.verb, At(d.at.kind, d.at.layer, d.at.head, "END")) for d in sender)
        for j, stages in enumerate(receivers(model).values()):
            chosen = POLICIES if every else [POLICIES[(i + j) % len(POLICIES)]]
            made.arms += [Arm((), Way(sender, stages, *policy)) for policy in chosen]
        if i < 4:  # the embedding at the last token is that of the source
            chosen = POLICIES if every else [POLICIES[(2 * i + 3) % 8], POLICIES[(2 * i + 4) % 8]]
            made.arms += [Arm((), Way(at_end, (), *policy)) for policy in chosen]
    also = Do("patch", At("mlp_out", 3, None, "END"))
    way = Way(senders(model)[1], receivers(model)["q"], "all", "recompute")
    made.arms.append(Arm((also,), way))
    return made


def telling(at: At) -> At:
    """The same site, the embedding where base and source differ: all prompts end alike."""
    return At(at.kind, at.layer, at.head, "ONE") if at.kind == "embed" else at


GROUPS = {
    "every site": every_site,
    "elsewhere": elsewhere,
    "directions": directions,
    "ablations": ablations,
    "stretches": stretches,
    "joined": joined,
    "heads": heads,
    "paths": paths,
}


def once(model: Model, turn: int = 0) -> Made:
    """What is tested after every change: every site once, and some of the rest.

    The paths take turns from family to family, through all policies, senders and receivers.
    """
    made = every_site(model)
    ways = paths(model, every=False).arms
    made.arms += [ways[(7 * turn + i * len(ways) // 3) % len(ways)] for i in range(3)]
    at = At("mlp_out", 2, None, "END-3..END")
    made.add(Do("patch", at, made.along("random", At("mlp_out", 2))))
    made.add(Do("steer", At("resid_post", 0), made.along("random", At("resid_post", 0)), 2.0))
    made.add(Do("mean", At("head.z", 2, 0)), Do("zero", At("attn_out", 1, None, "S2")))
    return made


def count(model: Model) -> int:
    return sum(len(make(model).arms) for make in GROUPS.values())
