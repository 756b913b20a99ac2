"""The check at every public door: sizes are read off names that wear their shapes."""

from __future__ import annotations

import pytest
import torch

from limelight.errors import ArgumentTypeError, ShapeError
from limelight.shapes import LEGEND, sizes


def test_every_letter_gets_its_size() -> None:
    found = sizes(q_BHND=torch.ones(2, 15, 7, 11), k_BGMD=torch.ones(2, 3, 13, 11))
    assert vars(found) == {"B": 2, "H": 15, "N": 7, "D": 11, "G": 3, "M": 13}


def test_an_axis_may_be_empty_and_a_tensor_may_have_none() -> None:
    assert sizes(ids_BN=torch.ones(0, 3)).B == 0
    assert vars(sizes(scale_=torch.tensor(1.0))) == {}


def test_a_name_may_hold_further_lines() -> None:
    assert sizes(attention_bias_HN=torch.ones(5, 3)).H == 5


def test_two_sizes_for_one_letter_name_both_tensors() -> None:
    with pytest.raises(ShapeError, match=r"query and key must agree on D \(head width\).*11.*13"):
        sizes(query_BHND=torch.ones(2, 3, 5, 11), key_BGMD=torch.ones(2, 3, 7, 13))


def test_one_tensor_may_not_give_a_letter_two_sizes() -> None:
    with pytest.raises(ShapeError, match="square and square must agree on N"):
        sizes(square_NN=torch.ones(3, 5))


def test_the_number_of_axes_must_fit() -> None:
    with pytest.raises(
        ShapeError, match=r"query must have 4 axes \(batch × query heads.*\); got shape \(2, 3\)"
    ):
        sizes(query_BHND=torch.ones(2, 3))


def test_what_is_no_tensor_is_refused() -> None:
    with pytest.raises(ArgumentTypeError, match="query must be a torch.Tensor of axes BN; got list"):
        sizes(query_BN=[[1, 2]])  # type: ignore[arg-type]


def test_the_legend_has_one_meaning_a_letter() -> None:
    assert all(len(letter) == 1 and letter.isupper() for letter in LEGEND)
    assert len(set(LEGEND.values())) == len(LEGEND)
