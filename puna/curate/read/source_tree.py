"""Source trees: which folders are one, which of their files somebody wrote, and in which programming language."""

from collections.abc import Iterable
from pathlib import PurePath

LANGUAGES = {
    "ada": (".adb", ".ads"),
    "assembly": (".asm", ".s"),
    "c": (".c", ".h"),
    "clojure": (".clj", ".cljs", ".cljc"),
    "cmake": (".cmake",),
    "cpp": (".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx", ".cu", ".cuh"),
    "csharp": (".cs",),
    "css": (".css", ".scss", ".sass", ".less"),
    "dart": (".dart",),
    "elixir": (".ex", ".exs"),
    "elm": (".elm",),
    "erlang": (".erl", ".hrl"),
    "fortran": (".f", ".f90", ".f95", ".f03"),
    "fsharp": (".fs", ".fsi", ".fsx"),
    "go": (".go",),
    "groovy": (".groovy", ".gradle"),
    "haskell": (".hs", ".lhs"),
    "java": (".java",),
    "javascript": (".js", ".jsx", ".mjs", ".cjs"),
    "julia": (".jl",),
    "kotlin": (".kt", ".kts"),
    "lean": (".lean",),
    "lisp": (".lisp", ".el", ".scm", ".rkt"),
    "lua": (".lua",),
    "ocaml": (".ml", ".mli"),
    "pascal": (".pas",),
    "perl": (".pl", ".pm"),
    "php": (".php",),
    "prolog": (".pro",),
    "protobuf": (".proto",),
    "python": (".py", ".pyi", ".pyx"),
    "r": (".r",),
    "ruby": (".rb",),
    "rust": (".rs",),
    "scala": (".scala",),
    "shell": (".sh", ".bash", ".zsh", ".ps1"),
    "solidity": (".sol",),
    "sql": (".sql",),
    "swift": (".swift",),
    "tcl": (".tcl",),
    "tex": (".tex",),
    "typescript": (".ts", ".tsx"),
    "verilog": (".v", ".sv"),
    "vhdl": (".vhd", ".vhdl"),
    "vue": (".vue", ".svelte"),
    "zig": (".zig",),
}
_BY_SUFFIX = {suffix: language for language, suffixes in LANGUAGES.items() for suffix in suffixes}
_BY_NAME = {
    "makefile": "make",
    "gnumakefile": "make",
    "dockerfile": "docker",
    "cmakelists.txt": "cmake",
    "rakefile": "ruby",
}
_MARKS = {
    ".git",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "package.json",
    "Cargo.toml",
    "go.mod",
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "CMakeLists.txt",
    "configure.ac",
    "meson.build",
    "Gemfile",
    "composer.json",
    "Makefile",
}
_MARK_SUFFIXES = (".sln", ".csproj", ".cabal", ".gemspec")
_VENDORED = {
    ".git",
    ".hg",
    ".svn",
    ".tox",
    ".venv",
    "venv",
    "__pycache__",
    "node_modules",
    "bower_components",
    "vendor",
    "vendored",
    "third_party",
    "thirdparty",
    "3rdparty",
    "site-packages",
    "dist",
    "build",
    "target",
    "Pods",
    ".eggs",
    "_build",
}
_LOCKS = {"package-lock.json", "yarn.lock", "pnpm-lock.yaml", "npm-shrinkwrap.json", "go.sum", "requirements.txt"}
_MINIFIED = (".min.js", ".min.css", ".bundle.js")


def programming_language(name: str) -> str:
    """Language of a file of code by its name, "" if it is none."""
    path = PurePath(name)
    return _BY_NAME.get(path.name.lower()) or _BY_SUFFIX.get(path.suffix.lower(), "")


def tree_roots(files: Iterable[PurePath]) -> set[PurePath]:
    """The outermost folders of source trees: those that hold what a build or version control puts at its top."""
    roots = set()
    for file in files:
        if file.name in _MARKS or file.suffix.lower() in _MARK_SUFFIXES:
            roots.add(file.parent)
        if ".git" in file.parts[:-1]:
            roots.add(PurePath(*file.parts[: file.parts.index(".git")]))
    return {root for root in roots if not any(parent in roots for parent in root.parents)}


def tree_of(file: PurePath, roots: set[PurePath]) -> PurePath | None:
    """The tree of `roots` that a file is in."""
    return next((parent for parent in file.parents if parent in roots), None)


def nobody_wrote(inside: PurePath) -> str:
    """Why a file of a tree, by its path inside it, is not its authors' work; "" if it may be."""
    folder = next((part for part in inside.parts[:-1] if part in _VENDORED), "")
    if folder:
        return f"file in {folder}/"
    name = inside.name.lower()
    if name in _LOCKS or name.endswith((".lock", ".lockb")):
        return "lock file"
    return "minified file" if name.endswith(_MINIFIED) else ""


def licence_of(root: PurePath, files: Iterable[PurePath]) -> str:
    """Name of the licence file at the top of a tree, "" if there is none."""
    words = ("LICENSE", "LICENCE", "COPYING", "UNLICENSE")
    names = sorted(file.name for file in files if file.parent == root and file.name.upper().startswith(words))
    return names[0] if names else ""
