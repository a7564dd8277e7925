"""From a compiled graph to a session that can run it: weights, backends, settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from causaldsl.check.checked import CheckedProgram
from causaldsl.content_store import ContentStore
from causaldsl.diagnostics import RunFailure
from causaldsl.engine.backend import Backend
from causaldsl.engine.cone.backend import ConeBackend
from causaldsl.engine.cone.families import Unsupported
from causaldsl.engine.hooks.backend import HooksBackend
from causaldsl.engine.kept.values import Kept
from causaldsl.engine.registry import load_engines
from causaldsl.engine.session import Session
from causaldsl.engine.weights.checkpoint import Checkpoint
from causaldsl.engine.weights.known_answers import describe, remember
from causaldsl.engine.weights.load import Loaded, load
from causaldsl.graph.graph import Graph
from causaldsl.model.families.summary import without_cone
from causaldsl.plan.chunks import CONE_TOKENS
from causaldsl.plan.memory import positions_at_once
from causaldsl.plan.numerics import numerics_of
from causaldsl.plan.planner import plan_ahead
from causaldsl.plan.settings import Progress, Settings


class Backends(dict[str, Backend]):
    """Backends by name, built when first used: most runs need no bridge.

    ``longest`` is the length of the longest prompt.
    """

    def __init__(self, loaded: Loaded, notes: list[str], preferred: str = "cone", longest: int = 0):
        super().__init__()
        self.loaded = loaded
        if loaded.spec.shapes.text and preferred == "cone":
            try:
                self["cone"] = _cone(loaded, longest)
            except Unsupported as error:
                notes.append(f"everything is run with the hooks backend: {error}")

    def __missing__(self, name: str) -> Backend:
        if name != "hooks":
            raise KeyError(name)
        self[name] = HooksBackend(self.loaded.bridge, self.loaded.spec.shapes)
        return self[name]


def _cone(loaded: Loaded, longest: int) -> ConeBackend:
    """On the weights alone where they were read so and answer as the module did.

    Raises :class:`Unsupported` if the module does not answer as we do either, or answers longer
    prompts in another way.
    """
    form = loaded.spec.shapes.form
    reason = without_cone(form, longest) if form is not None else ""
    if reason:
        raise Unsupported(reason)
    return _checked(loaded)


def _checked(loaded: Loaded) -> ConeBackend:
    shapes = loaded.spec.shapes
    if isinstance(loaded.source, Checkpoint):
        try:
            return ConeBackend(loaded.source, shapes, _at_once(loaded))
        except Unsupported:
            loaded.build()
    module: Any = loaded.source
    cone = ConeBackend(module, shapes, _at_once(loaded), loaded.answers)
    # If the module still answers as it did, it is we who can't read its weights without it.
    before = loaded.known.answers if loaded.known is not None else None
    alone = before is None or not torch.allclose(before, cone.answers.cpu(), rtol=1e-3, atol=1e-3)
    what = describe(module, cone.answers, cone.probed, alone)
    remember(loaded.spec, loaded.dtype, loaded.device, what)
    return cone


def _at_once(loaded: Loaded) -> int:
    """How many positions go through the cone together: on a GPU, as many as there is room for."""
    if not loaded.device.startswith("cuda"):
        return CONE_TOKENS
    return positions_at_once(loaded.spec.shapes, loaded.dtype_name, loaded.room)


class Later(dict[str, Backend]):
    """Backends that are built when one is first asked for, with the weights."""

    def __init__(self, build: Callable[[], dict[str, Backend]]):
        super().__init__()
        self.build = build
        self.built: dict[str, Backend] | None = None

    def __missing__(self, name: str) -> Backend:
        if self.built is None:
            self.built = self.build()
        return self.built[name]


def open_session(
    program: CheckedProgram,
    graph: Graph,
    settings: Settings,
    progress: Progress,
    store: ContentStore | None = None,
) -> Session:
    """Load the program's model and make a session for its graph.

    Where a ``store`` has all that takes the model, no weights are loaded.

    Raises:
        RunFailure: if the program has no model, or its weights can't be loaded.
    """
    model = program.model
    if model is None:
        raise RunFailure("the program names no model", 'add a line: model lm = "smollm2-135m"')
    load_engines(program.engines)
    # Without its folder: equal programs leave equal results, wherever they lie.
    notes = [f"{Path(w.span.place).name} {w.message}; {w.help}" for w in program.warnings]
    notes += program.readings
    if model.dtype not in (None, settings.dtype):
        notes.append(
            f"computed in {settings.dtype}, as this run was told to; the program says {model.dtype}"
        )
    kept, opened, longest = None, None, graph.longest_prompt
    if store is not None:
        plan = plan_ahead(graph, model.shapes, settings.backend)
        kept = Kept(store, numerics_of(settings, model), graph, plan)
        opened = kept.opening()
    later = opened is not None and kept is not None and not kept.opens_model
    if not later:
        progress(f"loading {model.name}", 0, 0)
    alone = settings.backend == "cone"
    loaded = load(model, settings.device, settings.dtype, alone, later)
    if later and opened is not None:
        built = Later(lambda: Backends(loaded, [], settings.backend, longest))
        served = opened["backends"]
        notes += opened["notes"]
        return Session(graph, loaded, built, settings, progress, notes, kept=kept, served=served)
    before = len(notes)
    backends = Backends(loaded, notes, settings.backend, longest)
    if kept is not None and numerics_of(settings, model) != kept.numerics:
        message = f"the files of {model.name} changed while they were read"
        raise RunFailure(message, "run it again when they are whole")
    session = Session(graph, loaded, backends, settings, progress, notes, kept=kept)
    if kept is not None and opened is None:
        kept.keep_opening(session.notes[before:], session.backend_for)
    return session
