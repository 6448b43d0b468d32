// A table whose rows are made when they come near: real rows, in the order of the page, so that the keyboard, the
// screen reader and the browser's own search find what they expect.

const CHUNK = 100;

class LazyTable {
  /**
   * @param parent gets the table. @param caption says what it is.
   * @param columns [{name, title, style, sortable}]. @param row makes the `<tr>` of an item.
   */
  constructor(parent, caption, columns, row, onSort = null) {
    this.row = row;
    this.items = [];
    this.made = 0;
    this.headers = new Map(columns.map((column) => [column.name, header(column, onSort)]));
    this.body = make("tbody");
    this.more = make("button", { type: "button", class: "more", onclick: () => this.extend() }, "Show more");
    this.empty = make("p", { class: "empty" }, "Nothing matches.");
    const table = make(
      "table", {},
      make("caption", { class: "hidden" }, caption),
      make("thead", {}, make("tr", {}, ...this.headers.values())),
      this.body,
    );
    parent.append(table, this.empty, this.more);
    new IntersectionObserver((seen) => seen[0].isIntersecting && this.extend(), { rootMargin: "600px" }).observe(this.more);
  }

  show(items) {
    this.items = items;
    this.made = 0;
    this.body.replaceChildren();
    this.empty.hidden = items.length > 0;
    this.extend();
  }

  /** Make the rows up to and including the one at `index`, and some more. */
  extend(index = this.made) {
    const end = Math.min(this.items.length, Math.max(index + 1, this.made + CHUNK));
    this.body.append(...this.items.slice(this.made, end).map((item) => this.row(item)));
    this.made = end;
    this.more.hidden = end >= this.items.length;
    this.more.textContent = `Show more (${thousands(this.items.length - end)} left)`;
  }

  sorted(name, descending) {
    for (const [each, element] of this.headers) {
      const button = element.querySelector("button");
      if (!button) continue;
      element.setAttribute("aria-sort", each !== name ? "none" : descending ? "descending" : "ascending");
      button.lastChild.replaceWith(icon(each !== name ? "sort" : descending ? "down" : "up"));
    }
  }
}

function header({ name, title, style, sortable }, onSort) {
  const element = make("th", { scope: "col", class: style });
  if (!sortable) element.append(title);
  else element.append(make("button", { type: "button", class: "sort", onclick: () => onSort(name) }, title, icon("sort")));
  return element;
}
