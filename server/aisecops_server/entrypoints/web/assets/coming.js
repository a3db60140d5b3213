// Says when events come to the trace on the screen. They are shown when that is asked for: rows do not jump.
const link = document.querySelector("[data-coming]");
let source, count = 0;

if (link) {
  addEventListener("visibilitychange", listen);
  link.addEventListener("click", (event) => { event.preventDefault(); location.reload(); });
  listen();
}

// A browser has few connections to one server, so a page that nobody looks at has none.
function listen() {
  source?.close();
  if (document.hidden) return;
  source = new EventSource(link.dataset.coming);
  source.onmessage = ({ lastEventId }) => {
    count += 1;
    link.dataset.coming = link.dataset.coming.replace(/\d+$/, lastEventId);
    link.textContent = `${count} new ${count === 1 ? "event" : "events"}: show`;
    link.hidden = false;
  };
  source.addEventListener("end", () => source.close());
}
