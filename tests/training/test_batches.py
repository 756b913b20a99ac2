"""Examples and their order: every example once an epoch, within the budget, with little padding."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, strategies as st

from limelight.errors import InputError
from limelight.text.tokenizers import END, PAD, START
from limelight.training.batches import IGNORE, BatchSampler, LabelledTexts, Pairs, TextChunks, padded

lengths = st.lists(st.tuples(st.integers(1, 23), st.integers(1, 29)), min_size=1, max_size=61)


def cost(order: BatchSampler, rows: list[int]) -> int:
    """Tokens of a batch with its padding."""
    return len(rows) * sum(
        max(order.lengths[row][side] for row in rows) for side in range(len(order.lengths[0]))
    )


# ── Order ──


@given(lengths, st.integers(1, 199), st.integers(0, 5), st.integers(0, 5))
def test_every_example_once_an_epoch_and_no_batch_over_the_budget(
    sizes: list[tuple[int, int]], tokens: int, seed: int, epoch: int
) -> None:
    order = BatchSampler(sizes, tokens, seed)
    batches = order.epoch(epoch)
    assert sorted(row for batch in batches for row in batch) == list(range(len(sizes)))
    assert all(batches)
    for batch in batches:
        assert cost(order, batch) <= tokens or len(batch) == 1


@given(lengths, st.integers(1, 199), st.integers(0, 5), st.integers(0, 5))
def test_order_is_a_pure_function_of_seed_and_epoch(
    sizes: list[tuple[int, int]], tokens: int, seed: int, epoch: int
) -> None:
    first = BatchSampler(sizes, tokens, seed).epoch(epoch)
    torch.manual_seed(91)
    later = BatchSampler(list(sizes), tokens, seed)
    later.epoch(epoch + 1)
    assert later.epoch(epoch) == first


def test_other_epochs_and_seeds_have_other_orders() -> None:
    sizes = [(number % 7 + 1, number % 5 + 1) for number in range(101)]
    orders = [BatchSampler(sizes, 53, seed).epoch(epoch) for seed in range(3) for epoch in range(3)]
    assert all(one != other for i, one in enumerate(orders) for other in orders[:i])


def test_order_does_not_touch_the_random_numbers_of_training() -> None:
    before = torch.get_rng_state()
    BatchSampler([(3, 5)] * 11, 31).epoch(0)
    assert torch.equal(torch.get_rng_state(), before)


def test_little_is_padding_on_realistic_lengths() -> None:
    numbers = random.Random(0)
    # Sentence lengths are about log-normal; a translation is about as long as its source.
    sizes = []
    for _ in range(9001):
        source = min(200, max(1, round(numbers.lognormvariate(2.7, 0.7))))
        sizes.append((source, max(1, round(source * numbers.uniform(0.8, 1.4)))))
    order = BatchSampler(sizes, 1500)
    batches = order.epoch(0)
    used = sum(map(sum, sizes))
    paid = sum(cost(order, batch) for batch in batches)
    assert 0 <= 1 - used / paid < 0.06
    at_random = [list(range(start, min(start + 32, len(sizes)))) for start in range(0, len(sizes), 32)]
    assert 1 - used / sum(cost(order, batch) for batch in at_random) > 0.4  # what the bucketing saves
    equal_sources = sum(len({sizes[row][0] for row in batch}) == 1 for batch in batches)
    assert equal_sources / len(batches) > 0.75  # these need no padding mask


def test_long_examples_stand_alone_and_batches_are_shuffled() -> None:
    batches = BatchSampler([(number, 1) for number in range(1, 60)], 60, seed=3).epoch(0)
    assert [58] in batches
    first = [batch[0] for batch in batches]
    assert first != sorted(first)


@pytest.mark.parametrize(("sizes", "tokens"), [([], 5), ([(1, 2)], 0)])
def test_order_refuses_no_examples_and_no_budget(sizes: list[tuple[int, int]], tokens: int) -> None:
    with pytest.raises(InputError, match="at least one"):
        BatchSampler(sizes, tokens)


# ── Examples ──


def test_pairs_shift_the_target_by_one_and_ignore_padding() -> None:
    pairs = Pairs([[5, 6], [7, 8, 9]], [[15], []])
    assert pairs.lengths() == [(3, 2), (4, 1)]
    batch = pairs.batch([1, 0])
    assert batch.inputs["source"].tolist() == [[7, 8, 9, END], [5, 6, END, PAD]]
    assert batch.inputs["source_lengths"].tolist() == [4, 3]
    assert batch.inputs["target"].tolist() == [[START, PAD], [START, 15]]
    assert batch.labels.tolist() == [[END, IGNORE], [15, END]]
    assert batch.tokens == 3


def test_lengths_are_what_a_batch_holds() -> None:
    for examples in (
        Pairs([[5, 6], []], [[7], [8, 9]]),
        TextChunks([[5, 6, 7], [8]]),
        LabelledTexts([[5], []], [1, 0]),
    ):
        for row, sides in enumerate(examples.lengths()):
            inputs = examples.batch([row]).inputs
            widths = [tensor.shape[1] for name, tensor in sorted(inputs.items()) if name != "source_lengths"]
            assert tuple(widths) == sides


def test_a_tensor_is_moved_with_its_batch() -> None:
    moved = LabelledTexts([[5]], [1]).batch([0]).to(torch.device("meta"))
    assert {tensor.device.type for tensor in (*moved.inputs.values(), moved.labels)} == {"meta"}


@given(st.lists(st.lists(st.integers(4, 30), max_size=17), max_size=7), st.integers(2, 13))
def test_windows_lose_no_token_of_the_stream(documents: list[list[int]], longest: int) -> None:
    windows = TextChunks.cut(documents, longest)
    assert [token for text in windows.texts for token in text] == [
        token for document in documents for token in (*document, END)
    ]
    for row, text in enumerate(windows.texts):
        batch = windows.batch([row])
        assert batch.inputs["target"].shape[1] == len(text) < longest
        assert batch.inputs["target"][0].tolist() == [START, *text[:-1]]
        assert batch.labels[0].tolist() == text
        assert batch.tokens == len(text)


def test_labelled_texts_have_their_class() -> None:
    batch = LabelledTexts([[5, 6], []], [2, 0]).batch([0, 1])
    assert batch.inputs["source"].tolist() == [[5, 6, END], [END, PAD, PAD]]
    assert batch.inputs["source_lengths"].tolist() == [3, 1]
    assert (batch.labels.tolist(), batch.tokens) == ([2, 0], 2)


def test_a_window_holds_more_than_start() -> None:
    with pytest.raises(InputError, match="longest = 1"):
        TextChunks.cut([[5, 6]], 1)


def test_padded_rows() -> None:
    assert padded([[5], [6, 7]], -1).tolist() == [[5, -1], [6, 7]]
    assert padded([]).numel() == 0


def test_any_whole_number_is_a_seed() -> None:
    lengths = [(number % 5 + 1,) for number in range(41)]
    epochs = [BatchSampler(lengths, 20, seed).epoch(0) for seed in (20_250_101_123_456, -1, 10**40)]
    assert all(sorted(row for batch in epoch for row in batch) == list(range(41)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
