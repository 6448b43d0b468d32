// How the timeline looks. An outcome that is not good has a colour, a pattern where there is room, and a mark of its own.

const COLOURS = [
  "surface", "sunken", "line", "strong-line", "ink", "soft", "accent", "life", "creating", "opening", "rest",
  "passed", "failed", "error", "timed_out", "crashed", "skipped", "xfailed", "xpassed", "lost",
];
const FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", "DejaVu Sans", sans-serif';

/** The colours of the theme in use, as a canvas takes them. */
function themeColours() {
  const probe = make("span", { class: "hidden" });
  document.body.append(probe);
  const found = {};
  for (const name of COLOURS) {
    probe.style.color = `var(--${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return { ...found, dropped: found.lost, unfinished: found.lost };
}

class Painter {
  constructor(context, scale) {
    this.context = context;
    this.scale = scale;
    this.colours = themeColours();
  }

  /** All that can be seen now. */
  paint(height, selected, hovered) {
    const { context, scale, colours } = this;
    context.fillStyle = colours.surface;
    context.fillRect(0, 0, scale.width, height);
    const first = Math.max(0, Math.floor((scale.top - 2 * AXIS) / scale.lane));
    const seen = lanes.slice(first, Math.ceil((scale.top + height) / scale.lane) + 1);
    context.save();
    context.beginPath();
    context.rect(scale.gutter, 0, scale.width, height);
    context.clip();
    this.grid(height);
    if (hovered) this.highlight(hovered.index);
    for (const lane of seen) this.life(lane);
    for (const lane of seen) this.blocks(lane);
    for (const lane of seen) this.marks(lane);
    if (selected) this.selection(selected);
    context.restore();
    this.gutter(seen, height);
    this.axis();
  }

  grid(height) {
    const { context, scale, colours } = this;
    context.fillStyle = colours.line;
    for (const at of scale.ticks().found) context.fillRect(Math.round(scale.x(at)), AXIS, 1, height);
  }

  highlight(index) {
    this.context.fillStyle = this.colours.sunken;
    this.context.fillRect(0, this.scale.y(index) - 1, this.scale.width, this.scale.lane + 1);
  }

  get gap() {
    return this.scale.lane >= 10 ? 3 : this.scale.lane >= 5 ? 1 : 0.5;
  }

  /** A thin line while it is created and starts sessions, a band while it can work. */
  life(lane) {
    const { context, scale, colours } = this;
    const ended = scale.x(lane.ended ?? data.end);
    const working = Math.min(lane.opened === null ? ended : scale.x(lane.opened), ended);
    const y = scale.y(lane.index);
    const middle = y + (scale.lane - this.gap) / 2;
    context.fillStyle = colours.creating;
    const start = scale.x(lane.starting);
    const ready = lane.ready === null ? ended : Math.min(scale.x(lane.ready), working);
    context.fillRect(start, Math.round(middle) - 0.5, ready - start, 1);
    context.fillStyle = colours.life;
    context.fillRect(working, y, ended - working, scale.lane - this.gap);
    this.starting(ready, working, y);
    for (let place = 1; place < lane.sessions.length; place += 1) {
      const [[, before], [opened]] = [lane.sessions[place - 1], lane.sessions[place]];
      if (before !== null && opened > before) this.starting(scale.x(before), scale.x(opened), y);
    }
  }

  starting(from, to, y) {
    const { context, scale, colours } = this;
    const height = scale.lane - this.gap;
    context.fillStyle = colours.surface;
    context.fillRect(from, y, to - from, height);
    context.fillStyle = colours.opening;
    context.fillRect(from, Math.round(y + height / 2) - 0.5, to - from, scale.lane >= 8 ? 3 : 1.5);
  }

  blocks(lane) {
    const { scale } = this;
    const y = scale.y(lane.index);
    const height = scale.lane - this.gap;
    for (const notable of [false, true]) {
      for (const attempt of lane.attempts) {
        if (attempt.notable !== notable) continue;
        const x = scale.x(attempt.start);
        const end = scale.x(attempt.end);
        if (end < scale.gutter - 4 || x > scale.width) continue;
        // neighbours stay apart where there is room, and nothing becomes invisible
        const width = Math.max(end - x - (end - x > 3 ? 1 : 0), notable ? 2.5 : 0.7);
        this.block(attempt.kind, x, y, width, height);
      }
    }
  }

  block(kind, x, y, width, height) {
    const { context, colours } = this;
    const faint = ["dropped", "unfinished", "lost", "skipped"].includes(kind);
    context.fillStyle = colours[kind];
    if (!faint || height < 5 || width < 4) {
      context.globalAlpha = faint ? 0.5 : 1;
      context.fillRect(x, y, width, height);
      context.globalAlpha = 1;
      if (height >= 7 && width >= 7) this.pattern(kind, x, y, width, height);
      return;
    }
    context.fillStyle = colours.surface;
    context.fillRect(x, y, width, height);
    context.save();
    context.strokeStyle = colours[kind];
    context.lineWidth = 1;
    if (kind !== "skipped") context.setLineDash([3, 2]);
    context.strokeRect(x + 0.5, y + 0.5, width - 1, height - 1);
    if (kind === "lost") {
      context.setLineDash([]);
      context.beginPath();
      line(context, x, y + height, x + Math.min(width, height * 1.5), y);
      context.stroke();
    }
    context.restore();
  }

  pattern(kind, x, y, width, height) {
    const { context, colours } = this;
    if (!["failed", "error", "timed_out", "crashed", "xfailed", "xpassed"].includes(kind)) return;
    context.save();
    context.beginPath();
    context.rect(x, y, width, height);
    context.clip();
    context.strokeStyle = colours.surface;
    context.globalAlpha = 0.45;
    context.lineWidth = 1.2;
    context.beginPath();
    const end = Math.min(x + width, this.scale.width) + height;
    for (let at = Math.max(x, -height) - height; at < end; at += 6) {
      if (kind === "timed_out") line(context, at, y, at, y + height);
      if (kind === "failed" || kind === "crashed") line(context, at, y + height, at + height, y);
      if (kind === "crashed") line(context, at, y, at + height, y + height);
    }
    if (kind === "error") for (let at = y + 2; at < y + height; at += 4) line(context, x, at, x + width, at);
    if (kind === "xfailed" || kind === "xpassed") line(context, x, y + height / 2, x + width, y + height / 2);
    context.stroke();
    context.restore();
  }

  marks(lane) {
    const { scale } = this;
    const middle = scale.y(lane.index) + (scale.lane - this.gap) / 2;
    const seen = (x) => x > scale.gutter - 6 && x < scale.width + 6;
    for (const attempt of lane.attempts) {
      const start = scale.x(attempt.start);
      if (attempt.rerun && seen(start)) this.rerun(start, middle);
      const x = scale.x(markTime(attempt));
      const inside = scale.lane >= 10 && scale.x(attempt.end) - start >= 16;
      if (attempt.notable && attempt.kind !== "lost" && seen(x)) this.mark(attempt.kind, x, middle, inside);
    }
    if (DIED.has(lane.how)) {
      const x = scale.x(lane.ended ?? data.end);
      if (seen(x)) this.death(x + 5, middle);
    }
  }

  get size() {
    return Math.max(3.4, Math.min(5, this.scale.lane / 3.2));
  }

  /** Shapes: failed a cross, error a triangle, timed out a ring, crashed a diamond. `inside`: there is room in the block. */
  mark(kind, x, y, inside) {
    const { context, colours, size } = this;
    const path = new Path2D();
    if (kind === "failed") {
      path.moveTo(x - size, y - size);
      path.lineTo(x + size, y + size);
      path.moveTo(x + size, y - size);
      path.lineTo(x - size, y + size);
    } else if (kind === "error") {
      path.moveTo(x, y - size);
      path.lineTo(x + size, y + size * 0.9);
      path.lineTo(x - size, y + size * 0.9);
      path.closePath();
    } else if (kind === "timed_out") {
      path.arc(x, y, size, 0, 2 * Math.PI);
    } else if (kind === "crashed") {
      path.moveTo(x, y - size - 1);
      path.lineTo(x + size + 1, y);
      path.lineTo(x, y + size + 1);
      path.lineTo(x - size - 1, y);
      path.closePath();
    } else return;
    context.lineJoin = "round";
    context.lineCap = "round";
    context.strokeStyle = inside ? colours[kind] : colours.surface;
    context.lineWidth = inside ? 7 : 4.5;
    context.stroke(path);
    context.fillStyle = inside ? colours[kind] : colours.surface;
    if (kind !== "failed") context.fill(path);
    context.strokeStyle = inside ? colours.surface : colours[kind];
    context.lineWidth = 1.8;
    context.stroke(path);
  }

  rerun(x, y) {
    const { context, colours, size } = this;
    const path = new Path2D();
    path.moveTo(x, y - size);
    path.lineTo(x + size * 1.4, y);
    path.lineTo(x, y + size);
    path.closePath();
    context.strokeStyle = colours.surface;
    context.lineWidth = 2.5;
    context.stroke(path);
    context.fillStyle = colours.accent;
    context.fill(path);
  }

  death(x, y) {
    const { context, colours } = this;
    const size = Math.max(this.size, 4);
    context.fillStyle = colours.surface;
    context.fillRect(x - size - 2, y - size - 2, 2 * size + 4, 2 * size + 4);
    context.fillStyle = colours.crashed;
    context.fillRect(x - size - 0.5, y - size - 0.5, 2 * size + 1, 2 * size + 1);
    context.strokeStyle = colours.surface;
    context.lineWidth = 1.6;
    context.lineCap = "round";
    context.beginPath();
    line(context, x - size + 2, y - size + 2, x + size - 2, y + size - 2);
    line(context, x + size - 2, y - size + 2, x - size + 2, y + size - 2);
    context.stroke();
  }

  /** An outline, and lines to where the same test ran before and after. */
  selection(attempt) {
    const { context, scale, colours } = this;
    const middle = (each) => scale.y(each.lane.index) + (scale.lane - this.gap) / 2;
    const all = attempt.test.attempts.filter((each) => each.lane);
    context.strokeStyle = colours.accent;
    context.lineWidth = 1.5;
    context.setLineDash([4, 3]);
    for (let place = 1; place < all.length; place += 1) {
      const [from, to] = [all[place - 1], all[place]];
      context.beginPath();
      line(context, scale.x(Math.min(from.end, to.start)), middle(from), scale.x(to.start), middle(to));
      context.stroke();
    }
    context.setLineDash([]);
    for (const each of all) this.outline(each, each === attempt ? colours.ink : colours.accent, each === attempt ? 2 : 1.5);
  }

  outline(attempt, colour, width) {
    const { context, scale } = this;
    const x = scale.x(attempt.start);
    const height = Math.max(scale.lane - this.gap, 5);
    const y = scale.y(attempt.lane.index) + (scale.lane - this.gap - height) / 2;
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.strokeRect(x - 1.5, y - 1.5, Math.max(scale.x(attempt.end) - x, 3) + 2, height + 3);
  }

  gutter(seen, height) {
    const { context, scale, colours } = this;
    context.fillStyle = colours.surface;
    context.fillRect(0, 0, scale.gutter, height);
    context.fillStyle = colours.line;
    context.fillRect(scale.gutter - 1, 0, 1, height);
    context.font = FONT;
    context.fillStyle = colours.soft;
    context.textBaseline = "middle";
    context.textAlign = "right";
    const every = Math.max(1, Math.ceil(15 / scale.lane));
    for (const lane of seen) {
      const y = scale.y(lane.index) + (scale.lane - this.gap) / 2;
      if (lane.index % every || y < AXIS) continue;
      context.fillText(clipped(context, lane.name, scale.gutter - 12), scale.gutter - 7, y + (every > 1 ? 3 : 0));
    }
  }

  axis() {
    const { context, scale, colours } = this;
    context.fillStyle = colours.surface;
    context.fillRect(0, 0, scale.width, AXIS - 4);
    context.fillStyle = colours.line;
    context.fillRect(0, AXIS - 4, scale.width, 1);
    context.fillStyle = colours.soft;
    context.font = FONT;
    context.textAlign = "left";
    context.textBaseline = "middle";
    const { step, found } = scale.ticks();
    for (const at of found) {
      const x = Math.round(scale.x(at));
      context.fillRect(x, AXIS - 8, 1, 5);
      const text = tickText(at, step);
      if (x + 4 + context.measureText(text).width < scale.width) context.fillText(text, x + 4, AXIS / 2 - 2);
    }
    context.fillStyle = colours.surface;
    context.fillRect(0, 0, scale.gutter, AXIS - 4);
  }
}

function line(context, fromX, fromY, toX, toY) {
  context.moveTo(fromX, fromY);
  context.lineTo(toX, toY);
}

function clipped(context, text, width) {
  let shown = text;
  while (shown && context.measureText(shown).width > width) shown = shown.slice(0, -1);
  return shown === text ? text : `${shown.slice(0, -1)}…`;
}
