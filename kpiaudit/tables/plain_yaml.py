"""YAML as plain as a mapping needs it: text, lists and maps, no aliases, no tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from kpiaudit.errors import RuleError

if TYPE_CHECKING:
    from collections.abc import Hashable

_MAX_BYTES = 1_000_000
_MAX_DEPTH = 40


class _Plain:
    """What makes a safe loader plain: `007`, `NO` and dates stay texts."""

    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for name, _ in node.value:
            text = str(getattr(name, "value", ""))
            if text in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"'{text}' stands twice in the same block",
                    problem_mark=name.start_mark,
                )
            seen.add(text)
        found = super().construct_mapping(node, deep)  # type: ignore[misc]
        # A key is always a name: `null:` lists the texts that stand for nothing.
        return {"null" if k is None else k: v for k, v in found.items()}


class _PlainLoader(_Plain, yaml.SafeLoader):
    """For files of users: refuses aliases and depth before anything is built."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise self._refusal("aliases (*name) are not read")
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self._refusal(f"nested more than {_MAX_DEPTH} levels deep")
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def _refusal(self, problem: str) -> yaml.MarkedYAMLError:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


class _ShippedLoader(_Plain, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """For presets, which are ours: the same grammar, several times faster."""


# Only null is more than text: `NO`, `on`, `0x1F`, `12:30` and dates
# are codes and ids that call-centre exports really contain.
_ShippedLoader.yaml_implicit_resolvers = _PlainLoader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in resolvers if tag == "tag:yaml.org,2002:null"
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(text: str, *, where: str, shipped: bool = False) -> list[Any]:
    """Read every document of a YAML text; all scalars but null are text.

    Args:
        text: What the file holds.
        where: How messages name it.
        shipped: Whether it is a part of kpiaudit.

    Returns:
        The documents; a document that is a list gives its items.

    Raises:
        RuleError: It is no YAML, has aliases or tags, names a key twice, or is huge.
    """
    if len(text) > _MAX_BYTES:
        raise RuleError(f"{where}: more than 1 MB of YAML; that is no mapping file.")
    try:
        documents = list(
            yaml.load_all(text, Loader=_ShippedLoader if shipped else _PlainLoader)
        )
    except yaml.YAMLError as error:
        raise RuleError(f"{where}: {_explain(error)}. Mend the YAML there.") from error
    except RecursionError as error:
        raise RuleError(f"{where}: nested too deep for a mapping file.") from error
    found: list[Any] = []
    for document in documents:
        found.extend(document if isinstance(document, list) else [document])
    return [item for item in found if item is not None]


def _explain(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "not YAML"
    return f"line {mark.line + 1}, {problem}" if mark else str(problem)
