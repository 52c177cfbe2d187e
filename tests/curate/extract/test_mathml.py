# ruff: noqa: E501  (markup as it is written)
import pytest
from lxml import etree

from puna.curate.extract.mathml import to_tex


def tex(inner: str) -> str:
    root = etree.fromstring(f"<math>{inner}</math>".encode(), etree.HTMLParser(encoding="utf-8"))
    return to_tex(next(root.iter("math")))


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ("<mi>x</mi><mo>+</mo><mn>12</mn>", "x+12"),
        ("<msup><mi>x</mi><mn>2</mn></msup>", "x^2"),
        ("<msup><mi>x</mi><mn>10</mn></msup>", "x^{10}"),
        ("<msup><mi>f</mi><mo>′</mo></msup>", "f'"),
        ("<msup><mrow><mo>(</mo><mi>a</mi><mo>+</mo><mi>b</mi><mo>)</mo></mrow><mn>2</mn></msup>", "(a+b)^2"),
        ("<msup><mrow><mi>a</mi><mi>b</mi></mrow><mn>2</mn></msup>", "ab^2"),
        ("<msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup>", "x_i^2"),
        ("<mfrac><mn>1</mn><mi>n</mi></mfrac>", r"\frac{1}{n}"),
        ("<mrow><mo>(</mo><mfrac linethickness='0'><mi>n</mi><mi>k</mi></mfrac><mo>)</mo></mrow>", r"\left(\binom{n}{k}\right)"),
        ("<msqrt><mi>a</mi><mo>+</mo><mi>b</mi></msqrt>", r"\sqrt{a+b}"),
        ("<mroot><mi>x</mi><mn>3</mn></mroot>", r"\sqrt[3]{x}"),
        ("<munder><mi>lim</mi><mrow><mi>x</mi><mo>→</mo><mn>0</mn></mrow></munder><mi>f</mi>", r"\lim_{x\to0}f"),
        ("<munderover><mo>∫</mo><mn>0</mn><mi>∞</mi></munderover><mi>x</mi>", r"\int_0^{\infty}x"),
        ("<mover><mi>x</mi><mo>^</mo></mover>", r"\hat{x}"),
        ("<mover><mrow><mi>A</mi><mi>B</mi></mrow><mo>→</mo></mover>", r"\overrightarrow{AB}"),
        ("<mover><mo>=</mo><mtext>def</mtext></mover>", r"\overset{\text{def}}{=}"),
        ("<munder><mrow><mi>a</mi><mi>b</mi></mrow><mo>⏟</mo></munder>", r"\underbrace{ab}"),
        ("<mi>sin</mi><mo>&#x2061;</mo><mi>x</mi>", r"\sin x"),
        ("<mi mathvariant='double-struck'>R</mi><mi>ℝ</mi><mi>𝔼</mi><mi>𝐱</mi>", r"\mathbb{R}\mathbb{R}\mathbb{E}\mathbf{x}"),
        ("<mi>α</mi><mi>x</mi><mo>≤</mo><mi>Ω</mi>", r"\alpha x\le\Omega"),
        ("<mi>σ</mi><mi>ς</mi><mi>τ</mi><mi>ω</mi><mi>Σ</mi>", r"\sigma\varsigma\tau\omega\Sigma"),
        ("<mtext>if&nbsp;a_b</mtext>", r"\text{if a\_b}"),
        ("<mfenced><mi>a</mi><mi>b</mi></mfenced>", "(a,b)"),
        ("<mfenced open='[' close=')'><mi>a</mi><mi>b</mi></mfenced>", "[a,b)"),
        (
            "<mrow><mo>{</mo><mtable><mtr><mtd><mn>1</mn></mtd><mtd><mi>a</mi></mtd></mtr>"
            "<mtr><mtd><mn>0</mn></mtd><mtd><mi>b</mi></mtd></mtr></mtable></mrow>",
            r"\begin{cases} 1 & a \\ 0 & b \end{cases}",
        ),
        ("<mfenced open='[' close=']'><mtable><mtr><mtd><mn>1</mn></mtd></mtr></mtable></mfenced>", r"\begin{bmatrix} 1 \end{bmatrix}"),
        ("<mi>a</mi><mspace width='1em'></mspace><mi>b</mi>", r"a\quad b"),
        ("<mmultiscripts><mi>U</mi><mn>2</mn><none></none><mprescripts></mprescripts><none></none><mn>8</mn></mmultiscripts>", "{}^8U_2"),
        ("<mstyle displaystyle='true'><semantics><mi>x</mi><annotation encoding='text'>no</annotation></semantics></mstyle>", "x"),
        ("<menclose notation='box'><mi>x</mi></menclose>", r"\boxed{x}"),
        ("<mfrac><mi>a</mi></mfrac>", r"\frac{a}{}"),
        ("<mo>%</mo><mi>x_y</mi>", r"\%x\_y"),
        ("", ""),
    ],
)  # fmt: skip
def test_presentation_mathml(inner: str, expected: str) -> None:
    assert tex(inner) == expected


def test_deep_nesting_ends() -> None:
    assert "x" in tex("<mrow>" * 200 + "<mi>x</mi>" + "</mrow>" * 200)
