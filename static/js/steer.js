// A steering run while it generates: tokens are appended as they are sampled, and what is measured
// later is added to them. At the end the server's fragment replaces what was drawn here.
let source = null;

function showProgress(bar, share) {
  bar?.style.setProperty("--p", share);
  bar?.setAttribute("aria-valuenow", Math.floor(100 * share));
}

function follow(run) {
  const texts = [...run.querySelectorAll("[data-row]")].map((element) => ({
    element,
    decoder: new TextDecoder(),
    tokens: [],
  }));
  const empty = () =>
    texts.forEach((text) => {
      text.element.textContent = "";
      text.tokens = [];
      text.decoder = new TextDecoder();
    });
  source = new EventSource(run.dataset.events);
  empty();

  function token(text, hex, logprob) {
    const bytes = Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
    // The decoder returns nothing until a character is complete.
    const shown = text.decoder.decode(bytes, { stream: true }).replaceAll("\n", "↵\n");
    const token = document.createElement("t");
    token.textContent = shown;
    token.title = `log-probability ${logprob.toPrecision(3)}`;
    text.element.append(token);
    text.tokens.push(token);
  }

  const handlers = {
    again: empty,
    ids: (piece) =>
      texts.forEach((text, row) => {
        if (piece.ids[row] !== null) token(text, piece.bytes[row], piece.logprobs[row]);
      }),
    done: (piece) => showProgress(run.querySelector("[data-progress]"), piece.done / piece.total),
    start: (piece) =>
      texts.forEach((text, row) =>
        piece.kl[row].forEach((kl, i) => {
          const token = text.tokens[piece.start + i];
          if (token) token.title += ` · KL from default ${kl.toPrecision(3)}`;
        }),
      ),
  };

  source.addEventListener("delta", (event) => {
    for (const piece of JSON.parse(event.data)) {
      for (const name of Object.keys(handlers)) if (name in piece) handlers[name](piece);
    }
    const state = run.querySelector(".status.queued");
    if (state) {
      state.className = "status running";
      state.textContent = run.dataset.running;
    }
  });
  source.addEventListener("over", () => {
    source.close();
    htmx.ajax("GET", run.dataset.page, { source: run, target: "#result", swap: "innerHTML" });
  });
  run.querySelector("[data-stop]")?.addEventListener("click", (event) => {
    event.preventDefault();
    const form = event.target.form;
    fetch(event.target.formAction, {
      method: "POST",
      body: new FormData(form),
      redirect: "manual",
    });
  });
}

// A run starts without a new page; an error from the server replaces its texts. #result stays in
// the page, because htmx drops an answer to an element that has been removed.
function begin() {
  source?.close();
  const run = document.querySelector("#result [data-events]");
  if (run) follow(run);
}
htmx.onLoad((part) => (part === document.body || part.parentElement?.id === "result") && begin());
document.addEventListener("htmx:historyRestore", begin);
document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr, requestConfig } = event.detail;
  // The end of a run after another has started.
  if (!requestConfig.elt.isConnected) event.preventDefault();
  if (xhr.status < 400 || !xhr.response.includes('id="mine"')) return;
  event.detail.shouldSwap = true;
  event.detail.isError = false;
});
for (const failure of ["htmx:sendError", "htmx:responseError"]) {
  document.addEventListener(failure, (event) => {
    if (event.detail.target?.id !== "result") return;
    source?.close();
    const why = event.detail.xhr.status
      ? `could not answer (${event.detail.xhr.status})`
      : "does not answer";
    document.querySelector("#result").innerHTML =
      '<p class="callout error below-small" role="alert">' +
      `The server ${why}. Nothing is lost: try again.</p>`;
  });
}
addEventListener("pagehide", () => source?.close());

document.addEventListener(
  "focusin",
  (event) => event.target.matches("[data-copy]") && event.target.select(),
);
