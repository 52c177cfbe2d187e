"""Needles in haystacks: facts planted in long text, to learn looking them up from, and to test whether a model does."""
