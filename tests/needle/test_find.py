"""Whether a needle is found is what greedy decoding, token by token, would say."""

from dataclasses import replace

import torch

from puna.model import Llama, LlamaConfig
from puna.needle.find import Cell, cells, greedy_answers, heat_map, is_found
from puna.needle.plant import Haystack, NeedleConfig, needle_items
from puna.tokenizer import Tokenizer


def generated(model: Llama, prompt: list[int], count: int) -> list[int]:
    """Greedy decoding by whole passes."""
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(count):
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    return ids[len(prompt) :]


def test_found_is_what_greedy_decoding_gives(haystack: Haystack, tokenizer: Tokenizer) -> None:
    """Answers that the model itself gives are found, those with one token changed are not; lengths and order mixed."""
    model = Llama(LlamaConfig(16, 2, 2, 1, 32, tokenizer.vocab_size, max_position=512))
    model.initialise(3, std=0.5)
    made = [
        item
        for length in (301, 340)
        for item in needle_items(haystack, NeedleConfig(facts=2, keys=("a", "b", "c")), length, (0.0, 0.6), 2)
    ]
    items, expected = [], []
    for number, item in enumerate(made):
        answer = generated(model, item.prompt, len(item.answer))
        if number % 2:
            answer[number % len(answer)] = (answer[number % len(answer)] + 1) % 256
        items.append(replace(item, answer=answer))
        expected.append(number % 2 == 0)
    items, expected = items[1::2] + items[::2], expected[1::2] + expected[::2]
    progress: list[tuple[int, int]] = []
    answers = greedy_answers(model, items, lambda done, total: progress.append((done, total)))
    assert [answer == item.answer for answer, item in zip(answers, items, strict=True)] == expected
    assert progress[-1] == (8, 8)


def test_cells_count_by_length_and_depth(haystack: Haystack) -> None:
    items = needle_items(haystack, NeedleConfig(facts=2), 400, (0.5, 0.0), 3)
    found = [True, False, True, False, False, True]
    assert cells(items, found) == [Cell(400, 0.0, 1, 3), Cell(400, 0.5, 2, 3)]
    panel = heat_map(cells(items, found), "Found")
    assert (panel["columns"], panel["rows"], panel["values"]) == (["400"], ["0%", "50%"], [[1 / 3], [2 / 3]])


def test_found_is_the_whole_value_with_its_stop(haystack: Haystack, tokenizer: Tokenizer) -> None:
    (item,) = needle_items(haystack, NeedleConfig(facts=2), 400, (0.5,), 1)
    said = {
        f" {item.value}.\n": True,
        f" {item.value}.\n\n": True,
        f" {item.value}0": False,
        f" {item.value[:-1]}.": False,
    }
    assert {text: is_found(item, tokenizer.encode(text), tokenizer) for text in said} == said
    assert is_found(item, item.answer, tokenizer)
