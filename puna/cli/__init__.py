"""The command line: `puna VERB`. Every verb prints one clear line and exits 2 on bad input, 1 on a failed run.

A file for each thing that verbs act on, and `options` for what several verbs take. What needs torch is imported inside
the verb that uses it, so that `puna --help` answers at once.
"""

import sys
from typing import Annotated

import typer

from puna import __version__
from puna.base.errors import PunaError
from puna.cli import chaos, machine, models, plan, recipes, runs, scaling, tokenizer

app = typer.Typer(
    name="puna",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The whole Llama 3 recipe, from a raw web crawl to a measured chat model.",
)
tokenizer_app = typer.Typer(no_args_is_help=True, help="Train, use, measure and expand tokenizers.")
app.add_typer(tokenizer_app, name="tokenizer")
scaling_app = typer.Typer(no_args_is_help=True, help="Fit scaling laws, plan training runs and foretell their loss.")
app.add_typer(scaling_app, name="scaling")

# In the order of `puna --help`.
for verb in (
    recipes.run,
    plan.plan,
    recipes.pretrain,
    recipes.extend,
    chaos.chaos,
    recipes.sft,
    recipes.reward,
    recipes.dpo,
    recipes.ppo,
    recipes.rounds,
    recipes.curate,
    runs.status,
    runs.report,
    runs.compare,
    runs.gc,
    machine.doctor,
    recipes.schema,
    models.generate,
    models.chat,
    models.convert,
):
    app.command()(verb)
for sub_verb in (tokenizer.train, tokenizer.encode, tokenizer.decode, tokenizer.measure, tokenizer.expand):
    tokenizer_app.command()(sub_verb)
for scaling_verb in (scaling.plan, scaling.predict, scaling.fit, scaling.run):
    scaling_app.command()(scaling_verb)


def main() -> None:
    """Entry point: errors of ours become one line and an exit status, never a traceback."""
    try:
        app()
    except PunaError as error:
        print(f"puna: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        print("puna: interrupted; finished work is kept, run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)


@app.callback(invoke_without_command=True)
def _options(version: Annotated[bool, typer.Option("--version", help="Print the version and exit")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit()
