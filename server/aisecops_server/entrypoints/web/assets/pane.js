// On a wide screen an event opens beside the list that it is in; its own page is the same, and is what a narrow one gets.
import { chosen } from "./ui.js";

const WIDE = matchMedia("(min-width: 1200px)");
const table = document.querySelector("table[data-pane]");
if (table) start();

function start() {
  const begun = new URL(location.href).searchParams;
  let pane = null, asking = null, shown = "";
  document.querySelector(".elsewhere-event")?.toggleAttribute("hidden", WIDE.matches);

  table.addEventListener("click", (event) => {
    const open = event.target.closest("a.open");
    if (!open || !WIDE.matches || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button) return;
    event.preventDefault();
    chosen.choose(open.closest("tr"));
    show(open.href);
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !event.target.closest("[data-pane] tr")) return;
    const open = event.key === "ArrowRight" && WIDE.matches && event.target.closest("tr").querySelector("a.open");
    if (!open && !(event.key === "ArrowLeft" && pane)) return;
    event.preventDefault();
    if (open) open.click(); else close();
  });

  chosen.moved = (row) => { const open = pane && row.querySelector("a.open"); if (open) show(open.href); };
  chosen.leave = () => {
    if (!pane) return false;
    close();
    return true;
  };
  const first = begun.get("event");
  if (first && WIDE.matches) show(`${location.pathname}/events/${encodeURIComponent(first)}?tab=${begun.get("tab") ?? "why"}`);

  // A page that is asked for as a document is parsed without running anything of it.
  function show(href) {
    const url = new URL(href, location.origin);
    if (url.origin !== location.origin || url.href === shown) return;
    shown = url.href;
    asking?.abort();
    asking = new XMLHttpRequest();
    asking.open("GET", url.href);
    asking.responseType = "document";
    asking.addEventListener("load", (event) => draw(url, event.target));
    asking.addEventListener("error", () => location.assign(url.href));
    asking.send();
  }

  function draw(url, answer) {
    const main = answer.responseXML?.querySelector("main");
    if (answer.status !== 200 || !main || new URL(answer.responseURL).pathname !== url.pathname) return location.assign(url.href);
    pane ??= made();
    for (const link of main.querySelectorAll("a[href]")) link.setAttribute("href", inPlace(link.getAttribute("href"), url));
    const heading = main.querySelector("h1");
    if (heading) { const second = document.createElement("h2"); second.className = "title"; second.append(...heading.childNodes); heading.replaceWith(second); }
    pane.body.replaceChildren(...[...main.childNodes].map((node) => document.importNode(node, true)));
    pane.box.scrollTop = 0;
    const meant = url.hash && [...pane.body.querySelectorAll("[id]")].find((one) => one.id === decodeURIComponent(url.hash.slice(1)));
    if (meant) { meant.classList.add("meant"); meant.scrollIntoView(); }
    pane.box.dataset.shown = url.pathname;
    remember(url);
  }

  function inPlace(href, base) {
    const to = new URL(href, base);
    return to.origin === location.origin ? to.pathname + to.search + to.hash : "";
  }

  function remember(url) {
    const here = new URL(location.href), tab = url.searchParams.get("tab");
    here.searchParams.set("event", decodeURIComponent(url.pathname.split("/").pop()));
    if (tab && tab !== "why") here.searchParams.set("tab", tab); else here.searchParams.delete("tab");
    history.replaceState(history.state, "", here);
  }

  function made() {
    const box = document.createElement("aside"), body = document.createElement("div"), shut = document.createElement("button");
    box.className = "pane";
    box.setAttribute("aria-label", "The event");
    box.tabIndex = 0;
    shut.className = "close";
    shut.type = "button";
    shut.textContent = "Close";
    shut.addEventListener("click", close);
    // Parts of the same event change in place; every other link goes where it says.
    box.addEventListener("click", (event) => {
      const link = event.target.closest("a[href]");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      const to = new URL(link.href);
      if (!to.pathname.startsWith(`/traces/${table.dataset.trace}/events/`)) return;
      event.preventDefault();
      show(link.href);
    });
    box.append(shut, body);
    document.body.append(box);
    document.body.classList.add("paned");
    return { box, body };
  }

  function close() {
    asking?.abort();
    shown = "";
    pane?.box.remove();
    pane = null;
    document.body.classList.remove("paned");
    const here = new URL(location.href);
    for (const name of ["event", "tab"]) here.searchParams.delete(name);
    history.replaceState(history.state, "", here);
    chosen.focus();
  }
}
