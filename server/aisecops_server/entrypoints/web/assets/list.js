// The list of traces: terms are completed as they are typed, and it says when there are newer ones than it shows.
const EVERY = 20_000;
const input = document.querySelector("input[list]");
if (input) complete(input, [...input.list.options].map((one) => one.value));
const newer = document.querySelector("[data-newer]");
if (newer) setInterval(() => { if (!document.hidden) look(newer).catch(() => {}); }, EVERY);

// What a browser offers takes the place of the whole field, so each offer is what stands there with its last word completed.
function complete(input, terms) {
  input.addEventListener("input", () => {
    const [, before, minus, word] = input.value.match(/^(.*?)(-?)(\S*)$/s);
    const fits = word ? terms.filter((term) => term.startsWith(word) && term !== word) : [];
    input.list.replaceChildren(...fits.slice(0, 20).map((term) => new Option("", before + minus + term)));
  });
}

async function look(link) {
  const answer = await fetch(link.dataset.newer);
  if (!answer.ok) return;
  const shown = new Set([...document.querySelectorAll("tbody tr[id^=t-]")].map((row) => row.id));
  const { traces } = (await answer.json()).page;
  const known = traces.findIndex((one) => shown.has(`t-${one.traceId}`));
  const count = known < 0 ? traces.length : known;
  if (!count) return;
  link.textContent = `${count}${known < 0 ? " or more" : ""} newer ${count === 1 ? "trace" : "traces"}: show`;
  link.hidden = false;
}
