// A lasso on the map: draw around features to add them to a collection. Press its button, or hold
// Shift while dragging.
const MOST = 1000,
  LONGEST_URL = 4000; // the first as in features.models.collection

export class Lasso {
  constructor(map, collect) {
    Object.assign(this, { map, collect, on: false, line: null, chosen: [] });
    this.status = Object.assign(document.createElement("div"), {
      className: "map-lasso",
      hidden: true,
    });
    this.status.setAttribute("role", "status");
    this.button = Object.assign(document.createElement("button"), {
      type: "button",
      textContent: "◌",
      title: "Lasso: draw around features",
      onclick: () => this.toggle(),
    });
    this.button.setAttribute(
      "aria-label",
      "Lasso: draw around features to add them to a collection",
    );
    this.button.setAttribute("aria-pressed", "false");
  }

  toggle(on = !this.on) {
    this.on = on;
    this.button.setAttribute("aria-pressed", String(on));
    this.map.canvas.classList.toggle("lasso", on);
    if (!on) this.clear();
  }

  clear() {
    this.line = null;
    this.chosen = [];
    this.status.hidden = true;
    this.map.later();
  }

  begin([x, y]) {
    this.clear();
    this.line = [this.#pointAt(x, y)];
  }

  move([x, y]) {
    this.line.push(this.#pointAt(x, y));
    this.map.later();
  }

  end() {
    const { points } = this.map,
      line = this.line;
    if (line.length < 3) return this.clear();
    const xs = line.map((p) => p[0]),
      ys = line.map((p) => p[1]),
      [left, right] = [Math.min(...xs), Math.max(...xs)],
      [top, bottom] = [Math.min(...ys), Math.max(...ys)];
    for (let i = 0; i < points.count; i++) {
      const x = points.x[i],
        y = points.y[i];
      if (x < left || x > right || y < top || y > bottom) continue;
      if (inside(line, x, y)) this.chosen.push(points.indices[i]);
    }
    this.#tell();
    this.map.later();
  }

  draw(context, ink) {
    // the line is on the map, not on the screen: it moves and zooms along
    if (!this.line) return;
    const { scale, left, top } = this.map;
    context.beginPath();
    for (const [x, y] of this.line) context.lineTo(x * scale + left, y * scale + top);
    context.closePath();
    Object.assign(context, { strokeStyle: ink, lineWidth: 1.5 });
    context.setLineDash([5, 4]);
    context.stroke();
    context.setLineDash([]);
  }

  #tell() {
    const n = this.chosen.length,
      text = n === 1 ? "1 feature" : `${n.toLocaleString("en")} features`;
    const add = Object.assign(document.createElement("button"), {
      type: "button",
      textContent: `Add ${text} to a collection`,
      onclick: () => this.#send(),
    });
    const none = Object.assign(document.createElement("button"), {
      type: "button",
      className: "plain",
      textContent: "Clear",
      onclick: () => this.toggle(false),
    });
    const why = !n
      ? "There is no feature inside."
      : n > MOST
        ? `${text}, but a collection holds at most ${MOST.toLocaleString("en")}. ` +
          "Zoom in and draw around fewer."
        : "";
    this.status.replaceChildren(...(why ? [why, none] : [add, none]));
    this.status.hidden = false;
  }

  #send() {
    // a short list goes in the URL, which survives signing in
    const value = `${this.collect.dataset.sae}/${this.chosen.join(",")}`;
    const form = Object.assign(document.createElement("form"), {
      action: this.collect.dataset.collect,
      method: value.length < LONGEST_URL ? "get" : "post",
      hidden: true,
    });
    const fields = { feature: value };
    if (form.method === "post")
      fields.csrfmiddlewaretoken = JSON.parse(document.body.getAttribute("hx-headers"))[
        "X-CSRFToken"
      ];
    for (const [name, text] of Object.entries(fields))
      form.append(Object.assign(document.createElement("input"), { name, value: text }));
    document.body.append(form);
    form.submit();
  }

  #pointAt(x, y) {
    return [(x - this.map.left) / this.map.scale, (y - this.map.top) / this.map.scale];
  }
}

function inside(line, x, y) {
  // whether a ray to the right crosses the line an odd number of times
  let odd = false;
  for (let k = 0, j = line.length - 1; k < line.length; j = k++) {
    const [ax, ay] = line[k],
      [bx, by] = line[j];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
  }
  return odd;
}
