// Features on a map as typed arrays, with a grid that finds the one nearest to a position.
export class Points {
  // Columns as typed arrays; coordinates are scaled to the longer side of the map, y downwards.
  constructor(data) {
    Object.assign(this, data);
    this.count = data.indices.length;
    const [x0, x1] = ends(data.x),
      [y0, y1] = ends(data.y),
      size = Math.max(x1 - x0, y1 - y0) || 1;
    this.x = Float32Array.from(data.x, (x) => (x - x0) / size);
    this.y = Float32Array.from(data.y, (y) => (y - y0) / size);
    this.width = (x1 - x0) / size;
    this.height = (y1 - y0) / size;
    this.sizes = new Map();
    for (const c of data.clusters) this.sizes.set(c, (this.sizes.get(c) || 0) + 1);
    this.side = Math.max(1, Math.floor(Math.sqrt(this.count / 2)));
    this.#fill();
  }

  #cell(x, y) {
    const at = (v) => Math.min(this.side - 1, Math.max(0, Math.floor(v * this.side)));
    return at(y) * this.side + at(x);
  }

  #fill() {
    // the members of cell c are members[starts[c]] to members[starts[c + 1] - 1]
    this.starts = new Uint32Array(this.side * this.side + 1);
    for (let i = 0; i < this.count; i++) this.starts[this.#cell(this.x[i], this.y[i]) + 1]++;
    for (let c = 1; c < this.starts.length; c++) this.starts[c] += this.starts[c - 1];
    const next = this.starts.slice();
    this.members = new Uint32Array(this.count);
    for (let i = 0; i < this.count; i++) this.members[next[this.#cell(this.x[i], this.y[i])]++] = i;
  }

  nearest(x, y, reach) {
    // index of the nearest point within `reach`, or -1
    let best = -1,
      least = reach * reach;
    const low = this.#cell(x - reach, y - reach),
      high = this.#cell(x + reach, y + reach),
      { side } = this;
    for (let row = Math.floor(low / side); row <= Math.floor(high / side); row++) {
      for (
        let k = this.starts[row * side + (low % side)];
        k < this.starts[row * side + (high % side) + 1];
        k++
      ) {
        const i = this.members[k],
          far = (this.x[i] - x) ** 2 + (this.y[i] - y) ** 2;
        if (far <= least) [best, least] = [i, far];
      }
    }
    return best;
  }
}

function ends(values) {
  return values.reduce(
    ([low, high], v) => [Math.min(low, v), Math.max(high, v)],
    [Infinity, -Infinity],
  );
}
