"""Options of several verbs on scaling laws."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from puna.base.errors import ConfigError

if TYPE_CHECKING:
    from puna.lineage.report.plane import Plane

LawOption = Annotated[
    str,
    typer.Option(
        help="chinchilla (Hoffmann 2022), refit (Besiroglu 2024, the same runs fitted again), muennighoff (C4), or a "
        "law.json of `puna scaling fit`, which has intervals"
    ),
]
PlotOption = Annotated[Path | None, typer.Option(help="Draw it into this file: .svg, or .html with its numbers")]


def check_plot(path: Path | None) -> None:
    """Raises ConfigError for a file that is neither, before anything is computed."""
    if path and path.suffix not in (".svg", ".html"):
        raise ConfigError(f"--plot: expected a file named .svg or .html, came {path}")


def write_plot(path: Path, plane: "Plane") -> None:
    """Write the drawing, in the form that the file's name asks for."""
    from puna.base.files import write_atomic
    from puna.lineage.report.plane import plane_page, plane_svg

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, (plane_svg(plane) if path.suffix == ".svg" else plane_page(plane)).encode())
