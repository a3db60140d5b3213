// Lights what led to a node and what it led to; the arrow keys follow edges.
const svg = document.querySelector("svg.graph");
if (svg) {
  const nodes = [...svg.querySelectorAll("a.node")];
  const edges = [...svg.querySelectorAll("path.edge")];
  const leads = new Map(), comes = new Map();
  for (const edge of edges) {
    add(leads, edge.dataset.from, edge.dataset.to);
    add(comes, edge.dataset.to, edge.dataset.from);
  }
  const byId = new Map(nodes.map((node) => [node.dataset.node, node]));
  for (const node of nodes) {
    for (const kind of ["mouseenter", "focus"]) node.addEventListener(kind, () => light(node.dataset.node));
    for (const kind of ["mouseleave", "blur"]) node.addEventListener(kind, () => light(null));
  }

  function add(map, key, value) { if (!map.has(key)) map.set(key, []); map.get(key).push(value); }

  function reach(start, map) {
    const seen = new Set([start]), waiting = [start];
    while (waiting.length) for (const next of map.get(waiting.pop()) ?? []) if (!seen.has(next)) { seen.add(next); waiting.push(next); }
    return seen;
  }

  function light(id) {
    const lit = id === null ? null : new Set([...reach(id, leads), ...reach(id, comes)]);
    for (const node of nodes) node.classList.toggle("away", lit !== null && !lit.has(node.dataset.node));
    for (const edge of edges) {
      const on = lit !== null && lit.has(edge.dataset.from) && lit.has(edge.dataset.to);
      edge.classList.toggle("away", lit !== null && !on);
      edge.classList.toggle("lit", on);
    }
  }

  svg.addEventListener("keydown", (event) => {
    const at = event.target.closest("a.node");
    if (!at) return;
    const id = at.dataset.node;
    const lane = nodes.filter((node) => x(node) === x(at)).sort((one, other) => y(one) - y(other));
    // The table has the same nodes in the same order.
    if (event.key === "f") document.querySelectorAll("[data-around]")[Number(id)]?.click();
    const to = {
      ArrowRight: () => byId.get((leads.get(id) ?? [])[0]), ArrowLeft: () => byId.get((comes.get(id) ?? [])[0]),
      ArrowDown: () => lane[lane.indexOf(at) + 1], ArrowUp: () => lane[lane.indexOf(at) - 1],
      Home: () => lane[0], End: () => lane[lane.length - 1],
    }[event.key]?.();
    if (to) { event.preventDefault(); to.focus(); }
  });
  function x(node) { return node.querySelector("rect").x.baseVal.value; }
  function y(node) { return node.querySelector("rect").y.baseVal.value; }
}
