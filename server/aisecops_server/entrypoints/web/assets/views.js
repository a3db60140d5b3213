// Named views of the list, kept in this browser for who is signed in. A view is an address; a name is nothing but text.
const MOST = 50, LONGEST = 80;
const box = document.querySelector("[data-views]");
if (box) start(box);

function start(box) {
  const key = `views:${box.dataset.views}`;
  const list = box.querySelector("ul"), form = box.querySelector("form"), input = form.querySelector("input");
  box.hidden = false;
  draw();

  function read() {
    try {
      const kept = JSON.parse(localStorage.getItem(key) ?? "[]");
      return Array.isArray(kept) ? kept.filter(isView).slice(0, MOST) : [];
    } catch { return []; }
  }

  function keep(views) {
    try { localStorage.setItem(key, JSON.stringify(views.slice(0, MOST))); } catch { return; }
    draw();
  }

  function draw() {
    list.replaceChildren(...read().map(row));
  }

  function row(view) {
    const item = document.createElement("li"), open = document.createElement("a");
    open.href = address(view.to);
    open.textContent = visible(view.name);
    if (open.getAttribute("href") === box.dataset.view) open.setAttribute("aria-current", "page");
    item.append(open, button("Copy the link", view, () => navigator.clipboard.writeText(new URL(address(view.to), location.origin).href)),
      button("Forget", view, () => keep(read().filter((one) => one.name !== view.name))));
    return item;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const name = input.value.trim().slice(0, LONGEST);
    if (!name) return;
    keep([{ name, to: box.dataset.view }, ...read().filter((one) => one.name !== name)]);
    input.value = "";
  });
}

function button(label, view, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = label;
  made.setAttribute("aria-label", `${label}: ${visible(view.name)}`);
  made.addEventListener("click", act);
  return made;
}

function isView(one) {
  return typeof one?.name === "string" && one.name.length <= LONGEST && typeof one.to === "string" && address(one.to) !== null;
}

// Whatever was put into the storage, a view leads to the list of traces of this origin and nowhere else.
function address(to) {
  try {
    const url = new URL(to, location.origin);
    return url.origin === location.origin && url.pathname === "/traces" ? url.pathname + url.search : null;
  } catch { return null; }
}

// Characters that steer or hide are shown as their code, as the server shows them.
function visible(text) {
  return text.replace(/[\p{C}\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufe00-\ufe0f]/gu, (one) => `[U+${one.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}]`);
}
