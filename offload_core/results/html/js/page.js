// The page as a whole: its theme, and what the part of the address after # says.

const THEMES = ["system", "light", "dark"];

class Theme {
  constructor() {
    this.button = byId("theme");
    this.button.hidden = false;
    this.button.addEventListener("click", () => this.set(THEMES[(THEMES.indexOf(this.chosen) + 1) % THEMES.length]));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => timeline.recolour());
    this.set(remembered());
  }

  set(chosen) {
    this.chosen = THEMES.includes(chosen) ? chosen : "system";
    if (this.chosen === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = this.chosen;
    this.button.lastElementChild.textContent = `Theme: ${this.chosen}`;
    this.button.setAttribute("aria-label", `Theme: ${this.chosen}. Change it.`);
    try {
      localStorage.setItem("offload-theme", this.chosen);
    } catch {
      // a page that may not keep anything follows the system the next time
    }
    timeline.recolour();
  }
}

function remembered() {
  try {
    return localStorage.getItem("offload-theme");
  } catch {
    return null;
  }
}

/** `#t12` opens a test, `#state=failed` filters; everything else is the browser's. */
function follow() {
  const hash = location.hash.slice(1);
  const test = /^t(\d+)$/.exec(hash);
  const state = /^state=(\w+)$/.exec(hash);
  if (test) testTable.reveal(Number(test[1]));
  if (state) {
    testTable.only(state[1] === "all" ? [] : state[1] === "bad" ? [...BAD] : SEVERITY.filter((each) => each === state[1]));
    byId("tests").scrollIntoView();
    (testTable.buttons.get(state[1]) ?? testTable.buttons.get("all")).focus({ preventScroll: true });
  }
}

const timeline = new Timeline();
const testTable = new TestTable();
const theme = new Theme();
window.addEventListener("hashchange", follow);
// the same link twice does not change the address
document.addEventListener("click", (event) => {
  if (event.target.closest?.("a[href]")?.getAttribute("href") === location.hash) follow();
});
follow();
