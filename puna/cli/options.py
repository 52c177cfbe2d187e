"""Arguments and options that several verbs take."""

from pathlib import Path
from typing import Annotated

import typer

RecipeArgument = Annotated[Path, typer.Argument(help="A recipe, for example recipes/nano.yaml")]
RunArgument = Annotated[Path, typer.Argument(help="A run folder, for example runs/nano")]
ModelArgument = Annotated[
    Path, typer.Argument(help="A model folder in Hugging Face or Meta layout, e.g. runs/nano/export")
]
SetOption = Annotated[list[str], typer.Option("--set", help="Change a setting: --set sft.lr=1e-3, --set data=DIR")]
OutOption = Annotated[Path | None, typer.Option(help="Run folder (default: runs/NAME)")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output")]
