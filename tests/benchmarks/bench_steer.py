"""What steering costs beside plain generation, on the demo model: two texts, eight strengths, the
first token, fairness.

    python -m tests.benchmarks.bench_steer

One plain `generate` of 64 tokens is the unit, both by the wall clock and in processor time, of
which others on the machine take nothing. Measuring (KL, surprise, the feature's activation on both
texts) is part of what is timed. The last part has 20 people ask for two runs each, at once, of one
worker; their turns, and what the whole takes in memory, are told.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch

from features.queue import messages

LENGTH, TIMES, PEOPLE = 64, 7, 20
PROMPT = 'def load(path):\n    """Read the file'
STRENGTHS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def main() -> None:
    """Measure and print."""
    from tests.workers import planted_sae
    from workers.demo import train
    from workers.pipeline.model.language import load_language
    from workers.pipeline.steering.text_activations import Lens

    language = load_language(str(Path(train.__file__).parent / "model"))
    lens = Lens(planted_sae.sae("topk", features=2048, d_in=256), "blocks.2.hook_resid_post", True)
    for line in [*alone(language, lens), *together(language, lens)]:
        print(line, flush=True)


def alone(language, lens) -> list[str]:  # type: ignore[no-untyped-def]
    """Seconds of each, as medians, and their ratios to plain generation."""
    from workers.pipeline.steering.generate import decode
    from workers.pipeline.steering.interventions import FeatureIntervention
    from workers.pipeline.steering.measurements import MeasuredFeature
    from workers.pipeline.steering.sampling import Sampling

    ids = [
        language.tokenizer.bos_token_id,
        *language.tokenizer(PROMPT, add_special_tokens=False)["input_ids"],
    ]
    intervention, features = (
        FeatureIntervention(lens, 3, "add", 1.0, "maximum", 4.0),
        [MeasuredFeature(lens, 3, range(10))],
    )
    rows = [[intervention._replace(strength=strength)] for strength in STRENGTHS]
    sampling = Sampling(LENGTH)

    def plain() -> None:
        language.model.generate(
            torch.tensor([ids]),
            max_new_tokens=LENGTH,
            min_new_tokens=LENGTH,
            do_sample=False,
            pad_token_id=0,
        )

    def steered(rows: list) -> Callable[[], None]:  # type: ignore[type-arg]
        return lambda: (
            list(decode(language, rows, ids, sampling=sampling, features=features)) and None
        )

    def first() -> None:
        news = decode(language, rows[:1], ids, sampling=sampling, features=features)
        next(news), next(news)

    def forward() -> None:
        with torch.no_grad():
            language.model(torch.tensor([ids]))

    names = {
        "plain": plain,
        "one": steered(rows[:1]),
        "eight": steered(rows),
        "first": first,
        "forward": forward,
    }
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(TIMES):  # in turn, so that what else the machine does falls on all alike
        for name, work in names.items():
            took[name].append(timed(work))
    wall = {name: statistics.median(one for one, _ in found) for name, found in took.items()}
    cpu = {name: statistics.median(one for _, one in found) for name, found in took.items()}
    return [
        f"plain generate of {LENGTH} tokens: {wall['plain'] * 1e3:.0f} ms "
        f"({torch.get_num_threads()} threads)",
        f"default + steered: {wall['one'] / wall['plain']:.2f}x, processor time "
        f"{cpu['one'] / cpu['plain']:.2f}x (asked: 1.25)",
        f"eight strengths: {wall['eight'] / wall['plain']:.2f}x, processor time "
        f"{cpu['eight'] / cpu['plain']:.2f}x (asked: 2.2)",
        f"first token after {wall['first'] * 1e3:.0f} ms; one forward pass of the prompt takes "
        f"{wall['forward'] * 1e3:.0f} ms",
    ]


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds by the wall clock, and of processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def together(language, lens) -> list[str]:  # type: ignore[no-untyped-def]
    """Twenty people at once, two runs each, one worker."""
    from tests.benchmarks.instance import database

    var = Path(tempfile.mkdtemp(prefix="featurescope-bench-"))
    var.chmod(0o711)  # where we are root, PostgreSQL runs as another user
    try:
        with database(var):
            return _together(language, lens)
    finally:
        shutil.rmtree(var, ignore_errors=True)


def _together(language, lens) -> list[str]:  # type: ignore[no-untyped-def]
    from features.models import SteeringRun
    from features.records import WorkerState
    from features.services import workers as worker_services
    from features.steering import runs as steering_runs
    from features.steering.forms import SteerForm
    from tests import builders
    from workers.inference import steering as steering_worker

    worker_services.here("bench", ["inference"], WorkerState("cpu", "0", 1, 1, 1, None, None))
    builders.planted()
    messages.current_app.send_task = lambda *args, **kwargs: None
    steering_worker.model_cache.load_model, steering_worker.model_cache.load_sae = (
        lambda row: language,
        lambda row: lens.sae,
    )
    intervention = {"sae": "2-res", "index": 0, "strength": 1}
    given = {"model": "tiny", "prompt": PROMPT, "features": [intervention], "length": LENGTH}
    for person in range(PEOPLE):
        for n in range(2):
            steering_runs.request_run(
                SteerForm.checked(given | {"seed": person * 2 + n}), f"person {person}"
            )
    began, order, first = time.perf_counter(), [], {}
    process = psutil.Process()
    steering_worker.run_next()
    memory = process.memory_info().rss
    while SteeringRun.objects.filter(state="queued").exists():
        SteeringRun.objects.update(watched_until="2100-01-01T00:00:00Z")
        steering_worker.run_next()
    for run in SteeringRun.objects.order_by("started"):
        order.append(run.requested_by)
        first.setdefault(run.requested_by, (run.ended - run.queued).total_seconds())
    states = set(SteeringRun.objects.values_list("state", flat=True))
    rounds = len(set(order[:PEOPLE])) == PEOPLE
    return [
        f"{PEOPLE} people, two runs each: {time.perf_counter() - began:.1f} s in all, every "
        f"state {', '.join(states)}",
        f"each served once before anybody twice: {'yes' if rounds else 'NO'}; first answers "
        f"after {min(first.values()):.1f}"
        f" to {max(first.values()):.1f} s",
        f"memory after the first run {memory / 2**20:.0f} MiB, after all "
        f"{process.memory_info().rss / 2**20:.0f} MiB",
    ]


if __name__ == "__main__":
    main()
