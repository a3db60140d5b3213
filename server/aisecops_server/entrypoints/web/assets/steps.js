// Draws only the rows of a trace that are on the screen. Some come with the page as rows, and all of them as columns.
import { rowing } from "./ui.js";

const table = document.querySelector("table[data-columns]");
const SPARE = 6;
let HEIGHT = height();

if (table) start(table, JSON.parse(table.dataset.columns));

function start(table, data) {
  const body = table.tBodies[0];
  const pattern = body.rows[0].cloneNode(true);
  const [above, below] = [spacer(), spacer()];
  const pool = [];
  const count = data.at.length;
  const wanted = location.hash.startsWith("#s") ? Number(location.hash.slice(2)) : -1;
  let first = -1, drawn = 0;
  document.querySelector(".pager")?.remove();
  body.replaceChildren(above.row, below.row);

  function draw() {
    const top = Math.max(0, -above.row.getBoundingClientRect().top);
    const begin = Math.max(0, Math.min(count - 1, Math.floor(top / HEIGHT) - SPARE));
    const room = Math.min(count - begin, Math.ceil(innerHeight / HEIGHT) + 2 * SPARE);
    if (begin === first && room === drawn) return;
    first = begin;
    while (pool.length < room) pool.push(pattern.cloneNode(true));
    for (let at = 0; at < room; at++) fill(pool[at], begin + at);
    above.set(begin * HEIGHT);
    below.set((count - begin - room) * HEIGHT);
    // Rows that stay where they are need no new layout of the table around them.
    if (room !== drawn) body.replaceChildren(above.row, ...pool.slice(0, room), below.row);
    drawn = room;
    const lens = document.querySelector("#lens");
    lens?.setAttribute("x", String(begin * 1000 / count));
    lens?.setAttribute("width", String(Math.max(2, room * 1000 / count)));
  }

  function fill(row, at) {
    const cells = row.cells;
    const strip = data.strips[data.strip[at]];
    row.id = `s${data.at[at]}`;
    row.index = at;
    row.classList.toggle("at", row.id === location.hash.slice(1));
    row.toggleAttribute("data-stopped", /[be]/.test(strip));
    write(cells[0], data.plan[at]);
    const open = cells[1].firstElementChild;
    write(open, data.step[at]);
    open.href = `/traces/${table.dataset.trace}/events/${encodeURIComponent(data.event[at])}`;
    loop(open, data.at[at]);
    write(cells[2], data.tools[data.tool[at]]);
    write(cells[6], data.when[at]);
    write(cells[7], data.ms[at].toFixed(1));
    const [tone, glyph, word] = data.signs[data.sign[at]];
    const look = `${tone} ${strip} ${data.trust[at]}`;
    // Most rows of a long trace look like the one that stood here before.
    if (row.look === look) return;
    row.look = look;
    const sign = cells[3].firstElementChild;
    sign.className = `sign ${tone}`;
    write(sign.firstElementChild, glyph);
    sign.lastChild.data = ` ${word}`;
    [...cells[4].querySelectorAll("i")].forEach((cell, gate) => { cell.className = `c${strip[gate]}`; });
    write(cells[4].querySelector(".sr"), data.words[data.strip[at]]);
    const trust = data.trusts[data.trust[at]];
    cells[5].firstElementChild.className = `trust t-${trust}`;
    write(cells[5].firstElementChild, trust);
  }

  function loop(open, at) {
    const times = data.times[at];
    let link = open.parentElement.querySelector(".times");
    if (!times) return link?.remove();
    if (!link) {
      link = document.createElement("a");
      link.className = "times";
      link.title = "So many plans in a row have the same steps and the same decision: show each";
      open.after(" ", link);
    }
    link.href = `${table.dataset.each}#s${at}`;
    link.textContent = `×${times}`;
  }

  rowing.move = (row, by, stopped) => {
    let at = row?.isConnected ? row.index : by > 0 ? first - 1 : first + 1;
    do at += by; while (stopped && at >= 0 && at < count && !/[be]/.test(data.strips[data.strip[at]]));
    return at < 0 || at >= count ? null : show(at);
  };

  function show(at) {
    const place = body.getBoundingClientRect().top + scrollY + at * HEIGHT;
    if (place < scrollY || place > scrollY + innerHeight - 2 * HEIGHT) scrollTo(0, place - innerHeight / 2);
    draw();
    return pool.find((row) => row.index === at);
  }

  document.querySelector(".minimap")?.addEventListener("click", (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    show(Math.min(count - 1, Math.floor((event.clientX - box.left) / box.width * count)));
  });
  addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
  addEventListener("resize", () => { HEIGHT = height(); first = -1; requestAnimationFrame(draw); });
  draw();
  // A step in a loop, or one that is left out, stands behind the row before it.
  const at = wanted >= 0 ? data.at.findLastIndex((one) => one <= wanted) : -1;
  if (at >= 0) show(at)?.classList.add("at");
  table.dataset.ready = "";
}

// A text that is written where one stands takes less than one in its place.
function write(place, text) {
  const last = place.lastChild, now = String(text);
  if (last?.nodeType !== Node.TEXT_NODE || last.previousSibling) place.textContent = now;
  else if (last.data !== now) last.data = now;
}

function height() { return document.documentElement.dataset.density === "comfortable" ? 35 : 29; }

function spacer() {
  const row = document.createElement("tr");
  const cell = row.insertCell();
  row.className = "spacer";
  row.setAttribute("aria-hidden", "true");
  cell.colSpan = 8;
  return { row, set: (height) => { cell.style.height = `${height}px`; } };
}
