"""The loss of a run, foretold from small ones and kept beside it."""
