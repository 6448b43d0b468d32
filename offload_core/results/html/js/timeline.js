// The timeline as something to look around in: scrolling is the browser's own, the canvas shows what is in view.

const MAX_ZOOM = 400;

const LEGEND = {
  dropped: "copy, not needed",
  unfinished: "had not ended",
  rerun: "run again",
  death: "sandbox died",
  creating: "being created",
  opening: "starting a session",
};

class Timeline {
  constructor() {
    this.scroller = byId("scroller");
    this.canvas = byId("canvas");
    this.tip = byId("tip");
    this.scale = new Scale();
    this.painter = new Painter(this.canvas.getContext("2d"), this.scale);
    this.selected = null;
    this.hovered = null;
    this.pending = 0;
    this.listen();
    this.legend();
    new ResizeObserver(() => this.layout()).observe(byId("chart"));
    this.layout();
  }

  listen() {
    const { scroller } = this;
    const press = (id, act) => byId(id).addEventListener("click", act);
    press("zoom-in", () => this.zoom(2));
    press("zoom-out", () => this.zoom(0.5));
    press("fit", () => this.fit());
    press("tall", () => this.heighten());
    press("as-table", () => this.flip());
    scroller.addEventListener("scroll", () => this.draw());
    scroller.addEventListener("keydown", (event) => this.key(event));
    scroller.addEventListener("blur", () => (this.tip.hidden = true));
    scroller.addEventListener("pointerleave", () => this.point(null));
    scroller.addEventListener("pointermove", (event) => this.point(event));
    scroller.addEventListener("pointerdown", (event) => this.drag(event));
    scroller.addEventListener("click", (event) => this.click(event));
    scroller.addEventListener(
      "wheel",
      (event) => {
        if (!event.ctrlKey && !event.metaKey) return;
        event.preventDefault();
        this.zoom(2 ** (-event.deltaY / 200), this.place(event).x);
      },
      { passive: false },
    );
  }

  // -- drawing

  layout() {
    const { scroller, scale, canvas } = this;
    if (byId("chart").hidden) return;
    const height = Math.min(scale.contentHeight + 2, Math.max(240, window.innerHeight * 0.8));
    scroller.style.height = `${Math.ceil(height) + (scale.zoom > 1 ? 14 : 0)}px`;
    scale.width = scroller.clientWidth;
    const extent = byId("extent");
    extent.style.width = `${Math.floor(scale.contentWidth)}px`;
    extent.style.height = `${scale.contentHeight}px`;
    const ratio = window.devicePixelRatio || 1;
    const shown = Math.min(scroller.clientHeight, scale.contentHeight);
    canvas.width = Math.round(scale.width * ratio);
    canvas.height = Math.round(shown * ratio);
    canvas.style.width = `${scale.width}px`;
    canvas.style.height = `${shown}px`;
    this.ratio = ratio;
    this.height = shown;
    this.draw();
  }

  draw() {
    this.pending ||= requestAnimationFrame(() => {
      this.pending = 0;
      this.scale.left = this.scroller.scrollLeft;
      this.scale.top = this.scroller.scrollTop;
      this.painter.context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
      this.painter.paint(this.height, this.selected, this.hovered);
    });
  }

  recolour() {
    this.painter.colours = themeColours();
    this.legend();
    this.draw();
  }

  legend() {
    const all = tests.flatMap((test) => test.attempts);
    const kinds = new Set(all.map((attempt) => attempt.kind));
    const marks = [...SEVERITY.toReversed(), "lost", "dropped", "unfinished"].filter((kind) => kinds.has(kind));
    if (all.some((attempt) => attempt.rerun)) marks.push("rerun");
    if (lanes.some((lane) => DIED.has(lane.how))) marks.push("death");
    marks.push("creating", "opening");
    byId("legend").replaceChildren(...marks.map((kind) => make("li", {}, this.sample(kind), LEGEND[kind] ?? words(kind))));
  }

  sample(kind) {
    const ratio = window.devicePixelRatio || 1;
    const canvas = make("canvas", { width: String(18 * ratio), height: String(12 * ratio), "aria-hidden": "true" });
    const painter = new Painter(canvas.getContext("2d"), { lane: 15, width: 18 });
    painter.context.scale(ratio, ratio);
    if (kind === "rerun") painter.rerun(6, 6);
    else if (kind === "death") painter.death(9, 6);
    else if (kind === "creating" || kind === "opening") painter.block(kind, 0, 5, 18, 2);
    else {
      painter.block(kind, 0, 0, 18, 12);
      painter.mark(kind, 9, 6, true);
    }
    return canvas;
  }

  // -- looking around

  zoom(factor, at = this.focus()) {
    const { scale, scroller } = this;
    const seconds = scale.seconds(at);
    scale.zoom = Math.min(MAX_ZOOM, Math.max(1, scale.zoom * factor));
    this.layout();
    scroller.scrollLeft = scale.gutter + seconds * scale.pixelsPerSecond - at;
    this.draw();
  }

  /** Where to zoom when no pointer says: the selected attempt if it is in view, else the middle. */
  focus() {
    const x = this.selected ? this.scale.x(this.selected.start) : -1;
    return x > this.scale.gutter && x < this.scale.width ? x : (this.scale.width + this.scale.gutter) / 2;
  }

  fit() {
    this.scale.zoom = 1;
    this.layout();
  }

  heighten() {
    const { scale, scroller } = this;
    const middle = (scroller.scrollTop + this.height / 2 - AXIS) / scale.lane;
    scale.tall = !scale.tall;
    byId("tall").setAttribute("aria-pressed", String(scale.tall));
    this.layout();
    scroller.scrollTop = middle * scale.lane + AXIS - this.height / 2;
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  point(event) {
    const { x, y } = event ? this.place(event) : { x: -1, y: -1 };
    this.hovered = event ? this.scale.laneAt(y) : null;
    this.draw();
    if (!this.hovered) this.tip.hidden = true;
    else this.show(this.scale.attemptAt(x, y), this.hovered, x, y);
  }

  /** The tip, beside a point of the canvas. */
  show(attempt, lane, x, y) {
    const { tip } = this;
    if (attempt) {
      const number = attempt.test.attempts.length > 1 ? ` · attempt ${attempt.place + 1} of ${attempt.test.attempts.length}` : "";
      tip.replaceChildren(
        badge(data.outcomes.includes(attempt.kind) ? attempt.kind : "dropped", told(attempt)),
        make("span", { class: "test" }, attempt.test.id),
        make("span", { class: "note" }, `${attempt.lane.name} · ${duration(attempt.seconds)} from ${duration(attempt.start)}${number}`),
      );
    } else {
      tip.replaceChildren(make("b", {}, lane.name), make("div", { class: "note" }, lifeOf(lane)));
    }
    tip.hidden = false;
    const room = byId("chart").clientWidth;
    tip.style.left = `${Math.max(0, Math.min(x + 14, room - tip.offsetWidth - 4))}px`;
    tip.style.top = `${y + 18 + tip.offsetHeight > this.height + 40 ? y - tip.offsetHeight - 12 : y + 18}px`;
  }

  drag(start) {
    this.moved = false;
    if (start.pointerType !== "mouse" || start.button !== 0 || start.offsetX > this.scroller.clientWidth + this.scroller.scrollLeft) return;
    const { scroller } = this;
    const from = { left: scroller.scrollLeft, top: scroller.scrollTop };
    const move = (event) => {
      const [x, y] = [event.clientX - start.clientX, event.clientY - start.clientY];
      if (!this.moved && Math.abs(x) + Math.abs(y) < 5) return;
      this.moved = true;
      scroller.classList.add("dragging");
      scroller.scrollTo(from.left - x, from.top - y);
    };
    const end = () => {
      scroller.classList.remove("dragging");
      window.removeEventListener("pointermove", move);
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", end, { once: true });
  }

  click(event) {
    if (this.moved) return;
    const { x, y } = this.place(event);
    const attempt = this.scale.attemptAt(x, y);
    if (!attempt) return;
    this.select(attempt);
    location.hash = `t${attempt.test.index}`;
  }

  // -- with the keyboard

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const acts = {
      ArrowRight: () => this.step(1),
      ArrowLeft: () => this.step(-1),
      ArrowDown: () => this.cross(1),
      ArrowUp: () => this.cross(-1),
      n: () => this.next(1),
      N: () => this.next(-1),
      "+": () => this.zoom(2),
      "=": () => this.zoom(2),
      "-": () => this.zoom(0.5),
      0: () => this.fit(),
      l: () => this.heighten(),
      Enter: () => this.selected && (location.hash = `t${this.selected.test.index}`),
      Escape: () => this.select(null),
    };
    const act = acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  step(by) {
    const lane = this.selected?.lane ?? lanes.find((each) => each.attempts.length);
    if (!lane) return;
    const place = this.selected ? lane.attempts.indexOf(this.selected) + by : 0;
    this.choose(lane.attempts[Math.min(Math.max(place, 0), lane.attempts.length - 1)]);
  }

  cross(by) {
    if (!this.selected) return this.step(0);
    const { lane, start } = this.selected;
    let index = lane.index + by;
    while (lanes[index] && !lanes[index].attempts.length) index += by;
    if (!lanes[index]) return;
    const away = (attempt) => Math.abs(attempt.start - start);
    this.choose(lanes[index].attempts.reduce((best, each) => (away(each) < away(best) ? each : best)));
  }

  /** The next attempt by time, on any lane, that is not good. */
  next(by) {
    this.notable ??= lanes.flatMap((lane) => lane.attempts.filter((each) => each.notable)).sort((a, b) => a.start - b.start);
    if (!this.notable.length) return;
    const place = this.notable.indexOf(this.selected);
    const after = place < 0 ? (by > 0 ? 0 : -1) : place + by;
    this.choose(this.notable.at(after % this.notable.length));
  }

  choose(attempt) {
    this.select(attempt);
    const { lane, test } = attempt;
    byId("chart-live").textContent =
      `${lane.name}, lane ${lane.index + 1} of ${lanes.length}: ${test.id}, ${told(attempt)}, ` +
      `${duration(attempt.seconds)} from ${duration(attempt.start)}`;
    const { scale } = this;
    this.show(attempt, lane, Math.max(scale.x(attempt.start), scale.gutter), scale.y(lane.index));
  }

  select(attempt) {
    this.selected = attempt;
    if (!attempt) this.tip.hidden = true;
    else this.bring(attempt);
    this.draw();
  }

  /** Scroll so that an attempt is in view. */
  bring(attempt) {
    const { scale, scroller } = this;
    [scale.left, scale.top] = [scroller.scrollLeft, scroller.scrollTop];
    const x = scale.x(attempt.start);
    const y = scale.y(attempt.lane.index);
    if (x < scale.gutter + 10 || x > scale.width - 40) scroller.scrollLeft += x - scale.width / 3;
    if (y < AXIS + 4 || y > this.height - 24) scroller.scrollTop += y - this.height / 2;
    [scale.left, scale.top] = [scroller.scrollLeft, scroller.scrollTop];
  }

  /** From the table of tests: show where an attempt was. */
  reveal(attempt) {
    if (byId("chart").hidden) this.flip();
    byId("timeline").scrollIntoView();
    this.scroller.focus({ preventScroll: true });
    this.choose(attempt);
  }

  // -- the same as a table

  flip() {
    const asTable = !byId("chart").hidden;
    byId("chart").hidden = asTable;
    byId("timeline-table").hidden = !asTable;
    byId("as-table").setAttribute("aria-pressed", String(asTable));
    for (const id of ["zoom-in", "zoom-out", "fit", "tall"]) byId(id).disabled = asTable;
    if (!asTable) this.layout();
    else if (!this.table) {
      this.table = attemptTable(byId("timeline-table"));
      this.table.show(tests.flatMap((test) => test.attempts).sort((a, b) => a.start - b.start));
    }
  }
}

function lifeOf(lane) {
  const parts = [`ordered at ${duration(lane.starting)}`];
  if (lane.ready !== null) parts.push(`ready after ${duration(lane.ready - lane.starting)}`);
  if (lane.ended !== null) parts.push(`${words(lane.how)} at ${duration(lane.ended)}`);
  parts.push(plural(lane.attempts.length, "test"));
  return parts.join(" · ");
}

/** Every attempt in the order of time: what the canvas shows, for those who do not see it. */
function attemptTable(parent) {
  const link = (test) => make("a", { class: "test", href: `#t${test.index}` }, test.id);
  return new LazyTable(
    parent,
    "Every attempt, in the order in which they began",
    [
      { name: "start", title: "Start", style: "n w-n" },
      { name: "sandbox", title: "Sandbox", style: "w-sandbox" },
      { name: "test", title: "Test", style: "" },
      { name: "outcome", title: "Outcome", style: "w-state" },
      { name: "seconds", title: "Time", style: "n w-n" },
    ],
    (attempt) =>
      make(
        "tr", {},
        make("td", { class: "n" }, duration(attempt.start)),
        make("td", { class: "c-sandbox" }, attempt.lane?.name ?? ""),
        make("td", {}, link(attempt.test)),
        make("td", { class: "c-state" }, badge(data.outcomes.includes(attempt.kind) ? attempt.kind : "dropped", told(attempt))),
        make("td", { class: "n" }, duration(attempt.seconds)),
      ),
  );
}
