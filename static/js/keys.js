// Keyboard shortcuts. An element names its key in data-key and what it does in data-key-name.
const typing = (target) => target.closest("input, textarea, select, [contenteditable]");

const make = (tag, properties, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

function row(key, name) {
  const keyCell = make("td", {}, make("kbd", { textContent: key }));
  return make("tr", {}, keyCell, make("td", { textContent: name.trim() }));
}

function group(title, rows) {
  const heading = make("th", { colSpan: 2, scope: "rowgroup", textContent: title });
  return make("tbody", {}, make("tr", {}, heading), ...rows.map(([key, name]) => row(key, name)));
}

function shortcuts() {
  const all = [...document.querySelectorAll("[data-key]")].map((element) => ({
    everywhere: Boolean(element.closest("header")),
    row: [element.dataset.key, element.dataset.keyName || element.textContent],
  }));
  const rowsOf = (everywhere) => all.filter((s) => s.everywhere === everywhere).map((s) => s.row);
  const general = [...rowsOf(true), ["?", "Show these shortcuts"], ["Esc", "Close"]];
  const page = rowsOf(false);
  return [...(page.length ? [group("On this page", page)] : []), group("Everywhere", general)];
}

function showShortcuts() {
  document.querySelector("dialog.shortcuts")?.remove(); // fragments may have changed what there is
  const title = make("h2", { id: "shortcuts-title", textContent: "Keyboard shortcuts" });
  const close = make("form", { method: "dialog" }, make("button", { textContent: "Close" }));
  const table = make("table", {}, ...shortcuts());
  const dialog = make("dialog", { className: "shortcuts" }, title, table, close);
  dialog.setAttribute("aria-labelledby", title.id);
  document.body.append(dialog);
  dialog.showModal();
}

function press(element, event) {
  if (!element) return;
  if (!typing(element)) return element.click();
  event.preventDefault(); // or the key would be the first letter of what is typed
  element.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (typing(event.target) || document.querySelector("dialog[open]")) return;
  if (event.key === "?") showShortcuts();
  else {
    const selector = `[data-key="${CSS.escape(event.key)}"]:not([aria-disabled=true])`;
    press(document.querySelector(selector), event);
  }
  if (event.key === "/" || event.key === "?") event.preventDefault();
});
