"""Nearest features by decoder cosine, block by block."""

import pytest
import torch

from workers.pipeline.dashboards.neighbors import encoder_decoder_cosine, nearest_features


@pytest.mark.parametrize("block", [1, 120, 10**6])
def test_blocks_find_what_the_whole_matrix_of_cosines_shows(block: int) -> None:
    decoder = (
        torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
        * torch.arange(1, 51)[:, None]
    )
    cosines = torch.nn.functional.cosine_similarity(
        decoder[:, None], decoder[None], dim=2
    ).fill_diagonal_(-2)
    expected = cosines.topk(6)
    indices, values = nearest_features(decoder, 6, 10, 37, block)
    assert torch.equal(indices, expected.indices[10:37])
    torch.testing.assert_close(values, expected.values[10:37])


def test_a_feature_is_not_its_own_neighbour_but_its_copy_is() -> None:
    decoder = torch.eye(6)
    decoder[5] = 3 * decoder[2]
    indices, cosines = nearest_features(decoder, 1, 0, 6)
    assert (int(indices[2]), int(indices[5])) == (5, 2)
    assert float(cosines[2]) == float(cosines[5]) == 1.0
    assert all(int(near) != index for index, near in enumerate(indices))


def test_a_small_sae_has_fewer_neighbours_and_a_zero_row_is_far_from_all() -> None:
    decoder = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    indices, cosines = nearest_features(decoder, 10, 0, 3)
    assert indices.shape == (3, 2)
    assert cosines[1].tolist() == [0.0, 0.0]
    assert nearest_features(torch.ones(1, 4), 10, 0, 1)[0].shape == (1, 0)


def test_encoder_and_decoder_agree_by_their_angle_not_their_length() -> None:
    encoder, decoder = (
        torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 1.0]]),
        torch.tensor([[5.0, 0.0], [1.0, 0.0], [-2.0, -2.0]]),
    )
    torch.testing.assert_close(
        encoder_decoder_cosine(encoder, decoder), torch.tensor([1.0, 0.0, -1.0])
    )


def test_spaces_of_different_width_have_no_angle() -> None:
    assert encoder_decoder_cosine(torch.ones(3, 2), torch.ones(2, 4)).tolist() == [0.0, 0.0]
