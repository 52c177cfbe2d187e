"""Pages of code and of formulas as site generators write them, with what must come out of each.

The markup is that of the tools named, the words are ours. `python -m tests.curate.extract.labelled` prints how much of
it resiliparse and (where installed) trafilatura keep beside us.
"""

# ruff: noqa: E501  (markup as it is written)

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

_PROSE = (
    "This chapter shows how the miller of the village counts his sacks, and what he does when the river is low. "
    "Read it slowly, and try each step on a machine of your own before you go on to the next one."
)
_MORE = (
    "As you see, the result is what we wanted. If it is another one on your side, look at the log first, since most "
    "faults are named there, and only then at the settings of the machine."
)


@dataclass(frozen=True)
class Labelled:
    """A page and the pieces of it, blocks of code or formulas with their dollars, that must come out."""

    name: str
    html: str
    expected: tuple[str, ...]


def _page(body: str, title: str = "Counting sacks") -> str:
    menu = "".join(f'<li><a href="/{name}/">{name.title()}</a></li>' for name in ["home", "guide", "reference", "blog"])
    side = "".join(f'<li class="toctree-l1"><a href="/c{n}.html">Chapter {n}</a></li>' for n in range(1, 9))
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title} - Docs</title>'
        "<script>var theme = 'dark'; window.dataLayer = [];</script><style>pre { color: red }</style></head><body>"
        f'<header class="site-header"><a href="/">Mill docs</a><nav><ul>{menu}</ul></nav></header>'
        f'<div class="sidebar"><ul>{side}</ul><form><input name="q"><button>Search</button></form></div>'
        f'<div class="main-wrapper"><main class="content" role="main"><h1>{title}</h1><p>{_PROSE}</p>{body}'
        f'<p>{_MORE}</p></main></div><footer class="footer"><p>© 2024 The mill. <a href="/legal">Legal notice</a> '
        '<a href="/privacy">Privacy</a></p></footer></body></html>'
    )


_PYTHON = "def count(sacks):\n    total = 0\n    for sack in sacks:\n        total += sack.weight\n\n    return total"
_SHELL = "$ pip install mill\n$ mill --river low \\\n      --sacks 12"
_C = 'int main(void) {\n\tfor (int i = 0; i < 3; i++) {\n\t\tputs("sack");\n\t}\n\treturn 0;\n}'
_JSON = '{\n  "sacks": [\n    {"id": 1, "kg": 50}\n  ]\n}'


def _escaped(code: str) -> str:
    return code.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _spans(line: str) -> str:
    """Words of a line in spans, as highlighters write them."""
    indent = line[: len(line) - len(line.lstrip())]
    words = " ".join(f'<span class="n">{word}</span>' for word in _escaped(line.lstrip()).split(" ") if word)
    return indent + words


def _lines(code: str) -> list[str]:
    return [_spans(line) if line else "" for line in code.split("\n")]


_NUMBERED = "\n".join(str(n + 1) for n in range(_PYTHON.count("\n") + 1))

CODE_PAGES = (
    Labelled(
        "sphinx",
        _page(
            '<section id="s"><h2>Counting<a class="headerlink" href="#s" title="Link to this heading">¶</a></h2>'
            '<div class="highlight-python notranslate"><div class="highlight"><pre><span></span>'
            + "\n".join(_lines(_PYTHON))
            + "\n</pre></div></div></section>"
        ),
        (_PYTHON,),
    ),
    Labelled(
        "mkdocs-material",
        _page(
            '<div class="language-python highlight"><table class="highlighttable"><tbody><tr><td class="linenos">'
            f'<div class="linenodiv"><pre><span></span>{_NUMBERED}</pre></div></td><td class="code"><div><pre><span>'
            f"</span><code>{chr(10).join(_lines(_PYTHON))}\n</code></pre></div></td></tr></tbody></table>"
            '<nav class="md-code__nav"><button class="md-code__button">Copy</button></nav></div>'
        ),
        (_PYTHON,),
    ),
    Labelled(
        "docusaurus",
        _page(
            '<div class="language-bash codeBlockContainer_x theme-code-block"><div class="codeBlockContent_y"><pre '
            'tabindex="0" class="prism-code language-bash codeBlock_z thin-scrollbar"><code class="codeBlockLines_q">'
            + "".join(
                f'<span class="token-line" style="color:#393A34"><span class="token plain">{_escaped(line)}</span><br>'
                "</span>"
                for line in _SHELL.split("\n")
            )
            + '</code></pre><div class="buttonGroup_b"><button type="button" class="clean-btn">Copy</button></div>'
            "</div></div>"
        ),
        (_SHELL,),
    ),
    Labelled(
        "github-blob",
        _page(
            '<div class="Box-body p-0 blob-wrapper data type-c"><table class="highlight tab-size js-file-line-container">'
            + "".join(
                f'<tr><td id="L{n}" class="blob-num js-line-number" data-line-number="{n}"></td>'
                f'<td id="LC{n}" class="blob-code blob-code-inner js-file-line">{_spans(line)}</td></tr>'
                for n, line in enumerate(_C.split("\n"), 1)
            )
            + "</table></div>"
        ),
        (_C,),
    ),
    Labelled(
        "gitlab-blob",
        _page(
            '<div class="file-content code js-syntax-highlight"><div class="line-numbers">'
            + "".join(f'<a class="file-line-num" id="L{n}" href="#L{n}">{n}</a>' for n in range(1, 7))
            + '</div><div class="blob-content"><pre class="code highlight"><code>'
            + "\n".join(
                f'<span id="LC{n}" class="line" lang="python">{_spans(line)}</span>'
                for n, line in enumerate(_PYTHON.split("\n"), 1)
            )
            + "</code></pre></div></div>"
        ),
        (_PYTHON,),
    ),
    Labelled(
        "stack-overflow",
        _page(
            '<div class="question js-question"><div class="votecell"><span class="vote-count">14</span></div>'
            f'<div class="s-prose js-post-body" itemprop="text"><p>I try to count sacks with <code>count()</code>, but '
            f'it never ends when the river is low. This is what I have so far:</p><pre class="lang-py s-code-block"><code '
            f'class="hljs language-python">{_escaped(_PYTHON)}\n</code></pre><p>What is wrong with it?</p></div></div>'
            '<div class="answer"><div class="s-prose js-post-body" itemprop="text"><p>Nothing is, but you must install '
            f"the tool first, like this:</p><pre><code>{_escaped(_SHELL)}\n</code></pre></div></div>"
        ),
        (_PYTHON, _SHELL),
    ),
    Labelled(
        "jekyll-rouge",
        _page(
            '<div class="language-c highlighter-rouge"><div class="highlight"><pre class="highlight"><code><table '
            'class="rouge-table"><tbody><tr><td class="gutter gl"><pre class="lineno">1\n2\n3\n4\n5\n6\n</pre></td>'
            f'<td class="code"><pre>{chr(10).join(_spans(line) for line in _C.split(chr(10)))}\n</pre></td></tr></tbody>'
            "</table></code></pre></div></div>"
        ),
        (_C,),
    ),
    Labelled(
        "hugo-chroma",
        _page(
            '<div class="highlight"><div class="chroma"><table class="lntable"><tr><td class="lntd"><pre tabindex="0" '
            'class="chroma"><code>'
            + "".join(f'<span class="lnt">{n}\n</span>' for n in range(1, 7))
            + '</code></pre></td><td class="lntd"><pre tabindex="0" class="chroma"><code class="language-python">'
            + "".join(f'<span class="line"><span class="cl">{line}\n</span></span>' for line in _lines(_PYTHON))
            + "</code></pre></td></tr></table></div></div>"
        ),
        (_PYTHON,),
    ),
    Labelled(
        "jupyter-nbconvert",
        _page(
            '<div class="cell border-box-sizing code_cell rendered"><div class="input"><div class="prompt input_prompt">'
            'In&nbsp;[1]:</div><div class="inner_cell"><div class="input_area"><div class="highlight hl-ipython3"><pre>'
            f'<span></span>{chr(10).join(_lines(_PYTHON))}\n</pre></div></div></div></div><div class="output_wrapper"><div '
            'class="output"><div class="output_area"><div class="prompt output_prompt">Out[1]:</div><div '
            f'class="output_text output_subarea"><pre>{_escaped(_JSON)}</pre></div></div></div></div></div>'
        ),
        (_PYTHON, _JSON),
    ),
    Labelled(
        "syntaxhighlighter",
        _page(
            '<div class="syntaxhighlighter python"><div class="toolbar"><a href="#">?</a></div><table border="0"><tbody>'
            '<tr><td class="gutter">'
            + "".join(f'<div class="line number{n} index{n - 1}">{n}</div>' for n in range(1, 7))
            + '</td><td class="code"><div class="container">'
            + "".join(
                f'<div class="line number{n}"><code class="python spaces">'
                f'{"&nbsp;" * (len(line) - len(line.lstrip()))}</code><code class="python plain">'
                f"{_escaped(line.lstrip()) or '&nbsp;'}</code></div>"
                for n, line in enumerate(_PYTHON.split("\n"), 1)
            )
            + "</div></td></tr></tbody></table></div>"
        ),
        (_PYTHON,),
    ),
    Labelled(
        "doxygen",
        _page(
            '<div class="fragment">'
            + "".join(
                f'<div class="line"><a id="l{n:05}" name="l{n:05}"></a><span class="lineno">{n:5}</span>&#160;'
                f"{_escaped(line)}</div>"
                for n, line in enumerate(_C.split("\n"), 1)
            ).replace("&#160;", "")
            + "</div>"
        ),
        (_C,),
    ),
    Labelled(
        "pandoc",
        _page(
            '<div class="sourceCode" id="cb1"><pre class="sourceCode python"><code class="sourceCode python">'
            + "\n".join(
                f'<span id="cb1-{n}"><a href="#cb1-{n}" aria-hidden="true" tabindex="-1"></a>{line}</span>'
                for n, line in enumerate(_lines(_PYTHON), 1)
            )
            + "</code></pre></div>"
        ),
        (_PYTHON,),
    ),
    Labelled(
        "shiki-expressive-code",
        _page(
            '<div class="expressive-code"><figure class="frame"><figcaption class="header"></figcaption><pre '
            'data-language="json"><code>'
            + "".join(
                f'<div class="ec-line"><div class="code"><span style="--0:#abc">{_escaped(line)}</span></div></div>'
                for line in _JSON.split("\n")
            )
            + '</code></pre><div class="copy"><button title="Copy to clipboard"><div></div></button></div></figure></div>'
        ),
        (_JSON,),
    ),
    Labelled(
        "phpbb-br",
        _page(
            '<div class="postbody"><div class="content">My program, which does not count the last sack:<dl '
            'class="codebox"><dt>Code: <a href="#">Select all</a></dt><dd><code>'
            + "<br>".join(
                _escaped(line).replace("    ", "&nbsp; &nbsp; ").replace("\t", "&nbsp; &nbsp; ")
                for line in _PYTHON.split("\n")
            )
            + "</code></dd></dl></div></div>"
        ),
        (_PYTHON,),
    ),
)


_DECAY = r"h(t) = h_0 e^{-\lambda t}"
_QUADRATIC = (
    "<mrow><mi>x</mi><mo>=</mo><mfrac><mrow><mo>−</mo><mi>b</mi><mo>±</mo><msqrt><mrow><msup><mi>b</mi><mn>2</mn></msup>"
    "<mo>−</mo><mn>4</mn><mi>a</mi><mi>c</mi></mrow></msqrt></mrow><mrow><mn>2</mn><mi>a</mi></mrow></mfrac></mrow>"
)
_QUADRATIC_TEX = r"x=\frac{-b\pm\sqrt{b^2-4ac}}{2a}"


def _katex(tex: str, mathml: str, display: bool) -> str:
    inner = (
        f'<span class="katex"><span class="katex-mathml"><math xmlns="http://www.w3.org/1998/Math/MathML"><semantics>'
        f'{mathml}<annotation encoding="application/x-tex">{tex}</annotation></semantics></math></span><span '
        'class="katex-html" aria-hidden="true"><span class="base"><span class="strut"></span><span class="mord mathnormal">'
        'x</span><span class="mrel">=</span><span class="mord">2</span></span></span></span>'
    )
    return f'<span class="katex-display">{inner}</span>' if display else inner


MATHS_PAGES = (
    Labelled(
        "katex",
        _page(
            f"<p>The level {_katex('h_0', '<msub><mi>h</mi><mn>0</mn></msub>', False)} of the river is given by</p>"
            f"<p>{_katex(_DECAY, '<mi>h</mi>', True)}</p>"
        ),
        ("level $h_0$ of", f"$${_DECAY}$$"),
    ),
    Labelled(
        "mathjax2-script",
        _page(
            '<p>Let <span class="MathJax_Preview" style="color: inherit;"></span><span class="MathJax" '
            'id="MathJax-Element-1-Frame" tabindex="0"><nobr aria-hidden="true"><span class="math"><span class="mi">n'
            '</span><span class="mo">∈</span><span class="mi">N</span></span></nobr></span><script type="math/tex" '
            'id="MathJax-Element-1">n \\in \\mathbb{N}</script> be the number of sacks. Then</p>'
            '<div class="MathJax_Display"><span class="MathJax" id="MathJax-Element-2-Frame"><nobr><span>S=n(n+1)/2</span>'
            '</nobr></span></div><script type="math/tex; mode=display" id="MathJax-Element-2">S < \\sum_{k=1}^{n} k'
            "</script>"
        ),
        (r"Let $n \in \mathbb{N}$ be", r"$$S < \sum_{k=1}^{n} k$$"),
    ),
    Labelled(
        "mathjax3-assistive",
        _page(
            '<p>The roots are</p><mjx-container class="MathJax" jax="CHTML" display="true"><mjx-math display="true" '
            'class="MJX-TEX" aria-hidden="true"><mjx-mi class="mjx-i"><mjx-c class="mjx-c1D465"></mjx-c></mjx-mi></mjx-math>'
            f'<mjx-assistive-mml unselectable="on" display="block"><math display="block">{_QUADRATIC}</math>'
            '</mjx-assistive-mml></mjx-container><p>where <mjx-container class="MathJax" jax="SVG"><svg><g><path/></g>'
            "</svg><mjx-assistive-mml><math><mi>a</mi><mo>≠</mo><mn>0</mn></math></mjx-assistive-mml></mjx-container> "
            "holds for every mill.</p>"
        ),
        (f"$${_QUADRATIC_TEX}$$", r"where $a\ne0$ holds"),
    ),
    Labelled(
        "wikipedia",
        _page(
            '<p>For a sack of weight <span class="mwe-math-element mwe-math-element-inline"><span class="mwe-math-mathml-inline '
            'mwe-math-mathml-a11y" style="display: none;"><math xmlns="http://www.w3.org/1998/Math/MathML" '
            'alttext="{\\displaystyle w}"><semantics><mrow><mstyle displaystyle="true"><mi>w</mi></mstyle></mrow><annotation '
            'encoding="application/x-tex">{\\displaystyle w}</annotation></semantics></math></span><img '
            'src="https://wikimedia.org/api/rest_v1/media/math/render/svg/1" class="mwe-math-fallback-image-inline" '
            'aria-hidden="true" alt="{\\displaystyle w}"></span> one has</p><dl><dd><span class="mwe-math-element"><span '
            'class="mwe-math-mathml-inline" style="display: none;"><math alttext="{\\displaystyle F=wg}"><semantics><mi>F</mi>'
            '<annotation encoding="application/x-tex">{\\displaystyle F=w\\,g}</annotation></semantics></math></span><img '
            'class="mwe-math-fallback-image-inline" alt="{\\displaystyle F=w\\,g}"></span></dd></dl>'
            '<h2><span class="mw-headline" id="a">Notes</span><span class="mw-editsection">[<a href="/e">edit</a>]</span></h2>'
        ),
        ("weight $w$ one", r"$$F=w\,g$$"),
    ),
    Labelled(
        "latexml-arxiv",
        _page(
            '<div class="ltx_para"><p class="ltx_p">We minimise <math alttext="\\mathcal{L}(\\theta)" class="ltx_Math" '
            'display="inline"><semantics><mrow><mi class="ltx_font_mathcaligraphic">ℒ</mi></mrow><annotation '
            'encoding="application/x-tex">\\mathcal{L}(\\theta)</annotation></semantics></math> over all mills.</p>'
            '<table class="ltx_equation ltx_eqn_table"><tbody><tr class="ltx_equation ltx_eqn_row"><td '
            'class="ltx_eqn_cell ltx_eqn_center_padleft"></td><td class="ltx_eqn_cell ltx_align_center"><math '
            'alttext="\\nabla f=0" class="ltx_Math" display="block"><semantics><mi>f</mi><annotation '
            'encoding="application/x-tex">\\nabla f=0</annotation></semantics></math></td><td class="ltx_eqn_cell '
            'ltx_eqn_center_padright"></td><td class="ltx_eqn_cell ltx_eqn_eqno"><span>(1)</span></td></tr></tbody></table></div>'
        ),
        (r"minimise $\mathcal{L}(\theta)$ over", r"$$\nabla f=0$$"),
    ),
    Labelled(
        "mathml-only",
        _page(
            f'<p>The roots are</p><math display="block">{_QUADRATIC}</math><p>and the sum is</p><math display="block"><mrow>'
            "<munderover><mo>∑</mo><mrow><mi>k</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></munderover><msup><mi>k</mi><mn>2"
            '</mn></msup></mrow></math><p>with the matrix</p><math display="block"><mi>A</mi><mo>=</mo><mrow><mo>(</mo>'
            "<mtable><mtr><mtd><mn>1</mn></mtd><mtd><mn>0</mn></mtd></mtr><mtr><mtd><mi>α</mi></mtd><mtd><mn>1</mn></mtd>"
            "</mtr></mtable><mo>)</mo></mrow></math>"
        ),
        (
            f"$${_QUADRATIC_TEX}$$",
            r"$$\sum_{k=1}^nk^2$$",
            r"$$A=\begin{pmatrix} 1 & 0 \\ \alpha & 1 \end{pmatrix}$$",
        ),
    ),
    Labelled(
        "wordpress-latex-images",
        _page(
            '<p>The area is <img src="https://s0.wp.com/latex.php?latex=%5Cpi+r%5E2&#038;bg=ffffff&#038;fg=000&#038;s=0" '
            'alt="&#92;pi r^2" title="&#92;pi r^2" class="latex" /> for a wheel of radius <img class="latex" alt="r" '
            'src="https://s0.wp.com/latex.php?latex=r"/> metres.</p>'
        ),
        (r"area is $\pi r^2$ for", "radius $r$ metres"),
    ),
    Labelled(
        "codecogs-source",
        _page(
            '<p>Water flows at <img src="https://latex.codecogs.com/gif.latex?v%20%3D%20%5Csqrt%7B2gh%7D" alt="equation"> '
            "metres in a second.</p>"
        ),
        (r"flows at $v = \sqrt{2gh}$ metres",),
    ),
    Labelled(
        "raw-delimiters",
        _page(
            "<p>If $a_n \\to a$, then \\(b_n = 2 a_n\\) has a limit, and</p><p>\\[ \\lim_{n\\to\\infty} b_n = 2a. \\]</p>"
            "<p>$$ \\int_0^1 x\\,dx = \\frac{1}{2} $$</p>"
        ),
        (
            "If $a_n \\to a$, then \\(b_n = 2 a_n\\) has",
            "\\[ \\lim_{n\\to\\infty} b_n = 2a. \\]",
            "$$ \\int_0^1 x\\,dx = \\frac{1}{2} $$",
        ),
    ),
    Labelled(
        "zhihu-data",
        _page(
            '<p>So <span class="ztext-math" data-eeimg="1" data-tex="E=mc^2"><span></span><span><span class="MathJax_SVG">'
            '<svg><g></g></svg></span></span><script type="math/tex;mode=inline">E=mc^2</script></span> holds, and <img '
            'class="ee_img tr_noresize" eeimg="1" alt="\\frac{a}{b}" src="https://www.zhihu.com/equation?tex=x"> too.</p>'
        ),
        ("So $E=mc^2$ holds", r"and $\frac{a}{b}$ too"),
    ),
    Labelled(
        "aops-images",
        _page(
            '<p>Find all <img class="latex" src="//latex.artofproblemsolving.com/1.png" alt="$n$" width="11"> such that</p>'
            '<p><img class="latexcenter" alt="\\[n^2 + 1 = 2^k\\]" src="//latex.artofproblemsolving.com/2.png"></p>'
        ),
        ("all $n$ such", "$$n^2 + 1 = 2^k$$"),
    ),
    Labelled(
        "mathjax2-mathml",
        _page(
            '<p>The derivative is <span class="MathJax" id="MathJax-Element-7-Frame" data-mathml="&lt;math&gt;&lt;mfrac&gt;'
            "&lt;mrow&gt;&lt;mi&gt;d&lt;/mi&gt;&lt;mi&gt;y&lt;/mi&gt;&lt;/mrow&gt;&lt;mrow&gt;&lt;mi&gt;d&lt;/mi&gt;&lt;mi&gt;"
            'x&lt;/mi&gt;&lt;/mrow&gt;&lt;/mfrac&gt;&lt;/math&gt;"><nobr aria-hidden="true"><span class="math">dydx</span>'
            '</nobr><span class="MJX_Assistive_MathML" role="presentation"><math><mfrac><mrow><mi>d</mi><mi>y</mi></mrow>'
            "<mrow><mi>d</mi><mi>x</mi></mrow></mfrac></math></span></span> everywhere.</p>"
        ),
        (r"derivative is $\frac{dy}{dx}$ everywhere",),
    ),
    Labelled(
        "plain-html-powers",
        _page(
            "<p>The wheel turns at 10<sup>3</sup> rounds, an area of 25 m<sup>2</sup>, on the 1<sup>st</sup> of May; see "
            "note<sup>12</sup> and H<sub>2</sub>O.</p>"
        ),
        ("at 10^3 rounds", "25 m^2,", "the 1st of May", "note12 and H2O"),
    ),
)


def kept_lines(text: str, page: Labelled) -> tuple[int, int]:
    """Lines of the page's code that stand in the text verbatim, with indentation, and how many there are."""
    wanted = Counter(line for code in page.expected for line in code.split("\n") if line.strip())
    return (wanted & Counter(line.rstrip() for line in text.split("\n"))).total(), wanted.total()


def kept_formulas(text: str, page: Labelled) -> tuple[int, int]:
    """Formulas of the page that stand in the text exactly, white space aside, and how many there are."""
    plain = "".join(text.split())
    return sum("".join(piece.split()) in plain for piece in page.expected), len(page.expected)


def shares(extract: Callable[[str], str]) -> dict[str, float]:
    """Of all lines of code, and all formulas, the share that an extractor keeps."""
    found = {}
    for name, pages, kept in (("code lines", CODE_PAGES, kept_lines), ("formulas", MATHS_PAGES, kept_formulas)):
        counts = [kept(extract(page.html), page) for page in pages]
        found[name] = round(sum(count for count, _ in counts) / sum(total for _, total in counts), 3)
    return found
