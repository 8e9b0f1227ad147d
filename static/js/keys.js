// Keys of every page: elements say which key presses them with data-key.
const typing = (target) => target.closest("input, textarea, select, [contenteditable]");

function showKeys() {
  let dialog = document.querySelector("dialog.known-keys");
  if (!dialog) {
    dialog = document.createElement("dialog");
    dialog.className = "known-keys";
    dialog.setAttribute("aria-label", "Keys");
    const list = document.createElement("dl");
    list.className = "keys";
    const rows = [...document.querySelectorAll("[data-key]")].map((e) => [e.dataset.key, e.dataset.keyName || e.textContent]);
    for (const [key, name] of [...rows, ["?", "This list"], ["Esc", "Close"]]) {
      const term = document.createElement("dt");
      term.append(Object.assign(document.createElement("kbd"), { textContent: key }));
      list.append(term, Object.assign(document.createElement("dd"), { textContent: name.trim() }));
    }
    const form = Object.assign(document.createElement("form"), { method: "dialog" });
    form.append(Object.assign(document.createElement("button"), { textContent: "Close" }));
    dialog.append(list, form);
    document.body.append(dialog);
  }
  dialog.showModal();
}

function press(element, event) {
  if (!element) return;
  if (!typing(element)) return element.click();
  event.preventDefault(); // or the key would be the first letter of what is typed
  element.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || document.querySelector("dialog[open]")) return;
  if (event.key === "?") showKeys();
  else press(document.querySelector(`[data-key="${CSS.escape(event.key)}"]:not([aria-disabled=true])`), event);
  if (event.key === "/" || event.key === "?") event.preventDefault();
});
