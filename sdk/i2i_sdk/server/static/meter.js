// The live figures: pictures per second, median latency, frames passed over.

const WINDOW = 3000; // ms that the figures look back
const REFRESH = 500;
const STALE = 2000; // ms without a new picture, after which there is nothing to tell

export class Meter {
  #shown = []; // {at, latency} of the pictures in the window
  #dropped = 0;
  #fields;

  /** fields: {fps, latency, dropped}, the elements that show them. */
  constructor(fields) {
    this.#fields = fields;
    setInterval(() => this.#refresh(), REFRESH);
  }

  /** A picture was drawn; `time` is when its frame was taken, on the clock of performance.now(). */
  shown(time) {
    const at = performance.now();
    this.#shown.push({ at, latency: at - time });
  }

  dropped() {
    this.#dropped++;
  }

  reset() {
    this.#shown = [];
    this.#dropped = 0;
    this.#refresh();
  }

  #refresh() {
    const now = performance.now();
    const stale = !this.#shown.length || now - this.#shown[this.#shown.length - 1].at > STALE;
    this.#shown = stale ? [] : this.#shown.filter(({ at }) => now - at <= WINDOW);
    const count = this.#shown.length;
    const span = count > 1 ? this.#shown[count - 1].at - this.#shown[0].at : 0;
    const fps = span > 0 ? (1000 * (count - 1)) / span : null;
    const latencies = this.#shown.map(({ latency }) => latency).sort((a, b) => a - b);
    this.#fields.fps.textContent = fps === null ? "–" : fps.toFixed(fps < 9.95 ? 1 : 0);
    this.#fields.latency.textContent = count ? Math.round(latencies[Math.floor(count / 2)]) : "–";
    this.#fields.dropped.textContent = count ? short(this.#dropped) : "–";
  }
}

/** Counts that would not fit on a phone: 12345 -> "12k". */
const short = (count) => (count < 10_000 ? String(count) : `${Math.floor(count / 1000)}k`);
