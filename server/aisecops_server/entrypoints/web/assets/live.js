// How many requests wait for people, in the title and beside "Approvals", as it changes. A browser has few connections to
// one server, so one of its tabs listens and tells the others.
const { live, waiting } = document.body.dataset;
const bare = Number(waiting) ? document.title.replace(/^\(\d+\) /, "") : document.title;
const others = new BroadcastChannel("waiting");

others.onmessage = ({ data }) => tell(data);
if (live) navigator.locks?.request("waiting", () => new Promise(listen));

function listen(stop) {
  const source = new EventSource(live);
  const end = () => { source.close(); stop(); };
  source.onmessage = ({ data }) => {
    const count = JSON.parse(data).waiting;
    tell(count);
    others.postMessage(count);
  };
  source.addEventListener("end", end);
  // A server that is away is asked again by the browser; one that answers no is not.
  source.onerror = () => { if (source.readyState === EventSource.CLOSED) end(); };
}

function tell(count) {
  document.body.dataset.waiting = count;
  document.title = count ? `(${count}) ${bare}` : bare;
  const badge = document.querySelector(".top .count");
  if (!badge) return;
  badge.textContent = count;
  badge.hidden = !count;
}
