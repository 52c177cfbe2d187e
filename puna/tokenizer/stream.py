"""Text from ids as they come: whole characters only, so that nobody is shown half of one."""

import codecs
from collections.abc import Iterable

from puna.tokenizer.bpe import Tokenizer


class TextStream:
    """Bytes or ids in, text out as soon as it is certain; all pieces together are the text decoded at once.

    A character may be spread over several tokens; its first bytes are held back until the last has come. Bytes that
    can no longer become a character are U+FFFD, as in `Tokenizer.decode`.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def add_bytes(self, data: bytes) -> str:
        """The text that is certain now and was not before; may be empty."""
        return self._decoder.decode(data)

    def add(self, tokenizer: Tokenizer, ids: Iterable[int], skip_special: bool = True) -> str:
        """The same for ids. Raises ValueError for one that does not exist."""
        return self.add_bytes(tokenizer.decode_bytes(ids, skip_special))

    def end(self) -> str:
        """The rest: U+FFFD if the last character has not come whole."""
        return self._decoder.decode(b"", final=True)
