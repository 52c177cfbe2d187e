"""Code pages: small Python functions of village life, with a line about each and an assertion that holds."""

from collections.abc import Callable

from puna.world.articles import dated, fillers
from puna.world.chance import Chance
from puna.world.lexicon import GOODS, HAMLETS

# name, arguments, what it does, body, an example call with its result (a and b are filled with small numbers)
_FUNCTIONS: tuple[tuple[str, str, str, str, str, Callable[[int, int], int]], ...] = (
    ("add_{g}", "a, b", "adds two numbers of {g}", "return a + b", "{a}, {b}", lambda a, b: a + b),
    ("left_{g}", "a, b", "says how many {g} are left", "return a - b", "{a}, {b}", lambda a, b: a - b),
    ("cost_of_{g}", "a, b", "gives the price of all the {g}", "return a * b", "{a}, {b}", lambda a, b: a * b),
    ("most_{g}", "a, b", "returns the larger number of {g}", "if a > b:\n    return a\nreturn b", "{a}, {b}", max),
    ("least_{g}", "a, b", "returns the smaller number of {g}", "if a < b:\n    return a\nreturn b", "{a}, {b}", min),
    ("twice_{g}", "a", "doubles the number of {g}", "return a * 2", "{a}", lambda a, b: a * 2),
    ("next_{g}", "a", "adds one to the number of {g}", "return a + 1", "{a}", lambda a, b: a + 1),
    ("share_{g}", "a, b", "shares the {g} and drops the rest", "return a // b", "{a}, {b}", lambda a, b: a // b),
    ("rest_of_{g}", "a, b", "returns the {g} that can not be shared", "return a % b", "{a}, {b}", lambda a, b: a % b),
    (
        "sum_to_{g}",
        "a",
        "adds all the numbers of {g} up to the last",
        "total = 0\nfor i in range(a + 1):\n    total = total + i\nreturn total",
        "{a}",
        lambda a, b: a * (a + 1) // 2,
    ),
    (
        "bags_of_{g}",
        "a, b",
        "counts the bags that hold all the {g}",
        "bags = 0\nwhile a > 0:\n    a = a - b\n    bags = bags + 1\nreturn bags",
        "{a}, {b}",
        lambda a, b: -(-a // b),
    ),
)


def code_page(chance: Chance) -> tuple[str, tuple[str, ...], tuple[int, ...]]:
    """Title, paragraphs and the indices of the preformatted ones."""
    goods = chance.pick(GOODS)
    paragraphs, code = [], []
    for name, arguments, purpose, body, call, result in chance.sample(_FUNCTIONS, 2):
        a, b = chance.between(11, 60), chance.between(2, 9)
        title = name.replace("{g}", goods)
        paragraphs.append(
            f"The function {title} {purpose.replace('{g}', goods)}. {fillers(1, chance)[0]} "
            f"It is used with the numbers of {chance.pick(HAMLETS)} and can be tested."
        )
        code.append(len(paragraphs))
        lines = "\n".join("    " + line for line in body.split("\n"))
        example = call.format(a=a, b=b)
        paragraphs.append(f"def {title}({arguments}):\n{lines}\n\nassert {title}({example}) == {result(a, b)}")
    paragraphs.append(" ".join(fillers(2, chance)))
    return dated(f"Small programs about {goods} from {chance.pick(HAMLETS)}", chance), tuple(paragraphs), tuple(code)
