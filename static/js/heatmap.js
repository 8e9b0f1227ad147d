// A click pins a box's value, so that several can be compared; a second click or Escape lets go. Hover needs no script.
document.addEventListener("click", (event) => event.target.closest?.(".tokens t[data-v]")?.classList.toggle("pinned"));

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") document.querySelectorAll(".tokens t.pinned").forEach((box) => box.classList.remove("pinned"));
});
