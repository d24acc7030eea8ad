"""Masked moments, whitening, log-probabilities, entropy and pooling against plain loops."""

import math
from typing import Any

import pytest
import torch
from checks import Rows, close, close_rows, differentiate, gradient, mask_of, padded, ragged, unpadded
from torch import Tensor

from tuningfork import tensors

LENGTHS = [4, 1, 7, 3]


def flat(rows: Rows) -> list[float]:
    return [x for row in rows for x in row]


def scalar_whiten(rows: Rows, shift_mean: bool, unbiased: bool) -> Rows:
    numbers = flat(rows)
    mean = sum(numbers) / len(numbers)
    variance = sum((x - mean) ** 2 for x in numbers) / (len(numbers) - (1 if unbiased else 0))
    return [[(x - mean) / math.sqrt(variance + 1e-8) + (0.0 if shift_mean else mean) for x in row] for row in rows]


def scalar_logprob(logits: list[float], target: int, temperature: float) -> float:
    return math.log(math.exp(logits[target] / temperature) / sum(math.exp(x / temperature) for x in logits))


def scalar_entropy(logits: list[float], temperature: float) -> float:
    total = sum(math.exp(x / temperature) for x in logits)
    probabilities = [math.exp(x / temperature) / total for x in logits]
    return -sum(p * math.log(p) for p in probabilities if p > 0)


def test_masked_moments_worked_example() -> None:
    x = torch.tensor([[1.0, 2.0, math.nan], [6.0, math.inf, 99.0]], dtype=torch.float64)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    close(tensors.masked_sum(x, mask), 9.0)  # 1 + 2 + 6
    close(tensors.masked_mean(x, mask), 3.0)  # 9 / 3
    close(tensors.masked_sum(x, mask, dim=1), [3.0, 6.0])
    close(tensors.masked_mean(x, mask, dim=1), [1.5, 6.0])
    close(tensors.masked_var(x, mask), 14 / 3)  # (4 + 1 + 9) / 3
    close(tensors.masked_var(x, mask, unbiased=True), 7.0)  # (4 + 1 + 9) / 2


@pytest.mark.parametrize("function", [tensors.masked_sum, tensors.masked_mean, tensors.masked_var])
def test_empty_mask_gives_zero_with_a_graph(function: Any) -> None:
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    result = function(x, torch.zeros(2, 3, dtype=torch.bool))
    close(result, 0.0)
    result.backward()
    assert x.grad is not None
    close(x.grad, torch.zeros(2, 3))


def test_a_row_without_entries_has_mean_zero() -> None:
    x = torch.tensor([[2.0, 4.0], [math.nan, 1.0]], dtype=torch.float64)
    close(tensors.masked_mean(x, torch.tensor([[True, True], [False, False]]), dim=1), [3.0, 0.0])


def test_one_entry_has_unbiased_variance_zero() -> None:
    close(tensors.masked_var(torch.tensor([5.0]), torch.tensor([True]), unbiased=True), 0.0)


def test_integers_and_low_precision_are_reduced_in_fp32() -> None:
    assert tensors.masked_mean(torch.tensor([1, 2]), torch.tensor([True, True])).item() == 1.5
    # 256 + 1 is 256 in bf16
    x = torch.tensor([256.0, 1.0], dtype=torch.bfloat16)
    assert tensors.masked_sum(x, torch.tensor([True, True])).item() == 257.0


@pytest.mark.parametrize("unbiased", [False, True])
def test_variance_and_its_gradient_match_loops(unbiased: bool) -> None:
    rows, mask = ragged(1, LENGTHS, 3.0, 5.0), mask_of(LENGTHS)

    def scalar(values: Rows) -> float:
        numbers = flat(values)
        mean = sum(numbers) / len(numbers)
        return sum((x - mean) ** 2 for x in numbers) / (len(numbers) - (1 if unbiased else 0))

    def masked(x: Tensor) -> Tensor:
        return tensors.masked_var(x, mask, unbiased=unbiased)

    close(masked(padded(rows)), scalar(rows))
    close_rows(unpadded(gradient(masked, padded(rows)), mask), differentiate(scalar, rows))


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("shift_mean", [False, True])
def test_whiten_and_its_gradient_match_loops(shift_mean: bool, unbiased: bool) -> None:
    rows, mask, weights = ragged(2, LENGTHS, 3.0, 5.0), mask_of(LENGTHS), ragged(3, LENGTHS)

    def scalar(values: Rows) -> float:
        whitened = scalar_whiten(values, shift_mean, unbiased)
        return sum(w * z for w, z in zip(flat(weights), flat(whitened), strict=True))

    def masked(x: Tensor) -> Tensor:
        return (tensors.whiten(x, mask, shift_mean=shift_mean, unbiased=unbiased) * padded(weights, 0.0)).sum()

    whitened = tensors.whiten(padded(rows), mask, shift_mean=shift_mean, unbiased=unbiased)
    close_rows(unpadded(whitened, mask), scalar_whiten(rows, shift_mean, unbiased))
    close_rows(unpadded(gradient(masked, padded(rows)), mask), differentiate(scalar, rows))


def test_whitened_numbers_have_the_moments_they_should() -> None:
    # variance 100, so that the epsilon of 1e-8 moves it by 1e-10 only
    x, mask = padded(ragged(4, LENGTHS, 10.0, 5.0)), mask_of(LENGTHS)
    close(tensors.masked_mean(tensors.whiten(x, mask), mask), 0.0)
    close(tensors.masked_var(tensors.whiten(x, mask), mask), 1.0)
    close(tensors.masked_var(tensors.whiten(x, mask, unbiased=True), mask, unbiased=True), 1.0)
    close(tensors.masked_mean(tensors.whiten(x, mask, shift_mean=False), mask), tensors.masked_mean(x, mask))


def test_whitening_biased_or_not_differs_visibly_for_two_numbers() -> None:
    # 0 and 2: mean 1, biased variance 1, unbiased 2; so +-1 against +-1/sqrt(2)
    x, mask = torch.tensor([0.0, 2.0], dtype=torch.float64), torch.tensor([True, True])
    close(tensors.whiten(x, mask), [-1.0, 1.0], 1e-8)
    close(tensors.whiten(x, mask, unbiased=True), [-math.sqrt(0.5), math.sqrt(0.5)], 1e-8)


def test_whitening_equal_numbers_gives_zeros() -> None:
    x = torch.full((2, 2), 3.0, dtype=torch.float64)
    close(tensors.whiten(x, torch.ones(2, 2, dtype=torch.bool)), torch.zeros(2, 2))


def test_whitening_ignores_how_much_padding_there_is() -> None:
    rows = ragged(5, LENGTHS)
    narrow = tensors.whiten(padded(rows), mask_of(LENGTHS))
    wide = tensors.whiten(padded(rows, 1e6, 20, left=5), mask_of(LENGTHS, 20, left=5))
    close(wide[:, 5:12], narrow, 1e-12)


def test_explained_variance() -> None:
    returns = torch.tensor([[1.0, 2.0, 6.0, math.nan]], dtype=torch.float64)
    mask = torch.tensor([[True, True, True, False]])
    close(tensors.explained_variance(returns, returns, mask), 1.0)
    close(tensors.explained_variance(torch.full_like(returns, 7.0), returns, mask), 0.0)
    # residuals 2, 4, 12: variance 4 times that of the returns
    close(tensors.explained_variance(-returns, returns, mask), -3.0)
    # residuals 1, 0, 2: variance 5/3 - 1 = 2/3; returns: 41/3 - 9 = 14/3; 1 - 1/7
    values = torch.tensor([[0.0, 2.0, 4.0, 0.0]], dtype=torch.float64)
    close(tensors.explained_variance(values, returns, mask), 6 / 7)


def test_explained_variance_of_constant_returns_is_zero() -> None:
    returns, mask = torch.full((1, 3), 2.0), torch.ones(1, 3, dtype=torch.bool)
    close(tensors.explained_variance(torch.tensor([[1.0, 2.0, 3.0]]), returns, mask), 0.0)


@pytest.mark.parametrize("temperature", [1.0, 0.7, 2.0])
def test_token_logprobs_and_gradient_match_loops(temperature: float) -> None:
    rows = ragged(6, [5] * 6, 2.0)  # 2 sequences of 3 tokens over 5 words
    targets = torch.tensor([[0, 4, 2], [1, 1, 3]])
    weights = ragged(7, [6])[0]

    def scalar(values: Rows) -> float:
        wanted = targets.flatten().tolist()
        return sum(w * scalar_logprob(row, t, temperature) for w, row, t in zip(weights, values, wanted, strict=True))

    def loss(logits: Tensor) -> Tensor:
        logprobs = tensors.token_logprobs(logits.view(2, 3, 5), targets, temperature)
        return (logprobs * torch.tensor(weights, dtype=torch.float64).view(2, 3)).sum()

    expected = [scalar_logprob(row, t, temperature) for row, t in zip(rows, targets.flatten().tolist(), strict=True)]
    close(tensors.token_logprobs(padded(rows).view(2, 3, 5), targets, temperature).flatten(), expected)
    close_rows(gradient(loss, padded(rows)).tolist(), differentiate(scalar, rows))


def test_token_logprobs_worked_example() -> None:
    # odds 1 : 3, so log 3/4; at temperature 1/2 odds 1 : 9, so log 9/10
    logits = torch.tensor([[[0.0, math.log(3.0)]]], dtype=torch.float64)
    close(tensors.token_logprobs(logits, torch.tensor([[1]])), [[math.log(0.75)]])
    close(tensors.token_logprobs(logits, torch.tensor([[1]]), 0.5), [[math.log(0.9)]])
    close(tensors.token_logprobs(logits, torch.tensor([[0]])), [[math.log(0.25)]])


def test_token_logprobs_are_a_distribution_and_ignore_a_shift() -> None:
    logits = torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    each = [tensors.token_logprobs(logits, torch.full((2, 3), v), 0.7) for v in range(5)]
    close(sum(x.exp() for x in each), torch.ones(2, 3), 1e-12)
    close(tensors.token_logprobs(logits + 100.0, torch.full((2, 3), 2), 0.7), each[2], 1e-12)


@pytest.mark.parametrize("chunk", [1, 10, 20, 29, 10**6])
def test_chunks_change_neither_value_nor_gradient(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    targets = torch.tensor([[0, 4, 2], [1, 1, 3]])
    widths: list[int] = []
    gather = Tensor.gather

    def counted(self: Tensor, dim: int, index: Tensor) -> Tensor:
        widths.append(index.shape[1])
        return gather(self, dim, index)

    whole = tensors.token_logprobs(logits, targets), tensors.entropy(logits)
    slopes = gradient(lambda x: tensors.token_logprobs(x, targets).sin().sum() + tensors.entropy(x).sum(), logits)
    monkeypatch.setattr(tensors, "CHUNK_ELEMENTS", chunk)
    monkeypatch.setattr(Tensor, "gather", counted)
    close(tensors.token_logprobs(logits, targets), whole[0], 1e-12)
    # 10 logits a column of tokens: a chunk holds as many columns as fit, and at least one
    assert widths == {1: [1, 1, 1], 10: [1, 1, 1], 20: [2, 1], 29: [2, 1], 10**6: [3]}[chunk]
    close(tensors.entropy(logits), whole[1], 1e-12)
    again = gradient(lambda x: tensors.token_logprobs(x, targets).sin().sum() + tensors.entropy(x).sum(), logits)
    close(again, slopes, 1e-12)


def test_lists_of_tokens_need_no_batch() -> None:
    logits = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    targets = torch.tensor([0, 4, 2, 1, 1, 3])
    close(tensors.token_logprobs(logits, targets), tensors.token_logprobs(logits[None], targets[None])[0], 1e-12)
    close(tensors.entropy(logits), tensors.entropy(logits[None])[0], 1e-12)
    assert tensors.token_logprobs(logits[:0], targets[:0]).shape == (0,)


def test_a_chunk_is_16_megabytes() -> None:
    assert tensors.CHUNK_ELEMENTS * 4 == 16 * 2**20


def test_token_logprobs_of_bf16_logits_are_fp32() -> None:
    logits = torch.tensor([[[0.0, 10.0]]], dtype=torch.bfloat16)
    result = tensors.token_logprobs(logits, torch.tensor([[1]]))
    assert result.dtype == torch.float32
    close(result, [[-math.log1p(math.exp(-10.0))]], 1e-6)  # -4.5e-5, which bf16 arithmetic rounds to 0
    assert result.item() < -4e-5


def test_impossible_tokens() -> None:
    logits = torch.tensor([[[0.0, 0.0, -math.inf]]], dtype=torch.float64)
    close(tensors.token_logprobs(logits, torch.tensor([[0]])), [[-math.log(2.0)]])
    assert tensors.token_logprobs(logits, torch.tensor([[2]])).item() == -math.inf
    close(tensors.entropy(logits), [[math.log(2.0)]])
    close(gradient(lambda x: tensors.entropy(x).sum(), logits), torch.zeros(1, 1, 3))


@pytest.mark.parametrize("temperature", [1.0, 0.7, 2.0])
def test_entropy_and_gradient_match_loops(temperature: float) -> None:
    rows = ragged(8, [5] * 6, 2.0)
    weights = ragged(9, [6])[0]

    def scalar(values: Rows) -> float:
        return sum(w * scalar_entropy(row, temperature) for w, row in zip(weights, values, strict=True))

    def loss(logits: Tensor) -> Tensor:
        return tensors.entropy(logits.view(2, 3, 5), temperature).flatten() @ torch.tensor(weights, dtype=torch.float64)

    close(
        tensors.entropy(padded(rows).view(2, 3, 5), temperature).flatten(),
        [scalar_entropy(r, temperature) for r in rows],
    )
    close_rows(gradient(loss, padded(rows)).tolist(), differentiate(scalar, rows))


def test_entropy_worked_example() -> None:
    # probabilities 1/4 and 3/4; at temperature 1/2 1/10 and 9/10
    logits = torch.tensor([[[0.0, math.log(3.0)]]], dtype=torch.float64)
    close(tensors.entropy(logits), [[-0.25 * math.log(0.25) - 0.75 * math.log(0.75)]])
    close(tensors.entropy(logits, 0.5), [[-0.1 * math.log(0.1) - 0.9 * math.log(0.9)]])


def test_entropy_of_equal_logits_is_log_of_their_number() -> None:
    close(tensors.entropy(torch.full((1, 2, 8), 3.0)), torch.full((1, 2), math.log(8.0)), 1e-6)


def test_logsigmoid_matches_loops_and_never_overflows() -> None:
    x = torch.tensor([-3.0, -0.1, 0.0, 2.5], dtype=torch.float64)
    close(tensors.logsigmoid(x), [math.log(1 / (1 + math.exp(-v))) for v in x.tolist()])
    close(gradient(lambda v: tensors.logsigmoid(v).sum(), x), [1 / (1 + math.exp(v)) for v in x.tolist()])
    far = torch.tensor([-500.0, 500.0])
    close(tensors.logsigmoid(far), [-500.0, 0.0])
    close(gradient(lambda v: tensors.logsigmoid(v).sum(), far), [1.0, 0.0])


def test_last_index_reads_the_mask() -> None:
    mask = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]).bool()
    assert tensors.last_index(mask).tolist() == [1, 3, 2, 0, -1, 3]


def test_pooling_reads_only_what_the_mask_holds() -> None:
    hidden = torch.arange(12.0, dtype=torch.float64).view(2, 3, 2)  # rows of (0 1)(2 3)(4 5) and (6 7)(8 9)(10 11)
    mask = torch.tensor([[True, True, False], [False, True, True]])
    close(tensors.pool_last(hidden, mask), [[2.0, 3.0], [10.0, 11.0]])
    close(tensors.pool_mean(hidden, mask), [[1.0, 2.0], [9.0, 10.0]])
    spoiled = hidden.masked_fill(~mask.unsqueeze(-1), math.nan)
    close(tensors.pool_last(spoiled, mask), [[2.0, 3.0], [10.0, 11.0]])
    close(tensors.pool_mean(spoiled, mask), [[1.0, 2.0], [9.0, 10.0]])


@pytest.mark.parametrize("pool", [tensors.pool_last, tensors.pool_mean])
@pytest.mark.parametrize("left", [0, 3])
def test_pooling_ignores_padding_and_the_side_it_is_on(pool: Any, left: int) -> None:
    hidden = torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    mask = mask_of([4, 2])
    wide = torch.full((2, 9, 3), 1e9, dtype=torch.float64)
    wide[:, left : left + 4] = hidden
    wide_mask = mask_of([4, 2], 9, left)
    close(pool(wide, wide_mask), pool(hidden, mask), 1e-12)
    close(pool(wide.flip(0), wide_mask.flip(0)), pool(hidden, mask).flip(0), 1e-12)


def test_metrics_do_not_depend_on_the_split() -> None:
    rows, mask = padded(ragged(10, LENGTHS)), mask_of(LENGTHS)
    metrics = {"score": rows, "score_max": rows}
    whole = tensors.reduce_metrics([(metrics, mask)])
    parts = [({name: value[i : i + 1] for name, value in metrics.items()}, mask[i : i + 1]) for i in range(4)]
    close(whole["score"], sum(flat(ragged(10, LENGTHS))) / 15)
    assert whole["score_max"] == max(flat(ragged(10, LENGTHS)))
    split = tensors.reduce_metrics(parts)
    close(split["score"], whole["score"], 1e-12)
    assert split["score_max"] == whole["score_max"]


def test_metrics_skip_parts_without_entries() -> None:
    one = ({"a": torch.tensor([3.0]), "a_max": torch.tensor([3.0])}, torch.tensor([True]))
    none = ({"a": torch.tensor([9.0]), "a_max": torch.tensor([9.0])}, torch.tensor([False]))
    assert tensors.reduce_metrics([one, none]) == {"a": 3.0, "a_max": 3.0}
    assert tensors.reduce_metrics([none]) == {}


def test_log1mexp_worked_example() -> None:
    # 1 - 1/2, 1 - 1/4
    x = torch.tensor([0.5, 0.25], dtype=torch.float64).log()
    close(tensors.log1mexp(x), [math.log(0.5), math.log(0.75)])


@pytest.mark.parametrize("x", [-1e-5, -0.3, -0.6931, -0.6932, -2.0, -30.0, -700.0])
def test_log1mexp_and_its_gradient_keep_their_digits(x: float) -> None:
    """log(1 - exp(x)) by whichever of expm1 and log1p is exact there; its slope is -1 / (exp(-x) - 1)."""
    expected = math.log(-math.expm1(x)) if x > -0.5 else math.log1p(-math.exp(x))
    point = torch.tensor(x, dtype=torch.float64)
    assert tensors.log1mexp(point).item() == pytest.approx(expected, rel=1e-12, abs=0)
    assert gradient(tensors.log1mexp, point).item() == pytest.approx(-1 / math.expm1(-x), rel=1e-9, abs=0)
    assert tensors.log1mexp(point.float()).item() == pytest.approx(expected, rel=1e-5, abs=1e-30)


def test_log1mexp_of_what_is_sure_is_finite() -> None:
    for x in (0.0, -1e-12):
        point = torch.tensor(x)
        assert tensors.log1mexp(point).item() == pytest.approx(math.log(1e-7), rel=1e-5)
        assert gradient(tensors.log1mexp, point).item() == 0.0
    assert tensors.log1mexp(torch.tensor([-1.0], dtype=torch.bfloat16)).dtype == torch.float32
