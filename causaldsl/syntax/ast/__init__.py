"""The syntax tree: frozen, typed, every node with its span.

A grammar rule ``position_definition`` makes class ``PositionDefinition``; its children become the
fields, in order. Two trees are equal when they say the same, wherever it stands.

Everywhere else a node is `ast.NAME`, whichever file of this folder it stands in.
"""

from causaldsl.syntax.ast.data import *  # noqa: F403
from causaldsl.syntax.ast.expressions import *  # noqa: F403
from causaldsl.syntax.ast.nodes import *  # noqa: F403
from causaldsl.syntax.ast.runs import *  # noqa: F403
from causaldsl.syntax.ast.statements import *  # noqa: F403
