// Keys, copying, the theme and times: what makes reading faster. Every page works without it.
const root = document.documentElement;

for (const time of document.querySelectorAll("time")) time.title = new Date(time.dateTime).toLocaleString();

// Until when something waits is told in the reader's own time, too, and how long that is.
for (const time of document.querySelectorAll("time[data-due]")) {
  const told = document.createElement("span");
  told.className = "dim due";
  time.after(" ", told);
  due(time, told);
  setInterval(() => due(time, told), 30_000);
}

function due(time, told) {
  const at = new Date(time.dateTime), minutes = Math.floor((at - Date.now()) / 60_000);
  const here = at.toLocaleString([], { weekday: "short", hour: "2-digit", minute: "2-digit", timeZoneName: "short" });
  const [hours, rest] = [Math.floor(minutes / 60), minutes % 60];
  const left = minutes < 0 ? "over" : minutes < 1 ? "in less than a minute" : hours < 1 ? `in ${minutes} min` : hours < 48 ? `in ${hours} h ${rest} min` : `in ${Math.floor(hours / 24)} days`;
  told.textContent = at.getTimezoneOffset() ? `${here}, ${left}` : left;
}

for (const button of document.querySelectorAll("[data-theme-switch]")) {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  button.value = dark ? "light" : "dark";
  button.textContent = dark ? "Light" : "Dark";
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy], [data-copy-from]");
  if (!button) return;
  const from = button.dataset.copyFrom;
  copy(from ? document.querySelector(from).textContent : button.dataset.copy, button);
});

async function copy(text, button) {
  await navigator.clipboard.writeText(text);
  if (!button) return;
  const label = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = label; }, 1200);
}

// The row that is chosen. A list that draws only what is on the screen offers its own steps.
let row = null;
export const rowing = { move: null };
// What a pane beside the list needs: to follow the row, to choose one, and to be left before the page is.
export const chosen = { moved: null, leave: null, choose, focus: () => row?.querySelector("a.open")?.focus({ preventScroll: true }) };

function rows() { return [...document.querySelectorAll("[data-rows] tbody tr:not(.spacer)")]; }

function choose(next) {
  if (!next) return;
  row?.classList.remove("at");
  row = next;
  row.classList.add("at");
  row.scrollIntoView({ block: "nearest" });
  (row.querySelector("a.open") ?? row).focus({ preventScroll: true });
  if (row.id) history.replaceState(history.state, "", `#${row.id}`);
  chosen.moved?.(row);
}

function step(by, stopped) {
  if (rowing.move) return choose(rowing.move(row, by, stopped));
  const all = rows();
  let at = row && all.includes(row) ? all.indexOf(row) : by > 0 ? -1 : all.length;
  do at += by; while (stopped && all[at] && !("stopped" in all[at].dataset));
  choose(all[at]);
}

let going = 0;
const keys = {
  j: () => step(1), k: () => step(-1), n: () => step(1, true), N: () => step(-1, true),
  o: () => { const open = row?.querySelector("a.open"); if (open) window.open(open.href, "_blank", "noopener"); },
  x: () => row?.querySelector(".pick")?.click(),
  "/": () => { const field = document.querySelector("#q, #find"); field?.focus(); field?.setSelectionRange(field.value.length, field.value.length); },
  "?": () => document.querySelector("#keys")?.showModal(),
  c: () => copy(location.href),
  y: () => (document.querySelector(".pane [data-command]") ?? document.querySelector("[data-command]"))?.click(),
  A: () => turn("approve"), D: () => turn("deny"),
  J: () => document.querySelector(".groups ol li.at + li a")?.click(),
  K: () => document.querySelector(".groups ol li:has(+ li.at) a")?.click(),
  v: () => document.querySelector(".words button[value=seen]")?.click(),
  e: () => document.querySelector(".words textarea")?.focus(),
  g: () => { going = Date.now(); },
  d: () => density(),
  Escape: () => { if (chosen.leave?.()) return; const up = document.querySelector("[data-up]"); if (up) back(up); },
};

// To the button of that name, and from it to the one that answers all.
function turn(name) {
  const buttons = [...document.querySelectorAll(`#${name}, #${name}-all`)];
  buttons[(buttons.indexOf(document.activeElement) + 1) % buttons.length]?.focus();
}

function back(up) {
  const came = document.referrer && new URL(document.referrer);
  if (came && came.origin === location.origin && came.pathname === new URL(up.href).pathname) history.back();
  else location.assign(up.href);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, textarea, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (document.querySelector("dialog[open]")) return;
  if (going && Date.now() - going < 1500) {
    going = 0;
    const to = [...document.querySelectorAll(".top nav a")].find((link) => link.dataset.key === event.key);
    if (to) { location.assign(to.href); return; }
  }
  // A link of the page, or first of the pane, that names a key is nearer than what the key does anywhere.
  const link = [...document.querySelectorAll(".pane [data-press]"), ...document.querySelectorAll("main [data-press]")].find((one) => one.dataset.press === event.key);
  const act = link ? () => link.click() : keys[event.key];
  if (act) { event.preventDefault(); act(); }
});

const named = location.hash ? document.getElementById(location.hash.slice(1)) : null;
if (named?.matches("[data-rows] tr")) { row = named; row.classList.add("at"); }

// A value narrows the list by a click; with Alt it is left out.
document.addEventListener("click", (event) => {
  const cell = event.altKey && event.target.closest("a[data-without]");
  if (!cell) return;
  event.preventDefault();
  location.assign(cell.dataset.without);
});

// A line of a document is what a link to it means, by its JSON pointer.
document.addEventListener("click", (event) => {
  const line = event.target.closest("main .document span[id]");
  if (line && !String(getSelection())) location.hash = encodeURI(line.id);
});

function density() {
  const next = root.dataset.density === "comfortable" ? "compact" : "comfortable";
  root.dataset.density = next;
  for (const button of document.querySelectorAll("[data-density-switch]")) told(button);
  dispatchEvent(new Event("resize"));
  fetch("/preferences", { method: "POST", body: new URLSearchParams({ density: next, next: "/traces" }), redirect: "manual" }).catch(() => {});
}

function told(button) { button.textContent = root.dataset.density === "comfortable" ? "Rows closer" : "Rows further apart"; }

for (const button of document.querySelectorAll("[data-density-switch]")) {
  button.hidden = false;
  told(button);
  button.addEventListener("click", density);
}
