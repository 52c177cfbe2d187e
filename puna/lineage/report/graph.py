"""The lineage graph: what each stage was made from, back to the files that came from outside.

A layered drawing (Sugiyama 1981) in three steps: longest path gives the column, a few barycentre sweeps order each
column, and pulling every node towards its neighbours sets its height. Edges that skip columns pass through
invisible nodes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

from puna.lineage.report.markup import Html, artifact_href, linked, tag

WIDTH, HEIGHT = 144, 44  # of a node, in pixels
MAX_NAME = 17  # characters that fit: round1.generate, round1.dev-before
GAP_X, GAP_Y = 30, 16
SWEEPS = 8


@dataclass
class Node:
    """A stage, a file from outside, or (name None) a bend of a long edge."""

    key: str
    name: str | None = None
    detail: str = ""
    href: str | None = None
    external: bool = False
    column: int = 0
    y: float = 0.0


@dataclass
class Edge:
    """From what was read to who read it; `stale` when the source has been made anew since."""

    source: str
    target: str
    name: str
    stale: bool = False
    path: list[str] = field(default_factory=list)


def lineage_graph(stages: Sequence[Mapping[str, Any]]) -> Html:
    """The drawing; `stages` are those of report.json, in the order of the lap."""
    nodes, edges = read_graph(stages)
    if not nodes:
        return tag("p", "No stage has finished.", class_="quiet")
    columns = place(nodes, edges)
    width = len(columns) * (WIDTH + GAP_X) - GAP_X + 2
    height = max(node.y for column in columns for node in column) + HEIGHT + 2
    shapes = [draw_edge(edge, nodes) for edge in edges]
    shapes += [draw_node(node) for node in nodes.values() if node.name is not None]
    label = "Lineage: " + "; ".join(f"{nodes[e.target].name} reads {nodes[e.source].name}" for e in edges)
    box = {"viewBox": f"-1 -1 {width} {height:.0f}", "width": width, "height": f"{height:.0f}"}
    # A wide graph shrinks a little to fit; where that is not enough its box scrolls.
    return tag(
        "svg", shapes, **box, style=f"min-width:{0.85 * width:.0f}px", role="img", aria_label=label, class_="lineage"
    )


def read_graph(stages: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Node], list[Edge]]:
    """Nodes by key and the edges between them; several inputs from one source become one edge."""
    nodes: dict[str, Node] = {}
    made = {stage["name"]: stage["fingerprint"] for stage in stages}
    for stage in stages:
        detail = stage["fingerprint"][:8]
        nodes[stage["name"]] = Node(stage["name"], stage["name"], detail, artifact_href(stage["artifact"]))
    found: dict[tuple[str, str], Edge] = {}
    for stage in stages:
        for name, sources in (stage["inputs"] or {}).items():
            for source in sources:
                key = source_key(source, nodes)
                edge = found.setdefault((key, stage["name"]), Edge(key, stage["name"], name))
                edge.name = name if name in edge.name.split(", ") else edge.name
                edge.name = edge.name if name in edge.name.split(", ") else f"{edge.name}, {name}"
                edge.stale |= key in made and source.get("fingerprint") not in (None, made[key])
    return nodes, list(found.values())


def source_key(source: Mapping[str, Any], nodes: dict[str, Node]) -> str:
    """Key of the node an input comes from; files from outside, and stages that are gone, become nodes here."""
    if source.get("stage") in nodes:
        return source["stage"]
    path = str(source.get("path") or source.get("stage") or "?")
    key = "file:" + path
    detail = str(source.get("fingerprint") or "")[:8]
    nodes.setdefault(key, Node(key, PurePosixPath(path).name or path, detail, external=True))
    return key


def place(nodes: dict[str, Node], edges: list[Edge]) -> list[list[Node]]:
    """Give every node its column and height; long edges get bends, which are added to `nodes`."""
    for _ in nodes:  # longest path; as many rounds as the longest chain can have
        for edge in edges:
            nodes[edge.target].column = max(nodes[edge.target].column, nodes[edge.source].column + 1)
    for node in nodes.values():
        targets = [nodes[edge.target].column for edge in edges if edge.source == node.key]
        if node.external and targets:
            node.column = min(targets) - 1
    for edge in edges:
        add_bends(edge, nodes)
    columns: list[list[Node]] = [[] for _ in range(1 + max(node.column for node in nodes.values()))]
    for node in nodes.values():
        columns[node.column].append(node)
    before, after = neighbours(nodes, edges)
    for index in range(SWEEPS):
        order_columns(columns, before if index % 2 == 0 else after, reverse=index % 2 == 1)
    for index in range(SWEEPS):
        settle(columns, before if index % 2 == 1 else after, reverse=index % 2 == 0)
    top = min(node.y for column in columns for node in column)
    for column in columns:
        for node in column:
            node.y -= top
    return columns


def add_bends(edge: Edge, nodes: dict[str, Node]) -> None:
    """An invisible node in every column that an edge passes."""
    edge.path = [edge.source]
    for column in range(nodes[edge.source].column + 1, nodes[edge.target].column):
        key = f"bend:{edge.source}>{edge.target}>{column}"
        nodes[key] = Node(key, column=column)
        edge.path.append(key)
    edge.path.append(edge.target)


def neighbours(nodes: dict[str, Node], edges: list[Edge]) -> tuple[dict[str, list[Node]], dict[str, list[Node]]]:
    """For every node those it is drawn from, and those drawn from it."""
    before: dict[str, list[Node]] = {key: [] for key in nodes}
    after: dict[str, list[Node]] = {key: [] for key in nodes}
    for edge in edges:
        for source, target in pairwise(edge.path):
            before[target].append(nodes[source])
            after[source].append(nodes[target])
    return before, after


def order_columns(columns: list[list[Node]], linked_to: dict[str, list[Node]], reverse: bool) -> None:
    """One barycentre sweep: sort each column by the mean rank of its neighbours."""
    rank: dict[str, float] = {node.key: index for column in columns for index, node in enumerate(column)}
    for column in reversed(columns) if reverse else columns:
        means = {}
        for node in column:
            ranks = [rank[other.key] for other in linked_to[node.key]]
            means[node.key] = sum(ranks) / len(ranks) if ranks else rank[node.key]
        column.sort(key=lambda node: means[node.key])
        rank.update({node.key: index for index, node in enumerate(column)})


def settle(columns: list[list[Node]], linked_to: dict[str, list[Node]], reverse: bool) -> None:
    """Pull each node to the mean height of its neighbours, keeping order and distance."""
    for column in reversed(columns) if reverse else columns:
        wanted = []
        for node in column:
            heights = [other.y for other in linked_to[node.key]]
            wanted.append(sum(heights) / len(heights) if heights else node.y)
        for index, node in enumerate(column):
            least = column[index - 1].y + distance(column[index - 1], node) if index else wanted[0]
            node.y = max(wanted[index], least)
        shift = sum(want - node.y for want, node in zip(wanted, column, strict=True)) / len(column)
        for node in column:
            node.y += shift


def distance(above: Node, below: Node) -> float:
    """Least distance of two nodes of a column; bends need less room than boxes."""
    return (HEIGHT + GAP_Y) if above.name is not None and below.name is not None else (HEIGHT / 2 + GAP_Y)


def draw_edge(edge: Edge, nodes: dict[str, Node]) -> Html:
    """A smooth curve through the edge's bends."""
    path = [nodes[key] for key in edge.path]
    x, y = left(path[0]) + WIDTH, path[0].y + HEIGHT / 2
    steps = [f"M{x:.1f},{y:.1f}"]
    for node in path[1:]:
        to_x, to_y = left(node), node.y + HEIGHT / 2
        half = (x + to_x) / 2
        steps.append(f"C{half:.1f},{y:.1f} {half:.1f},{to_y:.1f} {to_x:.1f},{to_y:.1f}")
        x, y = to_x, to_y
        if node.name is None:
            x += WIDTH
            steps.append(f"H{x:.1f}")
    note = f"{nodes[edge.target].name} reads {nodes[edge.source].name} as {edge.name}"
    title = tag("title", note + (" (made anew since: stale)" if edge.stale else ""))
    return tag("path", title, d=" ".join(steps), class_="edge stale" if edge.stale else "edge")


def left(node: Node) -> float:
    """Left side of a node's column in pixels."""
    return node.column * (WIDTH + GAP_X)


def draw_node(node: Node) -> Html:
    """A box with the name and the short fingerprint; stages link to their manifest."""
    name = node.name or ""
    shown = name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "\u2026"
    x, y = left(node), node.y
    parts = [
        tag("title", name),
        tag("rect", x=f"{x:.1f}", y=f"{y:.1f}", width=WIDTH, height=HEIGHT, rx=8 if not node.external else 2),
        tag("text", shown, x=f"{x + 11:.1f}", y=f"{y + 19:.1f}", class_="name"),
        tag("text", node.detail, x=f"{x + 11:.1f}", y=f"{y + 35:.1f}", class_="print"),
    ]
    return tag("g", linked(node.href, parts), class_="node outside" if node.external else "node")
