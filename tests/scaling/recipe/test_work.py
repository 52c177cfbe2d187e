"""What stages do: shares that are estimated, and work that grows with what it is given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from puna.needle.documents import NeedleDocumentsConfig
from puna.posttrain.reward import RewardConfig
from puna.posttrain.sft import SftConfig
from puna.pretrain.long.extend import ExtendConfig
from puna.pretrain.run import PretrainConfig
from puna.scaling.recipe.kinds import WORK
from puna.scaling.recipe.models import _share_that_fits
from puna.scaling.recipe.volume import Volume
from puna.scaling.recipe.work import Given, Unknown, Work, bytes_per_token
from puna.tokenizer.shards import TokensConfig
from tests.scaling.recipe.test_effort import CONFIG, MACHINE

MODEL = Volume(vocab_size=CONFIG.vocab_size, model=CONFIG, answer=20.0)


def given_(**volumes: Volume) -> Given:
    return Given({name: [name] for name in volumes}, lambda reference: volumes[reference.partition("/")[0]], 2)


@given(st.floats(5, 2_000), st.integers(16, 4_096))
def test_the_share_of_tokens_that_fits_is_that_of_gamma_lengths(mean: float, row_tokens: int) -> None:
    # A length counts as often as it is long, which turns a gamma distribution of shape 2 into one of shape 3.
    expected = stats.gamma(3, scale=mean / 2).cdf(row_tokens)
    assert _share_that_fits(mean, row_tokens) == pytest.approx(expected, abs=1e-9)


def test_longer_dialogs_than_a_row_are_not_learned() -> None:
    short, long = Volume(9_000, 9e5, answer=50), Volume(9_000, 9e7, answer=5_000)
    learned = [WORK["sft"](SftConfig(row_tokens=256), given_(model=MODEL, dialogs=one)) for one in (short, long)]
    tokens = [work.training.tokens for work in learned if work.training]
    assert tokens[1] < 0.1 * tokens[0]
    assert learned[0].outputs[""].answer == 50 and learned[0].outputs[""].model == CONFIG


def test_clear_preferences_are_learned_without_those_that_measure() -> None:
    pairs = Volume(1_000, 300_000, answer=80)
    every = RewardConfig(strengths=(), heldout=0, epochs=1, row_tokens=4_096)
    clear = RewardConfig(heldout=5, epochs=1, row_tokens=4_096)

    def tokens(config: RewardConfig) -> float:
        work = WORK["reward"](config, given_(model=MODEL, preferences=pairs))
        assert work.training is not None
        return work.training.tokens

    # Of a pair of 300 characters each of the two answers is read with the prompt: 220 characters and two turns.
    assert tokens(every) == pytest.approx(2_000 * (220 / bytes_per_token(CONFIG.vocab_size) + 16))
    assert tokens(clear) == pytest.approx(tokens(every) * 0.55 * 0.8)


def test_what_is_missing_stops_a_stage_and_hands_on_its_model() -> None:
    gone = Volume(missing="dialogs.jsonl")
    with pytest.raises(Unknown, match=r"dialogs: dialogs.jsonl is not known yet") as error:
        WORK["sft"](SftConfig(), given_(model=MODEL, dialogs=gone))
    assert error.value.outputs[""].model == CONFIG
    with pytest.raises(Unknown, match="the sizes of the model are not known"):
        WORK["sft"](SftConfig(), given_(model=Volume(), dialogs=Volume(1, 1)))


@given(st.floats(1, 1e6), st.floats(1.1, 10))
def test_more_documents_take_longer_and_give_more_tokens(rows: float, times: float) -> None:
    def work(count: float) -> Work:
        volumes = {"documents": Volume(count, 500 * count), "tokenizer": Volume(vocab_size=4_096)}
        return WORK["tokens"](TokensConfig(), given_(**volumes))

    less, more = work(rows), work(times * rows)
    assert more.outputs[""].tokens == pytest.approx(times * less.outputs[""].tokens)
    assert MACHINE.seconds(more.effort) > MACHINE.seconds(less.effort)


def test_longer_context_is_counted_as_the_trainings_of_its_lengths() -> None:
    """Two lengths cost what two trainings of these rows do, and the gate; the longest row is what must be held."""
    lengths = [{"row_tokens": 512, "num_tokens": 4_096_000}, {"row_tokens": 1024, "num_tokens": 8_192_000}]
    gate = {"depths": [0.5], "per_depth": 1, "short_rows": 1, "short_tokens": 256}
    config = ExtendConfig.model_validate({"lengths": lengths, "batch_tokens": 4096, "gate": gate})
    work = WORK["extend"](config, given_(model=MODEL))
    alone = [
        WORK["pretrain"](
            PretrainConfig(num_tokens=n, row_tokens=r, batch_rows=4096 // r, heldout_rows=1), given_(model=MODEL)
        )
        for r, n in ((512, 4_096_000), (1024, 8_192_000))
    ]
    seconds = [MACHINE.seconds(one.effort) for one in (work, *alone)]
    assert seconds[0] == pytest.approx(sum(seconds[1:]), rel=0.02)
    needs = work.training
    assert needs is not None and (needs.tokens, needs.row_tokens, needs.batch_rows) == (12_288_000, 1024, 4)
    model = work.outputs[""].model
    assert model is not None and model.max_position == 1024
    assert work.memory_bytes == max(one.memory_bytes for one in alone)


def test_made_documents_are_told_by_their_number_and_length() -> None:
    config = NeedleDocumentsConfig(num_documents=100, shortest=100, longest=400)
    work = WORK["needles"](config, given_(tokens=Volume(1, 1, tokens=1), tokenizer=Volume(vocab_size=2048)))
    mean = sum(100 * 4 ** (i / 1000) for i in range(1000)) / 1000
    assert work.outputs[""].characters == pytest.approx(100 * mean * bytes_per_token(2048), rel=0.01)
