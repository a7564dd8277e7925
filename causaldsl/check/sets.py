"""Sets: heads, key-value heads, MLPs, layers, positions, sites and edges, as a program names them.

A set of heads or layers becomes one of sites by what stands behind or around it: `heads[7..9].z`,
`resid_post[layers]`, `head[movers].q`. What a set stands for at a place is worked out there
(:func:`sites_of`): an MLP that acts or sends does so by its output, and receives as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from causaldsl.check.edges import EdgeValue
from causaldsl.check.kinds import Value
from causaldsl.check.places import HeadValue, Place, Point, PositionRef, SiteOwner
from causaldsl.check.values import Applied, MlpNumber, label_of
from causaldsl.diagnostics import Span, wrong
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site
from causaldsl.syntax import ast
from causaldsl.syntax.format import show

Of = Literal["heads", "kv_heads", "mlps", "layers", "numbers", "positions", "sites", "edges"]
RANGE_WORDS: tuple[Of, ...] = ("heads", "kv_heads", "mlps", "layers")
"""Words that stand for all of a model's; brackets pick layers."""
NUMBERED = {"layers", "numbers", "mlps"}
"""Sets whose members are numbers."""
Role = Literal["acts", "sends", "receives", "attends"]
_OWNERS = {"heads": "head", "kv_heads": "kv_head"}


@dataclass(frozen=True)
class Members(Value):
    """Several things of one kind, each once, in the order in which they were written.

    Heads are ``HeadValue``, layers and MLPs numbers, positions ``Point``, sites ``Place``, edges
    ``EdgeValue``; among sites, heads and MLPs without a part are sets of their own.
    ``positions`` are those behind an `@`, of heads and MLPs before one of their activations is
    named. ``among`` are the kinds of sites that it was chosen or left from, of which it may have
    none: as a circuit it is over these too.
    """

    of: Of
    members: tuple[Any, ...]
    shapes: ModelDims = field(compare=False, repr=False)
    positions: tuple[PositionRef, ...] = ()
    among: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    @property
    def kind(self) -> str:
        return f"a set of {self.of.replace('kv_heads', 'key-value heads').replace('mlps', 'MLPs')}"

    @property
    def as_site(self) -> str:
        """What to write where one site is wanted."""
        return "name one site, such as resid_post[1] @ END"

    def part(self, node: ast.Attribute) -> Members:
        """One activation of every head: `heads[7..9].z`."""
        name, span = node.name.text, node.name.span
        if self.of == "mlps":
            raise wrong(
                "no-part",
                f"an MLP has no part `{name}`",
                node.span,
                "write mlps[..] for what MLPs read, mlp_hidden[l] or mlp_out[l] for one site",
            )
        if self.of not in _OWNERS:
            raise wrong("no-part", f"{self.kind} has no part `{name}`", span)
        self._check_shared(name, node)
        owners = [
            SiteOwner(_OWNERS[self.of], head.layer, head.head, self.shapes, node.span)
            for head in self.members
        ]
        places = [replace(o.activation(name, node.span), span=node.span) for o in owners]
        return at_positions(sites(places, self.shapes), self.positions, node.span)

    def _check_shared(self, part: str, node: ast.Attribute) -> None:
        """Heads that are not listed one by one have no keys of their own, if heads share them."""
        shared = self.shapes.n_kv_heads != self.shapes.n_heads
        word = show(node.owner)
        if part in ("k", "v") and shared and word.startswith("heads"):
            raise wrong(
                "shared-kv-head",
                f"query heads share their {'keys' if part == 'k' else 'values'} in "
                f"{self.shapes.name}",
                node.span,
                f"write kv_{word}.{part}",
            )


def sites(places: Iterable[Place | Members], shapes: ModelDims) -> Members:
    return Members("sites", tuple(places), shapes)


def at_positions(members: Members, positions: Sequence[PositionRef], span: Span) -> Members:
    """Every site at every position; heads and MLPs keep them until they are sites."""
    if not positions:
        return members
    if members.of != "sites":
        return replace(members, positions=tuple(positions))
    placed: list[Any] = []
    for member in members.members:
        if isinstance(member, Members):  # heads or MLPs in a set of sites
            placed.append(replace(member, positions=tuple(positions)))
        else:
            placed += [replace(member, position=one, span=span) for one in positions]
    return replace(members, members=tuple(placed))


def of_one(value: Any, shapes: ModelDims) -> Any:
    """A head or one of `mlps` as a set of its own; anything else as it is."""
    if isinstance(value, MlpNumber):
        return Members("mlps", (value,), shapes)
    if isinstance(value, SiteOwner):
        value = HeadValue(value.layer, value.head, word=value.word)
    if isinstance(value, HeadValue):
        return Members("kv_heads" if value.word == "kv_head" else "heads", (value,), shapes)
    return value


def set_of(
    found: Iterable[tuple[Any, Span]], shapes: ModelDims, span: Span, known: bool = True
) -> Members:
    """The set of some values, each with its place; of sets among them, their members.

    Raises an error for what can't be a member, for members of different kinds, and for one that is
    there twice (unless others stand for some of them, so that they are not ``known``).
    """
    listed: list[tuple[Of, Any, Span]] = []
    among: frozenset[str] = frozenset()
    for value, place in found:
        if isinstance(value, Members):
            among |= value.among
            if value.positions:
                value = sites([value], shapes)
            listed += [(value.of, member, place) for member in value.members]
        else:
            listed.append((_kind_of(value, place), value, place))
    kinds = dict.fromkeys(kind for kind, _, _ in listed)
    if len(kinds) > 1 and kinds.keys() <= {"heads", "numbers"}:
        kinds = {"numbers": None}  # {0, 0.5}: swept as numbers
    if len(kinds) > 1 and kinds.keys() <= NUMBERED:
        kinds = {"layers": None}
    if len(kinds) > 1 and kinds.keys() <= {"heads", "kv_heads", "mlps", "sites"}:
        # What heads and MLPs stand for depends on where the set stands.
        kept = [m if kind == "sites" else Members(kind, (m,), shapes) for kind, m, _ in listed]
        return Members("sites", tuple(kept), shapes, among=among)
    if len(kinds) > 1:
        first, second = (kind.replace("kv_heads", "key-value heads") for kind in list(kinds)[:2])
        message = f"a set holds things of one kind, and these are {first} and {second}"
        raise wrong("mixed-set", message, span, "write two sets")
    seen: dict[str, Any] = {}
    for _, member, place in listed:
        if name_of(member) in seen and known:
            message = f"{name_of(member)} is listed twice"
            raise wrong("listed-twice", message, place, "list it once")
        seen[name_of(member)] = member
    (kind,) = kinds or {"numbers": None}
    return Members(kind, tuple(seen.values()), shapes, among=among)


def _kind_of(value: Any, span: Span) -> Of:
    if isinstance(value, HeadValue):
        return "kv_heads" if value.word == "kv_head" else "heads"
    if isinstance(value, Point):
        return "positions"
    if isinstance(value, Place):
        return "sites"
    if isinstance(value, EdgeValue):
        return "edges"
    if isinstance(value, MlpNumber):
        return "mlps"
    if isinstance(value, Applied) and value.number is not None:
        return "numbers"
    raise not_a_member(span)


def not_a_member(span: Span) -> Exception:
    return wrong(
        "not-a-member",
        f"`{span.text}` can't be a member of a set",
        span,
        "members are numbers, heads such as 7.3, positions such as END-1, sites or edges",
    )


def name_of(member: Any) -> str:
    """Equal for equal members, however a head was written."""
    if isinstance(member, HeadValue):
        return f"{member.layer}.{member.head}" if not member.text else member.text
    return str(member) if isinstance(member, Place) else label_of(member)


def sites_of(value: Any, node: ast.Node, role: Role) -> list[Place]:
    """The sites that a set stands for where it ``acts`` behind a verb, ``sends`` or ``receives``.

    A head that sends does so by its z, one that ``attends`` by its pattern; an MLP acts and sends
    by its output.
    """
    if isinstance(value, Place):
        return [value]
    assert isinstance(value, Members)
    if value.of == "mlps":
        kind = "mlp_in" if role == "receives" else "mlp_out"
        places = [Place(Site(kind, int(m.number)), None, node.span) for m in value.members]
        return list(at_positions(sites(places, value.shapes), value.positions, node.span).members)
    by = {"sends": "z", "attends": "pattern"}.get(role)
    if value.of == "heads" and by is not None:
        part = ast.Attribute(node.span, node, ast.Identifier(node.span, by))  # type: ignore[arg-type]
        return list(value.part(part).members)
    if value.of == "kv_heads" and role == "attends":
        message = f"`{show(node)}` names keys and values, which are attended to"
        raise wrong("wrong-kind", message, node.span, "name the heads that attend: heads[7..9]")
    if value.of in _OWNERS:
        raise _no_part(value, node, role)
    if value.of == "edges":
        message = f"`{show(node)}` is {value.kind}, and what an edge carries is no activation"
        raise wrong("wrong-kind", message, node.span, "write `only` or `without` before edges")
    if value.of != "sites":
        message = f"`{show(node)}` is {value.kind}, not of sites"
        way = "write what of them: resid_post[layers], mlp_out[20..29]"
        raise wrong("wrong-kind", message, node.span, way)
    found: list[Place] = []
    for member in value.members:
        # Beside MLPs and sites a head is a node, as in a circuit: it acts by its z as it sends.
        heads = isinstance(member, Members) and member.of == "heads"
        found += sites_of(member, node, "sends" if heads and role == "acts" else role)
    return found


def _no_part(value: Members, node: ast.Node, role: Role) -> Exception:
    parts, example = (".k or .v", "k") if value.of == "kv_heads" else (".q, .k or .v", "q")
    what = "inputs"
    if role != "receives":
        what, example = "activations", "k" if value.of == "kv_heads" else "z"
        parts = (
            parts
            if value.of == "kv_heads"
            else ".z (before W_O), .out (what it adds), .q, .k or .v"
        )
    text = show(node)
    way = text.replace(" @", f".{example} @", 1) if " @" in text else f"{text}.{example} @ END"
    return wrong(
        "head-part",
        f"`{text}` names heads, not one of their {what}",
        node.span,
        f"add {parts}, such as {way}",
    )
