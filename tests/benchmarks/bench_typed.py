"""How long a text takes that somebody types on a feature's page, beside the bare forward pass and
encoding of it.

    python -m tests.benchmarks.bench_typed

A whole instance with the demo model and an SAE of 2,048 features, and its warm inference worker;
what is timed is the request of the fragment that the page fetches as one types: web, question,
broker, worker, answer and rendering. Every text is new, so that none is answered from before. The
bare pass is the model's own `forward` on the same ids, and the SAE's `encode`.
"""

import random
import statistics
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.bench_first_token import prepare
from tests.e2e.instance import Instance, wait_for

TIMES, LENGTHS = 20, (8, 64, 200)
RATIO, MORE = 1.3, 120
"""Asked for: at most this many times the bare pass, and so many milliseconds."""


def main() -> None:
    """Measure and print."""
    from workers.demo import train
    from workers.pipeline.model.language import load_language

    language = load_language(str(Path(train.__file__).parent / "model"))
    running = Instance(FEATURESCOPE_DEMO="0")
    try:
        index = prepare(running)
        bare = plain(language)
        wait_for(
            lambda: b'data-pins="text"' in asked(running.url, index, "warm"),
            300,
            "a worker with the model in memory",
        )
        for length in LENGTHS:
            print(measure(running.url, index, language, bare, length), flush=True)
    finally:
        running.stop()


def plain(language: Any) -> Callable[[str], None]:
    """The forward pass of a text and its encoding by an SAE of that size, and nothing else."""
    import torch

    from tests.workers import planted_sae

    sae = planted_sae.sae("topk", features=2048, d_in=256)

    def read(text: str) -> None:
        ids = torch.tensor([language.tokenizer(text)["input_ids"]])
        with torch.no_grad():
            sae.encode(language.model(ids, output_hidden_states=True).hidden_states[3])

    return read


def measure(site: str, index: int, language: Any, bare: Callable[[str], None], length: int) -> str:
    """Medians over texts of about that many tokens; the first ones are left out."""
    dice = random.Random(length)
    typed, alone = [], []
    for _ in range(TIMES + 3):  # in turn, so that what else the machine does falls on both alike
        text = " ".join(
            dice.choice(("return", "self", "name", "for", "the", "value"))
            for _ in range(length - 1)
        )
        text += f" {dice.randrange(10**6)}"
        typed.append(timed(lambda: fetch(site, index, text)))  # noqa: B023  # called at once
        alone.append(timed(lambda: bare(text)))  # noqa: B023  # as above
    took, least = (1000 * statistics.median(times[3:]) for times in (typed, alone))
    tokens = len(language.tokenizer(text)["input_ids"])
    return (
        f"typed text of {tokens} tokens on a warm worker: {took:.0f} ms; bare forward and encode "
        f"{least:.1f} ms"
        f" (asked: at most {RATIO * least + MORE:.0f} ms)"
    )


def fetch(site: str, index: int, text: str) -> None:
    """The same, which has to hold the text."""
    assert b'data-pins="text"' in asked(site, index, text), "the text was not read"


def asked(site: str, index: int, text: str) -> bytes:
    """What the page asks for while somebody types."""
    address = f"{site}/demo/shown/{index}/?{urllib.parse.urlencode({'text': text})}"
    request = urllib.request.Request(address, headers={"HX-Request": "true", "HX-Target": "test"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return bytes(answer.read())


def timed(work: Callable[[], None]) -> float:
    """Seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
