// Keeps what changes on a page up to date. Without it the page is complete, and old.
const live = document.getElementById("live");
const stale = document.getElementById("stale");
const silence = 30000; // milliseconds; the server sends something every ten seconds
let stream = null;
let heard = Date.now();

const hear = () => {
  heard = Date.now();
  stale.textContent = "";
};
const lose = () => { stale.textContent = stale.dataset.text; };

// draw replaces what is shown. A table that can be scrolled keeps the focus and its place:
// otherwise nobody who uses the keyboard would come past it.
const draw = (html) => {
  const tables = () => [...live.querySelectorAll(".scroll")];
  const name = (table) => table.getAttribute("aria-label");
  const before = new Map(tables().map((t) => [name(t), { left: t.scrollLeft, focused: t === document.activeElement }]));
  live.innerHTML = html; // the server has escaped it
  for (const t of tables()) {
    const was = before.get(name(t));
    if (was?.focused) {
      t.focus({ preventScroll: true });
    }
    t.scrollLeft = was?.left ?? 0;
  }
};

// A window that nobody sees has no stream: browsers have few connections to a server.
const follow = () => {
  if (document.hidden) {
    stream?.close();
    return;
  }
  if (stream && stream.readyState !== EventSource.CLOSED) {
    return;
  }
  stream = new EventSource(live.dataset.stream);
  heard = Date.now();
  const events = stream;
  let last = null;
  events.onmessage = (message) => {
    hear();
    last = JSON.parse(message.data);
    if (!live.contains(document.activeElement) || document.activeElement.classList.contains("scroll")) {
      draw(last);
    }
  };
  events.addEventListener("alive", hear);
  events.onerror = lose;
  events.addEventListener("end", () => {
    events.close();
    document.removeEventListener("visibilitychange", follow);
    clearInterval(watch);
    draw(last);
  });
};

let watch = 0;
if (live && live.dataset.stream) {
  document.addEventListener("visibilitychange", follow);
  watch = setInterval(() => {
    if (!document.hidden && Date.now() - heard > silence) {
      lose();
    }
  }, silence / 6);
  follow();
}
