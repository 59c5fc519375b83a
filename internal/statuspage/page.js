"use strict";
(() => {
  const element = (id) => document.getElementById(id);
  const number = new Intl.NumberFormat("en");
  const plural = (n) => number.format(n) + (n === 1 ? " file" : " files");

  // Relative times: computed here, since the page outlives the moment in which it was written.
  const units = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60]];
  const relative = new Intl.RelativeTimeFormat("en");
  const ago = (time, now) => {
    const seconds = (now - Date.parse(time)) / 1000;
    const [unit, length] = units.find(([, length]) => seconds >= length) || [];
    return unit ? relative.format(-Math.floor(seconds / length), unit) : "just now";
  };
  const tell = (time, now) => { time.nextElementSibling.textContent = ago(time.dateTime, now); };

  const late = 20 * 60 * 1000; // a page is at most 15 minutes old where the schedule runs
  const tick = () => {
    const now = Date.now();
    for (const time of document.querySelectorAll("time")) tell(time, now);
    const written = document.querySelector(".written time").dateTime, stale = element("stale");
    const isLate = now - Date.parse(written) > late;
    if (stale.hidden === isLate) {
      stale.textContent = isLate ? "This page is older than it should be. Reload it; if it stays this old, the function no longer runs on its schedule." : "";
      stale.hidden = !isLate;
    }
  };

  // The data: one array a file, in the order of files.go.
  let loaded;
  const load = () => {
    if (loaded) return loaded;
    const data = JSON.parse(element("data").textContent);
    const plain = (text) => text.normalize("NFC").toLowerCase();
    loaded = data.files.map(([place, rest, state, size, since, deploy, flags, lines = [], blocks = []]) => {
      const [head, origin, source] = data.places[place], [label, tone, filter] = data.states[state];
      const path = head + rest;
      if (origin) lines = [...lines, "from " + origin + rest + source];
      const text = plain([path, ...lines, ...blocks].join("\n"));
      return { path, label, tone, filter, size, since, deploy: data.deploys[deploy], flags: flags || 0, lines, blocks, text };
    });
    return loaded;
  };

  const filters = {
    all: () => true,
    warnings: (file) => file.flags & 1,
    errors: (file) => file.flags & 2,
  };
  const find = (filter, words) => {
    const fits = filters[filter] || ((file) => file.filter === filter);
    return load().filter((file) => fits(file) && words.every((word) => file.text.includes(word)));
  };

  const pad = (n) => String(n).padStart(2, "0");
  const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const human = (t) => `${t.getUTCDate()} ${months[t.getUTCMonth()]} ${t.getUTCFullYear()}, ${pad(t.getUTCHours())}:${pad(t.getUTCMinutes())}`;
  const bytes = (n) => {
    if (n < 1000) return n + " B";
    let unit = -1;
    for (; n >= 999.5 && unit < 3; unit++) n /= 1000;
    return (n < 9.95 ? n.toFixed(1) : n.toFixed(0)) + " " + ["kB", "MB", "GB", "TB"][unit];
  };

  const add = (parent, tag, className, text) => {
    const child = parent.appendChild(document.createElement(tag));
    if (className) child.className = className;
    if (text !== undefined) child.textContent = text;
    return child;
  };

  // mark writes a path, with the first occurrence of each word that was searched for marked.
  const mark = (target, path, words) => {
    const lower = path.toLowerCase();
    const spans = lower.length !== path.length ? [] : words.map((word) => [lower.indexOf(word), word.length])
      .filter(([at]) => at >= 0).sort((a, b) => a[0] - b[0]);
    target.textContent = "";
    let done = 0;
    for (const [at, length] of spans) {
      if (at < done) continue;
      target.append(path.slice(done, at));
      add(target, "mark", "", path.slice(at, at + length));
      done = at + length;
    }
    target.append(path.slice(done));
  };

  const render = (file, words, now) => {
    const row = element("row").content.firstElementChild.cloneNode(true);
    const [name, state, since, deploy, size] = row.children;
    mark(name.firstElementChild, file.path, words);
    for (const line of file.lines) add(add(name, "p", "sub"), "bdi", "", line);
    if (file.blocks.length) {
      const details = add(name, "details");
      add(details, "summary", "", "Details");
      for (const block of file.blocks) add(details, "pre", "wraps", block);
    }
    const pill = state.firstElementChild;
    pill.textContent = file.label;
    pill.className = "pill tone-" + file.tone;
    if (file.since) {
      const at = new Date(file.since * 1000), time = document.createElement("time"), told = document.createElement("span");
      time.dateTime = at.toISOString().replace(".000", "");
      time.textContent = human(at) + " UTC";
      told.className = "ago";
      since.replaceChildren(time, " ", told);
      tell(time, now);
    }
    deploy.firstElementChild.textContent = file.deploy;
    size.textContent = file.size || file.filter !== "leftOut" ? bytes(file.size) : "–";
    return row;
  };

  const slice = 100;
  let filter = "all", found = [], shown = 0, words = [];
  const grow = () => {
    const now = Date.now(), part = document.createDocumentFragment();
    for (const file of found.slice(shown, shown + slice)) part.append(render(file, words, now));
    shown = Math.min(found.length, shown + slice);
    const first = part.firstElementChild;
    element("rows").append(part);
    say();
    return first;
  };
  const say = () => {
    const total = load().length, left = found.length - shown, isNarrowed = found.length < total;
    if (!found.length) element("count").textContent = "No file matches. Try fewer letters, or another state.";
    else if (left) element("count").textContent = `Showing the first ${number.format(shown)} of ${isNarrowed ? number.format(found.length) + " matches" : plural(total)}.`;
    else element("count").textContent = `Showing ${isNarrowed ? number.format(found.length) + " of " : ""}${plural(total)}.`;
    element("more").hidden = !left;
    element("more").textContent = `Show ${number.format(Math.min(left, slice))} more`;
  };
  const update = () => {
    words = element("search").value.normalize("NFC").toLowerCase().split(/\s+/).filter(Boolean);
    found = find(filter, words);
    shown = 0;
    element("rows").replaceChildren();
    grow();
  };

  const start = () => {
    element("controls").hidden = false;
    element("search").value = ""; // browsers restore it when the page is loaded again, but not the list
    element("search").addEventListener("input", update);
    element("search").addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !event.target.value) return;
      event.preventDefault();
      event.target.value = "";
      update();
    });
    element("filters").addEventListener("click", (event) => {
      const chosen = event.target.closest("button");
      if (!chosen) return;
      filter = chosen.dataset.filter;
      for (const button of element("filters").children) button.setAttribute("aria-pressed", String(button === chosen));
      update();
    });
    element("more").addEventListener("click", () => {
      const first = grow();
      if (!element("more").hidden || !first) return;
      const name = first.firstElementChild; // the button that had the focus is gone
      name.tabIndex = -1;
      name.focus();
    });
    found = load();
    shown = element("rows").children.length;
    say();
  };

  // What scrolls sideways must be reachable by keyboard; not every browser sees to that.
  const reach = () => {
    for (const pre of document.querySelectorAll("main .attention pre")) {
      if (pre.scrollWidth > pre.clientWidth || pre.scrollHeight > pre.clientHeight) pre.tabIndex = 0;
      else pre.removeAttribute("tabindex");
    }
  };

  tick();
  setInterval(tick, 15000);
  document.addEventListener("visibilitychange", tick);
  if (element("controls")) start();
  reach();
  addEventListener("resize", reach);
})();
