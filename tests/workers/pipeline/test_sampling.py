"""Drawing tokens: the shares come out right, the nucleus holds, the penalty counts, and a seed is a
text.
"""

import pytest
import torch

from features.records import InvalidInput
from workers.pipeline.steering.sampling import Sampler, Sampling

LOGITS = torch.tensor([[2.0, 1.0, 0.5, 0.0]])


def drawn(sampling, steps, logits=LOGITS):
    sampler = Sampler(sampling, len(logits), logits.shape[1], torch.device("cpu"))
    return torch.stack([sampler.draw(logits) for _ in range(steps)])


def test_shares_are_those_of_the_softmax():
    counts = torch.bincount(drawn(Sampling(temperature=0.7), 20_000)[:, 0], minlength=4) / 20_000
    assert counts.tolist() == pytest.approx((LOGITS[0] / 0.7).softmax(-1).tolist(), abs=0.012)


def test_the_nucleus_is_the_fewest_that_reach_top_p():
    shares = LOGITS[0].softmax(-1)
    for top_p, kept in ((0.01, 1), (float(shares[0]) + 0.01, 2), (0.99, 4)):
        assert set(drawn(Sampling(temperature=1.0, top_p=top_p), 3000)[:, 0].tolist()) == set(
            range(kept)
        )


def test_rows_share_their_chance():
    logits = LOGITS.repeat(3, 1)
    logits[2, 3] = 9.0
    chosen = drawn(Sampling(temperature=1.0, seed=3), 200, logits)
    assert torch.equal(chosen[:, 0], chosen[:, 1])
    assert not torch.equal(chosen[:, 0], chosen[:, 2])


def test_the_frequency_penalty_takes_a_step_for_each_time_a_token_was_said():
    chosen = drawn(Sampling(frequency_penalty=0.6), 6)[:, 0].tolist()
    left, expected = LOGITS[0].clone(), []
    for _ in range(6):
        expected.append(int(left.argmax()))
        left[expected[-1]] -= 0.6
    assert chosen == expected
    assert len(set(chosen)) > 1
    assert set(drawn(Sampling(frequency_penalty=-1.0), 6)[:, 0].tolist()) == {0}


def test_greedy_needs_no_chance_and_a_seed_is_a_text():
    assert drawn(Sampling(), 5)[:, 0].tolist() == [0] * 5
    warm = Sampling(temperature=1.0, seed=8)
    assert torch.equal(drawn(warm, 50), drawn(warm, 50))
    assert not torch.equal(drawn(warm, 50), drawn(warm._replace(seed=9), 50))


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_told(broken):
    with pytest.raises(InvalidInput, match="smaller strength"):
        drawn(Sampling(), 1, torch.tensor([[0.0, broken]]))
