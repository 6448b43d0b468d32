// Where things are in the timeline: seconds to pixels, lanes to pixels, and what lies under a pixel.

const AXIS = 24;
const COMPACT_HEIGHT = 600;
const TALL = 18;
const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];

class Scale {
  constructor() {
    this.zoom = 1;
    this.tall = false;
    this.width = 0;
    this.left = 0;
    this.top = 0;
    this.span = Math.max(data.end, 0.001);
  }

  /** Height of a lane. Compact lanes fit in the view, as far as they stay visible at all. */
  get lane() {
    if (this.tall) return TALL;
    return Math.max(3, Math.min(TALL, Math.floor(COMPACT_HEIGHT / Math.max(lanes.length, 1))));
  }

  get gutter() {
    return this.width < 560 ? 44 : 64;
  }

  get contentWidth() {
    return this.gutter + (this.width - this.gutter) * this.zoom;
  }

  get contentHeight() {
    return AXIS + lanes.length * this.lane + 6;
  }

  get pixelsPerSecond() {
    // room at the right for the mark of a death at the very end
    return ((this.width - this.gutter - 14) * this.zoom) / this.span;
  }

  x(seconds) {
    return this.gutter + seconds * this.pixelsPerSecond - this.left;
  }

  seconds(x) {
    return (x + this.left - this.gutter) / this.pixelsPerSecond;
  }

  y(lane) {
    return AXIS + lane * this.lane - this.top;
  }

  laneAt(y) {
    return y < AXIS ? null : lanes[Math.floor((y + this.top - AXIS) / this.lane)] ?? null;
  }

  /** The attempt at a point; one that is not good is caught from some pixels away. */
  attemptAt(x, y) {
    const lane = this.laneAt(y);
    if (!lane || x < this.gutter) return null;
    const near = (attempt, reach) => this.x(attempt.start) - reach <= x && x <= this.x(attempt.end) + reach;
    return (
      this.notableNear(lane, x) ??
      lane.attempts.findLast((attempt) => near(attempt, 0)) ??
      lane.attempts.findLast((attempt) => near(attempt, 2)) ??
      null
    );
  }

  notableNear(lane, x) {
    // marks are larger than a thin lane, so those of its neighbours count as well
    const reach = this.lane < 8 ? 1 : 0;
    for (const distance of reach ? [0, -1, 1] : [0]) {
      const found = lanes[lane.index + distance]?.attempts.find(
        (attempt) => attempt.notable && Math.abs(this.x(markTime(attempt)) - x) < 6,
      );
      if (found) return found;
    }
    return null;
  }

  ticks() {
    const step = STEPS.find((each) => each * this.pixelsPerSecond >= 76) ?? STEPS.at(-1);
    const first = Math.max(0, Math.ceil(this.seconds(this.gutter) / step) * step);
    const found = [];
    for (let at = first; this.x(at) < this.width && at <= this.span; at += step) found.push(at);
    return { step, found };
  }
}

/** Where the mark of an attempt stands. */
const markTime = (attempt) => (attempt.kind === "lost" || attempt.kind === "crashed" ? attempt.end : (attempt.start + attempt.end) / 2);

function tickText(seconds, step) {
  if (seconds >= 60 || step >= 60) {
    const minutes = Math.floor(seconds / 60 + 1e-6);
    const rest = Math.round(seconds - minutes * 60);
    return `${minutes}:${String(rest).padStart(2, "0")}`;
  }
  return `${step < 1 ? seconds.toFixed(step < 0.1 ? 2 : 1) : Math.round(seconds)}s`;
}
