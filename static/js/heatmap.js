// Values of tokens. A click or Enter pins one, so that several can be compared; again, or Escape,
// unpins it. Tab reaches one token of each text, arrow keys the others that fire. The URL stores
// what is pinned. Hovering needs no script.
const FIRING = "t[data-v]";
const texts = (root) => root.querySelectorAll("[data-pins]");

// A token's distance from the peak is the same however much of the context is shown.
function offset(token) {
  const tokens = [...token.closest(".tokens").querySelectorAll("t")];
  const peak = tokens.findIndex((other) => other.matches(".peak"));
  return tokens.indexOf(token) - Math.max(peak, 0);
}

function pin(token, on) {
  token.classList.toggle("pinned", on);
  token.setAttribute("aria-pressed", token.classList.contains("pinned"));
}

function storePins() {
  const url = new URL(location);
  url.searchParams.delete("pin");
  for (const text of texts(document)) {
    for (const token of text.querySelectorAll(".pinned"))
      url.searchParams.append("pin", `${text.dataset.pins}:${offset(token)}`);
  }
  history.replaceState(history.state, "", url);
}

function prepare(root) {
  const pinned = new Set(new URL(location).searchParams.getAll("pin"));
  for (const text of texts(root)) {
    const tokens = [...text.querySelectorAll(FIRING)];
    for (const token of tokens) {
      token.tabIndex = -1;
      token.setAttribute("role", "button");
      token.setAttribute(
        "aria-label",
        `${token.textContent.trim() || "blank"}, ${token.dataset.v}`,
      );
      pin(token, pinned.has(`${text.dataset.pins}:${offset(token)}`));
    }
    const first = tokens.find((token) => token.matches(".peak")) ?? tokens[0];
    if (first) first.tabIndex = 0;
  }
}

function toggle(token) {
  pin(token, !token.matches(".pinned"));
  storePins();
}

document.addEventListener("click", (event) => {
  const token = event.target.closest?.(`.tokens ${FIRING}`);
  if (token && !token.closest("label")) toggle(token);
});

document.addEventListener("keydown", (event) => {
  const token = event.target.closest?.(`[data-pins] ${FIRING}`),
    pinned = document.querySelectorAll(".tokens t.pinned");
  if (event.key === "Escape" && pinned.length) {
    for (const one of pinned) pin(one, false);
    storePins();
  }
  if (!token || event.ctrlKey || event.metaKey || event.altKey) return;
  const tokens = [...token.closest("[data-pins]").querySelectorAll(FIRING)],
    step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step) tokens[tokens.indexOf(token) + step]?.focus();
  else if (event.key === "Enter" || event.key === " ") toggle(token);
  else return;
  event.preventDefault();
});

prepare(document);
document.addEventListener("htmx:load", (event) => prepare(event.target));
