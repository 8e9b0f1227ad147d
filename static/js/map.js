// The map of an SAE's features on a canvas: one draw per frame, and a grid to find the feature
// under the pointer. The server's drawing shows until they have arrived, and without JavaScript.
import { Labels } from "./map_labels.js";
import { Lasso } from "./map_lasso.js";
import { Points } from "./map_points.js";

const SHADES = 8,
  GOLDEN = 137.508,
  EDGE = 14,
  REACH = 14,
  MOST_ROUND = 4000; // the first two as in maps.py

class FeatureMap {
  constructor(root, data) {
    this.root = root;
    this.points = new Points(data);
    this.view = root.querySelector(".map-view");
    this.canvas = Object.assign(document.createElement("canvas"), { tabIndex: 0 });
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute(
      "aria-label",
      `Map of ${this.points.count} features. Arrow keys move it, plus and minus zoom, ` +
        "0 shows all, Enter opens the feature in the middle, Escape clears a lasso.",
    );
    this.tip = Object.assign(document.createElement("a"), { className: "map-tip", hidden: true });
    this.tip.setAttribute("role", "status");
    this.chosen = -1;
    this.fingers = new Map();
    this.labels = new Labels(this.points);
    this.lasso = new Lasso(this, root);
    this.view.replaceChildren(this.canvas, this.#buttons(), this.tip, this.lasso.status);
    this.#listen();
    this.paint(root.dataset.color);
    new ResizeObserver(() => this.#resize()).observe(this.view);
  }

  paint(color) {
    // colours come from map.css; features are sorted by theirs, so that each is set once per frame
    this.color = this.root.dataset.color = color;
    const { densities, clusters, count } = this.points,
      names = new Map(),
      of = new Uint16Array(count);
    const group = color === "density" ? shades(densities) : (i) => clusters[i] ?? -1;
    for (const g of [...new Set(Array.from({ length: count }, (_, i) => group(i)))].sort(
      (a, b) => a - b,
    ))
      names.set(g, names.size);
    for (let i = 0; i < count; i++) of[i] = names.get(group(i));
    this.order = Uint32Array.from(of.keys()).sort((a, b) => of[a] - of[b]);
    this.of = of;
    this.visible = new Uint32Array(count);
    this.inks = [...names.keys()].map((g) => this.#ink(g));
    this.edge = getComputedStyle(this.root).color;
    this.paper = getComputedStyle(this.view).backgroundColor;
    this.later();
  }

  #ink(group) {
    const probe = document.createElement("i");
    Object.assign(probe, { className: "map-ink", hidden: true });
    if (this.color === "density")
      (probe.classList.add("dense"), probe.style.setProperty("--s", group / (SHADES - 1)));
    else if (group >= 0)
      (probe.classList.add("grouped"), probe.style.setProperty("--h", (group * GOLDEN) % 360));
    this.root.append(probe);
    const { color } = getComputedStyle(probe);
    probe.remove();
    return color;
  }

  later() {
    // one draw per frame, however many events there were
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.#draw();
    });
  }

  #draw() {
    const context = this.canvas.getContext("2d"),
      r = this.#radius(),
      visible = this.#visiblePoints(r);
    context.setTransform(1, 0, 0, 1, 0, 0);
    if (visible.length > MOST_ROUND) this.#squares(context, visible, r);
    else context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    if (visible.length <= MOST_ROUND) this.#rounds(context, visible, r);
    this.labels.draw(context, this, this.edge, this.paper);
    this.lasso.draw(context, this.edge);
    if (this.chosen >= 0) this.#mark(context, r);
  }

  #visiblePoints(r) {
    // features in the order of their colours
    const { order, scale, left, top, width, height } = this,
      { x, y, count } = this.points;
    let filled = 0;
    for (let k = 0; k < count; k++) {
      const i = order[k],
        px = x[i] * scale + left,
        py = y[i] * scale + top;
      if (px > -r && py > -r && px < width + r && py < height + r) this.visible[filled++] = i;
    }
    return this.visible.subarray(0, filled);
  }

  #rounds(context, visible, r) {
    const { of, inks, scale, left, top } = this,
      { x, y } = this.points;
    for (let k = 0; k < visible.length;) {
      const ink = of[visible[k]];
      context.fillStyle = inks[ink];
      context.beginPath();
      for (; k < visible.length && of[visible[k]] === ink; k++) {
        const px = x[visible[k]] * scale + left,
          py = y[visible[k]] * scale + top;
        context.moveTo(px + r, py);
        context.arc(px, py, r, 0, 7);
      }
      context.fill();
    }
  }

  #squares(context, visible, r) {
    // straight into the pixels: a hundred thousand in a few milliseconds
    const { width, height } = this.canvas,
      image = context.createImageData(width, height),
      pixels = new Uint32Array(image.data.buffer);
    const { of, scale, left, top } = this,
      { x, y } = this.points,
      dpr = devicePixelRatio,
      side = Math.max(1, Math.round(2 * r * dpr));
    const words = this.inks.map((ink) => asPixel(ink));
    for (const i of visible) {
      const word = words[of[i]],
        px = Math.round((x[i] * scale + left - r) * dpr),
        py = Math.round((y[i] * scale + top - r) * dpr);
      const first = Math.max(px, 0),
        right = Math.min(px + side, width),
        bottom = Math.min(py + side, height);
      for (let row = Math.max(py, 0); row < bottom; row++) {
        for (let at = row * width + first; at < row * width + right; at++) pixels[at] = word;
      }
    }
    context.putImageData(image, 0, 0);
  }

  #mark(context, r) {
    const px = this.points.x[this.chosen] * this.scale + this.left,
      py = this.points.y[this.chosen] * this.scale + this.top;
    context.beginPath();
    context.arc(px, py, r + 3, 0, 7);
    context.lineWidth = 2;
    context.strokeStyle = this.edge;
    context.stroke();
    const { offsetWidth: w, offsetHeight: h } = this.tip;
    const tipLeft = px + 14 + w < this.width ? px + 14 : Math.max(px - 14 - w, 4);
    const lowest = Math.max(this.height - h - 4, 4);
    const tipTop = Math.min(Math.max(py - h / 2, 4), lowest);
    this.tip.style.transform = `translate(${tipLeft}px, ${tipTop}px)`;
  }

  #radius() {
    const fitting =
      0.2 *
      Math.sqrt((this.width * this.height) / this.points.count) *
      Math.sqrt(this.scale / this.whole);
    return Math.min(Math.max(fitting, 0.8), 6);
  }

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.view;
    Object.assign(this.canvas, {
      width: width * devicePixelRatio,
      height: height * devicePixelRatio,
    });
    Object.assign(this, { width, height });
    const p = this.points,
      room = (size, of) => (of ? (size - 2 * EDGE) / of : Infinity);
    const fit = Math.min(room(width, p.width), room(height, p.height));
    this.whole = Number.isFinite(fit) ? fit : Math.min(width, height) / 2;
    this.reset();
  }

  reset() {
    this.scale = this.whole;
    this.left = (this.width - this.points.width * this.scale) / 2;
    this.top = (this.height - this.points.height * this.scale) / 2;
    this.#moved();
  }

  zoom(by, x = this.width / 2, y = this.height / 2) {
    // the point under (x, y) stays there
    const scale = Math.min(Math.max(this.scale * by, this.whole), this.whole * 200),
      ratio = scale / this.scale;
    if (scale === this.whole) return this.reset();
    Object.assign(this, {
      scale,
      left: x - (x - this.left) * ratio,
      top: y - (y - this.top) * ratio,
    });
    this.#moved();
  }

  pan(dx, dy) {
    // some of the map stays in sight
    const clamp = (at, size, room) => Math.min(Math.max(at, 40 - size), room - 40);
    this.left = clamp(this.left + dx, this.points.width * this.scale, this.width);
    this.top = clamp(this.top + dy, this.points.height * this.scale, this.height);
    this.#moved();
  }

  #moved() {
    // When zoomed in, a finger moves the map, not the page.
    this.canvas.classList.toggle("moved", this.scale > this.whole);
    this.later();
  }

  choose(i, touched = false) {
    this.tip.classList.toggle("touched", touched);
    this.canvas.classList.toggle("on", i >= 0);
    if (i === this.chosen) return;
    this.chosen = i;
    this.tip.hidden = i < 0;
    if (i >= 0) this.#tell(i);
    this.later();
  }

  #tell(i) {
    const { indices, densities, maxima, token, tokens, clusters, sizes, labels } = this.points;
    const line = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
    const share = densities[i] ? `${Number((100 * densities[i]).toPrecision(2))}%` : "none";
    const named = labels[i]
      ? [line("b", labels[i]), line("span", `feature ${indices[i]}`)]
      : [line("b", `Feature ${indices[i]}`)];
    const lines = [...named, line("span", `fires on ${share} of tokens, up to ${maxima[i]}`)];
    if (token[i] >= 0) lines.push(line("span", `promotes “${tokens[token[i]]}”`));
    lines.push(
      line(
        "span",
        clusters[i] === null
          ? "in no cluster"
          : `cluster ${clusters[i]}, of ${sizes.get(clusters[i])} features`,
      ),
    );
    this.tip.replaceChildren(...lines);
    this.tip.href = `${this.root.dataset.home}${indices[i]}/`;
  }

  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  #under(x, y, reach = REACH) {
    return this.points.nearest(
      (x - this.left) / this.scale,
      (y - this.top) / this.scale,
      reach / this.scale,
    );
  }

  #open(event) {
    if (this.chosen < 0) return;
    if (event.ctrlKey || event.metaKey || event.button === 1)
      window.open(this.tip.href, "_blank", "noopener");
    else location.assign(this.tip.href);
  }

  #buttons() {
    const controls = Object.assign(document.createElement("div"), { className: "map-zoom" });
    for (const [text, name, handler] of [
      ["+", "Zoom in", () => this.zoom(1.6)],
      ["−", "Zoom out", () => this.zoom(1 / 1.6)],
      ["⤢", "Show all", () => this.reset()],
    ]) {
      const button = Object.assign(document.createElement("button"), {
        type: "button",
        textContent: text,
        title: name,
        onclick: handler,
      });
      button.setAttribute("aria-label", name);
      controls.append(button);
    }
    controls.append(this.lasso.button);
    return controls;
  }

  #listen() {
    const on = (name, handler, options) => this.canvas.addEventListener(name, handler, options);
    let scrolled = 0;
    addEventListener("scroll", () => (scrolled = performance.now()), { passive: true });
    on(
      "wheel",
      (event) => {
        // The page scrolls on where there is nothing to zoom out of, and where it was scrolling.
        const all = event.deltaY > 0 && this.scale <= this.whole;
        if (all || performance.now() - scrolled < 250) return;
        event.preventDefault();
        this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), ...this.#at(event));
      },
      { passive: false },
    );
    on("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.fingers.set(event.pointerId, this.#at(event));
      this.dragged = 0;
      if (this.fingers.size === 1 && (this.lasso.on || event.shiftKey)) {
        this.lasso.begin(this.#at(event));
        this.lasting = event.pointerId;
      }
    });
    on("pointermove", (event) => {
      const [x, y] = this.#at(event),
        before = this.fingers.get(event.pointerId);
      if (!before) return this.choose(this.#under(x, y));
      if (this.lasting === event.pointerId) return this.lasso.move([x, y]);
      this.#drag(event.pointerId, before, [x, y]);
    });
    on("pointerup", (event) => {
      if (this.lasting === event.pointerId) {
        this.lasting = undefined;
        this.fingers.delete(event.pointerId);
        return this.lasso.end();
      }
      const tapped = this.fingers.delete(event.pointerId) && this.dragged < 5;
      if (!tapped || event.button === 2) return;
      if (event.pointerType === "mouse") this.#open(event);
      // A finger hides what is under it, so the tip becomes the link.
      else this.choose(this.#under(...this.#at(event), 24), true);
    });
    on("pointercancel", (event) => {
      this.fingers.delete(event.pointerId);
      if (this.lasting === event.pointerId) ((this.lasting = undefined), this.lasso.clear());
    });
    on("pointerleave", (event) => event.pointerType === "mouse" && this.choose(-1));
    on("blur", () => this.choose(-1));
    on("keydown", (event) => this.#key(event));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
      this.paint(this.color),
    );
  }

  #drag(id, before, now) {
    // one finger moves the map, two also zoom it about their middle
    const other = [...this.fingers].find(([key]) => key !== id)?.[1];
    this.fingers.set(id, now);
    const share = other ? 0.5 : 1,
      dx = (now[0] - before[0]) * share,
      dy = (now[1] - before[1]) * share;
    this.dragged += Math.hypot(dx, dy);
    this.pan(dx, dy);
    if (!other) return;
    const distance = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
    this.zoom(distance(now) / distance(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = 60,
      moves = {
        ArrowLeft: [step, 0],
        ArrowRight: [-step, 0],
        ArrowUp: [0, step],
        ArrowDown: [0, -step],
      };
    if (event.key === "Enter") return this.#open(event);
    if (event.key === "Escape") return (this.lasso.toggle(false), this.choose(-1));
    if (moves[event.key]) this.pan(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoom(1.6);
    else if (event.key === "-") this.zoom(1 / 1.6);
    else if (event.key === "0") this.reset();
    else return;
    event.preventDefault();
    this.choose(this.#under(this.width / 2, this.height / 2, Math.hypot(this.width, this.height)));
  }
}

const asPixel = (() => {
  // a colour as one word of an image's pixels
  const colors = new Map(),
    context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  return (color) => {
    if (!colors.has(color)) {
      context.fillStyle = color;
      context.fillRect(0, 0, 1, 1);
      colors.set(color, new Uint32Array(context.getImageData(0, 0, 1, 1).data.buffer)[0]);
    }
    return colors.get(color);
  };
})();

function shades(densities) {
  // by feature, the eighth that it belongs to: from the rarest features to the densest
  const ranked = Float64Array.from(densities).sort();
  const edges = Array.from(
    { length: SHADES - 1 },
    (_, k) => ranked[Math.ceil(((k + 1) * ranked.length) / SHADES) - 1],
  );
  return (i) => edges.filter((edge) => edge < densities[i]).length;
}

async function start(root) {
  const answer = await fetch(root.dataset.src);
  if (!answer.ok) return; // the server's drawing stays
  const map = new FeatureMap(root, await answer.json());
  root.addEventListener("click", (event) => {
    // the links of the colours work without a script too; the address keeps the choice
    const link = event.target.closest("a[data-color]");
    if (!link || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    history.replaceState(history.state, "", link.href);
    for (const other of root.querySelectorAll("a[data-color]"))
      other.removeAttribute("aria-current");
    link.setAttribute("aria-current", "true");
    for (const key of root.querySelectorAll("[data-for]"))
      key.hidden = key.dataset.for !== link.dataset.color;
    map.paint(link.dataset.color);
  });
  root.dataset.ready = "";
}

const root = document.querySelector("#map[data-src]");
if (root) start(root);
