"""Which of several processes this one is, as torchrun and our own supervisor tell it (RANK, WORLD_SIZE)."""

import os


def is_rank() -> bool:
    """Whether this process is one of a world that something started."""
    return "WORLD_SIZE" in os.environ


def rank() -> int:
    """This process' number in its world; 0 of one that is alone."""
    return int(os.environ.get("RANK", 0))


def world_size() -> int:
    """Processes of the world; 1 of one that is alone."""
    return int(os.environ.get("WORLD_SIZE", 1))


def ranks_here() -> int:
    """Processes of the world on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world_size()))
