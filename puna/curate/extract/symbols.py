"""Signs of Unicode and names of functions in TeX."""

import unicodedata

_GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau upsilon phi chi "
    "psi omega"
)
_NAMED = """
± pm|∓ mp|× times|÷ div|⋅ cdot|· cdot|∗ ast|∘ circ|∙ bullet|⊕ oplus|⊗ otimes|⊖ ominus|⊙ odot|† dagger|‡ ddagger
≤ le|≥ ge|≠ ne|≈ approx|≡ equiv|∼ sim|≃ simeq|≅ cong|∝ propto|≪ ll|≫ gg|≺ prec|≻ succ|⩽ leqslant|⩾ geqslant|≐ doteq
∈ in|∉ notin|∋ ni|⊂ subset|⊃ supset|⊆ subseteq|⊇ supseteq|∪ cup|∩ cap|∖ setminus|∅ emptyset|⊊ subsetneq
∑ sum|∏ prod|∐ coprod|∫ int|∬ iint|∭ iiint|∮ oint|⋃ bigcup|⋂ bigcap|⨁ bigoplus|⨂ bigotimes|⋁ bigvee|⋀ bigwedge
→ to|← leftarrow|↔ leftrightarrow|⇒ Rightarrow|⇐ Leftarrow|⇔ Leftrightarrow|↦ mapsto|⟶ longrightarrow|⟵ longleftarrow
⟹ implies|⟺ iff|↑ uparrow|↓ downarrow|↪ hookrightarrow|⇀ rightharpoonup|↠ twoheadrightarrow|⟼ longmapsto
⇌ rightleftharpoons
∀ forall|∃ exists|∄ nexists|¬ neg|∧ wedge|∨ vee|⊢ vdash|⊨ models|⊤ top|⊥ perp|∴ therefore|∵ because
∞ infty|∂ partial|∇ nabla|√ surd|∠ angle|△ triangle|□ square|◻ square|⋆ star|ℓ ell|ℏ hbar|℘ wp|ℜ Re|ℑ Im|ℵ aleph
∥ parallel|∤ nmid|∣ mid
… dots|⋯ cdots|⋮ vdots|⋱ ddots|⟨ langle|⟩ rangle|⌊ lfloor|⌋ rfloor|⌈ lceil|⌉ rceil|‖ Vert|° circ
ϵ epsilon|ε varepsilon|ϑ vartheta|ϕ phi|φ varphi|ϖ varpi|ϱ varrho|ς varsigma|ϰ varkappa
"""
_DOUBLE = {"ℝ": "R", "ℂ": "C", "ℕ": "N", "ℤ": "Z", "ℚ": "Q", "ℙ": "P", "ℍ": "H", "𝔼": "E"}


def _symbols() -> dict[str, str]:
    table = {}
    for number, name in enumerate(_GREEK.split()):
        # U+03C2, the final sigma, stands between rho and sigma.
        place = number + (number > 16)
        table[chr(0x3B1 + place)] = "o" if name == "omicron" else f"\\{name}"
        latin = {"alpha": "A", "beta": "B", "epsilon": "E", "zeta": "Z", "eta": "H", "iota": "I", "kappa": "K"}
        latin |= {"mu": "M", "nu": "N", "omicron": "O", "rho": "P", "tau": "T", "chi": "X"}
        table[chr(0x391 + place)] = latin.get(name) or f"\\{name.capitalize()}"
    for entry in _NAMED.replace("\n", "|").split("|"):
        if entry.strip():
            sign, name = entry.split()
            table[sign] = f"\\{name}"
    table |= {sign: rf"\mathbb{{{name}}}" for sign, name in _DOUBLE.items()}
    table |= {"−": "-", "′": "'", "″": "''", "‴": "'''", "⁢": "", "⁣": "", "⁡": "", "⁤": "", "\u200b": "", "\xa0": r"\ "}
    table |= {"°": r"^\circ", "\\": r"\backslash", "∕": "/", "⁄": "/", "∶": ":", "＝": "=", "≔": ":="}
    return table


SYMBOLS = _symbols()
"""TeX of a sign; of invisible operators it is nothing."""

FUNCTIONS = frozenset(
    [
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "sinh",
        "cosh",
        "tanh",
        "coth",
        "arcsin",
        "arccos",
        "arctan",
        "log",
        "ln",
        "lg",
        "exp",
        "lim",
        "limsup",
        "liminf",
        "sup",
        "inf",
        "max",
        "min",
        "det",
        "dim",
        "ker",
        "deg",
        "gcd",
        "hom",
        "arg",
        "Pr",
    ]
)
"""Names that TeX has as commands."""

LIMITS = frozenset(
    [
        "sum",
        "prod",
        "coprod",
        "int",
        "iint",
        "iiint",
        "oint",
        "bigcup",
        "bigcap",
        "bigoplus",
        "bigotimes",
        "bigvee",
        "bigwedge",
        "lim",
        "limsup",
        "liminf",
        "sup",
        "inf",
        "max",
        "min",
        "det",
        "gcd",
        "Pr",
    ]
)
"""Commands whose limits stand under and over them."""

ACCENTS = {
    "^": "hat", "ˆ": "hat", "̂": "hat", "¯": "bar", "‾": "bar", "̄": "bar", "―": "bar", "_": "bar", "→": "vec", "⃗": "vec",
    "⇀": "vec", "~": "tilde", "˜": "tilde", "∼": "tilde", "̃": "tilde", "˙": "dot", "̇": "dot", ".": "dot",
    "¨": "ddot", "̈": "ddot", "⏞": "overbrace", "︷": "overbrace", "ˇ": "check",
    "˘": "breve", "´": "acute", "`": "grave",
    "⟶": "vec",
}  # fmt: skip
"""Signs that stand over a letter."""

UNDER_ACCENTS = {
    "⏟": "underbrace",
    "︸": "underbrace",
    "_": "underline",
    "̲": "underline",
    "¯": "underline",
    "‾": "underline",
}

VARIANTS = {
    "normal": "mathrm", "bold": "mathbf", "italic": "", "bold-italic": "boldsymbol", "double-struck": "mathbb",
    "script": "mathcal", "bold-script": "mathcal", "fraktur": "mathfrak", "bold-fraktur": "mathfrak",
    "sans-serif": "mathsf", "monospace": "mathtt",
}  # fmt: skip
"""mathvariant -> the command for it."""


def letter(char: str) -> str:
    """A mathematical letter of Unicode's own block (U+1D400 and on) as a command with the plain letter."""
    if not 0x1D400 <= ord(char) <= 0x1D7FF:
        return char
    name, plain = unicodedata.name(char, ""), unicodedata.normalize("NFKC", char)
    plain = SYMBOLS.get(plain, plain)
    for word, command in (
        ("DOUBLE-STRUCK", "mathbb"), ("SCRIPT", "mathcal"), ("FRAKTUR", "mathfrak"), ("BOLD", "mathbf"),
        ("SANS-SERIF", "mathsf"), ("MONOSPACE", "mathtt"),
    ):  # fmt: skip
        if word in name:
            return rf"\{command}{{{plain}}}"
    return plain
