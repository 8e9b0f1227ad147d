"""What is freed goes back to the system, where the allocator can be told to."""

import sys

import psutil
import pytest
import torch

from workers.pipeline.memory import release_free_memory


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be told")
def test_room_between_things_that_stay_is_given_back():
    process, kept_tensors = psutil.Process(), []
    for _ in range(400):  # as a pass does: much that goes, and a little of each batch that stays
        big = torch.ones(
            1 << 16
        )  # 256 KB, below what glibc takes from the system apart once such a piece was freed
        kept_tensors.append((big, torch.ones(64)))
    before = process.memory_info().rss
    kept_tensors = [small for _, small in kept_tensors]
    del big
    release_free_memory()
    assert before - process.memory_info().rss > 50 * 2**20
    assert len(kept_tensors) == 400
