// Choosing a range of densities by drawing across the plot: it fills the form's fields and sends
// the form. Without this script each bar is a link to its own range.
const LOWEST = -7,
  LEAST = 4; // the plot's left end as a power of ten; pixels that make a range rather than a click
const form = document.querySelector("#browse"),
  plot = form?.querySelector(".brush svg");

function brush() {
  const low = form.elements.density_min,
    high = form.elements.density_max,
    names = "http://www.w3.org/2000/svg";
  const { width, height } = plot.viewBox.baseVal,
    band = document.createElementNS(names, "rect");
  band.setAttribute("class", "brush-range");
  plot.append(band);

  const share = (text) => (text.endsWith("%") ? parseFloat(text) / 100 : parseFloat(text));
  const at = (density) => Math.min(Math.max((1 - Math.log10(density) / LOWEST) * width, 0), width);
  const density = (x) =>
    Number((10 ** (LOWEST * (1 - Math.min(Math.max(x / width, 0), 1)))).toPrecision(2));
  const draw = (from, to) => {
    for (const [name, value] of Object.entries({
      x: from,
      y: 0,
      width: Math.max(to - from, 0),
      height: height - 16,
    }))
      band.setAttribute(name, value);
  };
  const show = () => {
    const from = share(low.value) > 0 ? at(share(low.value)) : 0,
      to = share(high.value) > 0 ? at(share(high.value)) : width;
    draw(from, low.value || high.value ? to : from);
  };
  const choose = (from, to) => {
    [low.value, high.value] = [from, to];
    show();
    form.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const xOf = (event) =>
    ((event.clientX - plot.getBoundingClientRect().left) / plot.getBoundingClientRect().width) *
    width;

  let start,
    moved = false;
  // Bars are links, which a browser would drag.
  plot.addEventListener("dragstart", (event) => event.preventDefault());
  plot.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    [start, moved] = [xOf(event), false];
  });
  addEventListener("pointermove", (event) => {
    if (start === undefined) return;
    moved ||= Math.abs(xOf(event) - start) > LEAST;
    if (moved) draw(Math.min(start, xOf(event)), Math.max(start, xOf(event)));
  });
  addEventListener("pointerup", (event) => {
    if (start === undefined) return;
    const [from, to] = [Math.min(start, xOf(event)), Math.max(start, xOf(event))];
    start = undefined;
    if (moved) choose(from > 0 ? density(from) : "", to < width ? density(to) : "");
  });
  addEventListener("pointercancel", () => ((start = undefined), show()));
  plot.addEventListener("click", (event) => {
    const bar = event.target.closest("a");
    if (!bar || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const range = new URL(bar.href.baseVal, location).searchParams;
    if (!moved) choose(range.get("density_min") ?? "", range.get("density_max") ?? "");
  });
  form.addEventListener("change", show);
  show();
}

if (plot) brush();
