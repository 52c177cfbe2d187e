"""Blocks -> text: paragraphs apart by a blank line, items and rows a line each; markers of markdown by choice."""

from collections.abc import Sequence

from puna.curate.extract.walk import CODE, HEADING, ITEM, ROW, Block


def write_blocks(blocks: Sequence[Block], markdown: bool = False) -> str:
    """The text of the blocks. markdown: headings with #, code in fences; the paper leaves such markers out."""
    pieces: list[str] = []
    before: Block | None = None
    for block in blocks:
        if before is not None:
            pieces.append("\n" if block.tight and before.kind == block.kind else "\n\n")
        pieces.append(_written(block, markdown, before is not None and before.kind == ROW))
        before = block
    return "".join(pieces)


def _written(block: Block, markdown: bool, is_next_row: bool) -> str:
    text = block.text
    if block.kind == ITEM:
        mark = "-" if markdown and block.head == "•" else block.head
        return f"{'  ' * (block.level - 1)}{mark} {text}"
    if not markdown:
        return text
    if block.kind == HEADING:
        return f"{'#' * block.level} {' '.join(text.split())}"
    if block.kind == CODE:
        fence = "```"
        while fence in text:
            fence += "`"
        return f"{fence}{block.head}\n{text}\n{fence}"
    if block.kind == ROW:
        line = f"| {text} |"
        return line if is_next_row else f"{line}\n|{' --- |' * (text.count(' | ') + 1)}"
    return text
