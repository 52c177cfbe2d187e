from puna.curate.holdout import choose_heldout

DOCUMENTS = [(f"{i:032x}", "big" if i < 900 else "small" if i < 910 else "single") for i in range(911)]


def test_counts_by_source() -> None:
    chosen = choose_heldout(DOCUMENTS, 1, 0.02, 3)
    sources = [source for identifier, source in DOCUMENTS if identifier in chosen]
    assert (sources.count("big"), sources.count("small"), sources.count("single")) == (18, 3, 0)


def test_choice_depends_on_ids_and_seed_not_on_order() -> None:
    chosen = choose_heldout(DOCUMENTS, 1, 0.1, 1)
    assert chosen == choose_heldout(reversed(DOCUMENTS), 1, 0.1, 1)
    assert chosen != choose_heldout(DOCUMENTS, 2, 0.1, 1)
    # Another source's documents change nothing, and a larger fraction only adds.
    assert {i for i in chosen if i < f"{900:032x}"} == choose_heldout(DOCUMENTS[:900], 1, 0.1, 1)
    assert chosen < choose_heldout(DOCUMENTS, 1, 0.2, 1)


def test_nothing_is_held_out_when_nothing_is_asked() -> None:
    assert choose_heldout(DOCUMENTS, 1, 0.0, 0) == set()
