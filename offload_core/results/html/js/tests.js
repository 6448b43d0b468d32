// The table of tests: search, filters, order, and what is open.

class TestTable {
  constructor() {
    this.states = new Set();
    this.order = { name: "state", descending: false };
    this.opened = new Set();
    this.rows = new Map();
    this.table = new LazyTable(
      byId("test-table"),
      "Tests. The button in a row opens its details below it.",
      [
        { name: "state", title: "State", style: "w-state", sortable: true },
        { name: "id", title: "Test", style: "", sortable: true },
        { name: "sandbox", title: "Sandbox", style: "w-sandbox", sortable: true },
        { name: "attempts", title: "Attempts", style: "n w-n w-attempts", sortable: true },
        { name: "seconds", title: "Time", style: "n w-n", sortable: true },
      ],
      (test) => this.row(test),
      (name) => this.sort(name),
    );
    this.makeFilters();
    this.update();
  }

  makeFilters() {
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    byId("search").addEventListener("input", () => this.update());
    this.buttons = new Map();
    const counts = new Map();
    for (const test of tests) counts.set(test.state, (counts.get(test.state) ?? 0) + 1);
    const all = make("button", { type: "button", onclick: () => this.only([]) }, "All");
    this.buttons.set("all", all);
    for (const state of SEVERITY.filter((each) => counts.has(each))) {
      const number = make("span", { class: "note" }, thousands(counts.get(state)));
      const button = make("button", { type: "button", class: `s-${state}`, onclick: () => this.toggle(state) }, icon(state), words(state), number);
      this.buttons.set(state, button);
    }
    byId("states").append(...this.buttons.values());
    choices("group", data.groups.length > 1 ? data.groups : [], () => this.update());
    choices("lane", lanes.map((lane) => lane.name), () => this.update());
  }

  toggle(state) {
    if (!this.states.delete(state)) this.states.add(state);
    this.update();
  }

  only(states) {
    this.states = new Set(states);
    this.update();
  }

  sort(name) {
    const same = this.order.name === name;
    this.order = { name, descending: same ? !this.order.descending : name === "seconds" || name === "attempts" };
    this.update();
  }

  update() {
    const wanted = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const group = byId("group").value;
    const lane = byId("lane").value;
    const found = tests.filter(
      (test) =>
        (!this.states.size || this.states.has(test.state)) &&
        (!group || test.group === group) &&
        (!lane || test.attempts.some((attempt) => attempt.lane?.name === lane)) &&
        wanted.every((word) => test.text.includes(word)),
    );
    this.table.sorted(this.order.name, this.order.descending);
    this.rows.clear();
    this.table.show(ordered(found, this.order));
    for (const [state, button] of this.buttons) {
      button.setAttribute("aria-pressed", String(state === "all" ? !this.states.size : this.states.has(state)));
    }
    byId("shown").textContent =
      found.length === tests.length ? plural(tests.length, "test") : `${thousands(found.length)} of ${plural(tests.length, "test")}`;
  }

  row(test) {
    const [before, after] = split(test);
    const open = make(
      "button",
      { type: "button", class: "open", "aria-expanded": "false", onclick: () => this.flip(test) },
      icon("open"),
      make("span", {}, make("span", { class: "path" }, before), after),
    );
    const name = make("td", {}, open);
    if (test.message && test.state !== "passed") name.append(make("span", { class: "why" }, test.message));
    const row = make(
      "tr", { class: "row", id: `row-${test.index}` },
      make("td", { class: "c-state" }, badge(test.state)),
      name,
      make("td", { class: "c-sandbox" }, test.lane?.name ?? ""),
      make("td", { class: "n c-attempts" }, String(test.attempts.length)),
      make("td", { class: "n" }, test.deciding ? duration(test.seconds) : "–"),
    );
    this.rows.set(test.index, { row, open });
    if (!this.opened.has(test.index)) return row;
    const both = document.createDocumentFragment();
    both.append(row, this.expand(test, open));
    return both;
  }

  flip(test) {
    const { row, open } = this.rows.get(test.index);
    if (this.opened.delete(test.index)) {
      open.setAttribute("aria-expanded", "false");
      open.removeAttribute("aria-controls");
      row.nextSibling.remove();
    } else {
      this.opened.add(test.index);
      row.after(this.expand(test, open));
    }
  }

  expand(test, open) {
    const id = `details-${test.index}`;
    open.setAttribute("aria-expanded", "true");
    open.setAttribute("aria-controls", id);
    return make("tr", { class: "details", id }, make("td", { colspan: "5" }, ...detailsOf(test)));
  }

  /** Show a test, whatever is filtered now, with its details. */
  reveal(index) {
    const test = tests[index];
    if (!test) return;
    if (!this.table.items.includes(test)) {
      for (const id of ["search", "group", "lane"]) byId(id).value = "";
      this.only([]);
    }
    const place = this.table.items.indexOf(test);
    if (place >= this.table.made) this.table.extend(place);
    if (!this.opened.has(index)) this.flip(test);
    const { row, open } = this.rows.get(index);
    row.scrollIntoView({ block: "start" });
    open.focus({ preventScroll: true });
  }
}

function choices(id, names, changed) {
  byId(`${id}-choice`).hidden = !names.length;
  byId(id).append(make("option", { value: "" }, "any"), ...names.map((name) => make("option", { value: name }, name)));
  byId(id).addEventListener("change", changed);
}

/** The id in two parts: the module, and what is in it. */
function split({ id, path }) {
  return id.startsWith(`${path}::`) ? [`${path}::`, id.slice(path.length + 2)] : ["", id];
}

function ordered(found, { name, descending }) {
  const key = {
    state: (test) => test.severity,
    id: (test) => test.id,
    sandbox: (test) => test.lane?.index ?? -1,
    attempts: (test) => test.attempts.length,
    seconds: (test) => test.seconds,
  }[name];
  const direction = descending ? -1 : 1;
  const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  return found.sort((a, b) => direction * compare(key(a), key(b)) || a.index - b.index);
}
