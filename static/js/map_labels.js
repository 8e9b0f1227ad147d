// Labels of features on the map: as many as fit without touching, those of denser features first.
const SIZE = 12,
  LONGEST = 34,
  MOST = 70,
  TRIED = 4000,
  GAP = 4;

export class Labels {
  constructor(points) {
    const { labels, densities } = points;
    this.points = points;
    this.ranked = labels
      .map((text, i) => (text ? i : -1))
      .filter((i) => i >= 0)
      .sort((a, b) => densities[b] - densities[a]);
    this.widths = new Map();
  }

  draw(context, map, ink, paper) {
    const { x, y } = this.points,
      { scale, left, top, width, height } = map,
      placed = [];
    Object.assign(context, {
      font: `${SIZE}px system-ui, sans-serif`,
      textBaseline: "middle",
      lineWidth: 3,
      lineJoin: "round",
      fillStyle: ink,
      strokeStyle: paper,
    });
    let tried = 0;
    for (const i of this.ranked) {
      const px = x[i] * scale + left,
        py = y[i] * scale + top;
      if (px < 0 || py < 0 || px > width || py > height) continue;
      if (placed.length >= MOST || ++tried > TRIED) break;
      const text = short(this.points.labels[i]),
        wide = this.#width(context, text);
      // To the left of the dot where the right edge is near.
      const at = px + 8 + wide < width ? px + 8 : px - 8 - wide;
      const box = [at - GAP, py - SIZE / 2 - GAP, at + wide + GAP, py + SIZE / 2 + GAP];
      if (at < 0 || placed.some((other) => meet(box, other))) continue;
      placed.push(box);
      context.strokeText(text, at, py);
      context.fillText(text, at, py);
    }
  }

  #width(context, text) {
    if (!this.widths.has(text)) this.widths.set(text, context.measureText(text).width);
    return this.widths.get(text);
  }
}

const short = (text) => (text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text);
const meet = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
