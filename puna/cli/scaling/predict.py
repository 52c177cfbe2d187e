"""`puna scaling predict`: the loss of one model."""

import json
from typing import Annotated

import typer

from puna.cli.options import JsonOption
from puna.cli.scaling.options import LawOption


def predict(
    parameters: Annotated[str, typer.Option(help="Parameters, e.g. 8B")],
    tokens: Annotated[str, typer.Option(help="Tokens learned, e.g. 15T")],
    law: LawOption = "chinchilla",
    json_: JsonOption = False,
) -> None:
    """The loss of a model after so many tokens, and what the same FLOPs are best spent on.

    Example: puna scaling predict --parameters 8B --tokens 15T --law refit
    """
    from puna.scaling.law import FLOPS_PER_WEIGHT
    from puna.scaling.law_file import read_law
    from puna.scaling.numbers import read_quantity, short

    known = read_law(law)
    size, learned = read_quantity("parameters", parameters), read_quantity("tokens", tokens)
    flops = FLOPS_PER_WEIGHT * size * learned
    best = known.law.optimal(flops)
    found = {
        "num_parameters": size,
        "num_tokens": learned,
        "flops": flops,
        "predicted_loss": known.law.loss(size, learned),
        "predicted_interval": known.interval(size, learned),
        "optimal_parameters": best[0],
        "optimal_tokens": best[1],
        "optimal_loss": known.law.loss(*best),
    }
    if json_:
        print(json.dumps(found))
        return
    interval = known.interval(size, learned)
    between = f" (95% {interval[0]:.4f} to {interval[1]:.4f})" if interval else ""
    print(f"Predicted loss: {found['predicted_loss']:.4f} nats a token{between}   FLOPs: {short(flops)}")
    print(f"The best of these FLOPs: {found['optimal_loss']:.4f}, {short(best[0])} parameters, {short(best[1])} tokens")
