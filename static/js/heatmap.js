// A click, or Enter on a box, pins its value, so that several can be compared; a second one or Escape lets go. Hover needs no
// script. Tab reaches one box of each text and arrows the others that fire. The address keeps what is pinned.
const FIRING = "t[data-v]", texts = (root) => root.querySelectorAll("[data-pins]");

// A box by its distance from the peak, which is the same however much of the context is shown.
function place(box) {
  const all = [...box.closest(".tokens").querySelectorAll("t")];
  return all.indexOf(box) - Math.max(all.findIndex((other) => other.matches(".peak")), 0);
}

function pin(box, on) {
  box.classList.toggle("pinned", on);
  box.setAttribute("aria-pressed", box.classList.contains("pinned"));
}

function remember() {
  const address = new URL(location);
  address.searchParams.delete("pin");
  for (const text of texts(document)) {
    for (const box of text.querySelectorAll(".pinned")) address.searchParams.append("pin", `${text.dataset.pins}:${place(box)}`);
  }
  history.replaceState(history.state, "", address);
}

function prepare(root) {
  const pinned = new Set(new URL(location).searchParams.getAll("pin"));
  for (const text of texts(root)) {
    const boxes = [...text.querySelectorAll(FIRING)];
    for (const box of boxes) {
      box.tabIndex = -1;
      box.setAttribute("role", "button");
      box.setAttribute("aria-label", `${box.textContent.trim() || "blank"}, ${box.dataset.v}`);
      pin(box, pinned.has(`${text.dataset.pins}:${place(box)}`));
    }
    const first = boxes.find((box) => box.matches(".peak")) ?? boxes[0];
    if (first) first.tabIndex = 0;
  }
}

function toggle(box) {
  pin(box, !box.matches(".pinned"));
  remember();
}

document.addEventListener("click", (event) => {
  const box = event.target.closest?.(`.tokens ${FIRING}`);
  if (box && !box.closest("label")) toggle(box);
});

document.addEventListener("keydown", (event) => {
  const box = event.target.closest?.(`[data-pins] ${FIRING}`), pinned = document.querySelectorAll(".tokens t.pinned");
  if (event.key === "Escape" && pinned.length) {
    for (const one of pinned) pin(one, false);
    remember();
  }
  if (!box || event.ctrlKey || event.metaKey || event.altKey) return;
  const boxes = [...box.closest("[data-pins]").querySelectorAll(FIRING)], step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step) boxes[boxes.indexOf(box) + step]?.focus();
  else if (event.key === "Enter" || event.key === " ") toggle(box);
  else return;
  event.preventDefault();
});

prepare(document);
document.addEventListener("htmx:load", (event) => prepare(event.target));
