"""How long somebody looks at an empty box: from the press of *Steer* to the first steered token in
the browser.

    python -m tests.benchmarks.bench_first_token

A whole instance with the demo model and an SAE of 2,048 features, a warm worker, Chromium on the
same two cores. The clock is the page's own: it starts with the click and stops when the first token
is in the document, so that the form's answer and the stream are inside. Every run has another seed,
so none is shared.
"""

import shutil
import statistics
from pathlib import Path

from tests.e2e.conftest import write_corpus
from tests.e2e.instance import Instance, wait_for

TIMES, ASKED = 12, 300
CLOCK = """
addEventListener("click", (event) => {
  if (event.target.matches("button.primary")) window.asked = Date.now();
}, true);
const seen = new MutationObserver(() => {
  if (document.querySelector('[data-row="1"] t') && !window.waited)
    window.waited = Date.now() - window.asked;
});
seen.observe(document, { childList: true, subtree: true });
"""


def main() -> None:
    """Measure and print."""
    running = Instance(FEATURESCOPE_DEMO="0")
    try:
        feature = prepare(running)
        waited = measure(running, feature)
    finally:
        running.stop()
    print(
        f"first steered token in the browser: median {statistics.median(waited):.0f} ms, "
        f"{min(waited)} to {max(waited)}"
        f" ({len(waited)} runs; asked {ASKED} and one forward pass of the prompt)"
    )


def prepare(running: Instance) -> int:
    """The demo model with an SAE and its dashboards; the index of a live feature."""
    from workers.demo import train

    corpus = write_corpus(running.folder / "tales.jsonl", 4000)
    for command in (
        ["add_model", "demo", str(Path(train.__file__).parent / "model")],
        ["add_corpus", "tales", str(corpus)],
    ):
        assert "Finished" in running.manage(*command, "--wait")
    asked = [
        "--corpus",
        "tales",
        "--hook",
        "blocks.2.hook_resid_post",
        "--width",
        "2048",
        "--k",
        "24",
        "--tokens",
        "40000",
    ]
    for work in (
        ["train_sae", "demo/shown", *asked, "--no-then"],
        ["compute_dashboards", "demo/shown", "--corpus", "tales", "--tokens", "20000"],
    ):
        said = running.manage(*work, "--wait", timeout=900)
        assert "Finished" in said, said
    running.rows(
        "UPDATE features_job SET state = 'cancelled', ended = now() WHERE state = 'waiting' "
        "RETURNING id"
    )
    live = "SELECT index FROM features_feature WHERE fires > 0 ORDER BY fires DESC LIMIT 1"
    return int(wait_for(lambda: running.rows(live), 60, "a live feature")[0]["index"])


def measure(running: Instance, feature: int) -> list[int]:
    """Milliseconds of each run; the first two, which load the model and the page's files, are left
    out.
    """
    from playwright.sync_api import sync_playwright

    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-background-networking"],
        )
        page = browser.new_page(base_url=running.url)
        page.add_init_script(CLOCK)
        for seed in range(TIMES + 2):
            page.goto(f"/steer/?model=demo&feature=shown/{feature}&seed={seed}&length=32")
            page.get_by_role("textbox", name="Prompt").fill("the cat saw a dog and it ran over")
            page.get_by_role("button", name="Steer", exact=True).click()
            page.wait_for_function("window.waited > 0", timeout=120_000)
            found.append(int(page.evaluate("window.waited")))
            page.wait_for_function("!document.querySelector('[data-events]')", timeout=60_000)
        browser.close()
    return found[2:]


if __name__ == "__main__":
    main()
