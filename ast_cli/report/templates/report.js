"use strict";
(() => {
  const BATCH = 500; // rows at once
  const SPANS = 300; // events drawn for a label, those of the highest scores; or listed at once
  const rows = JSON.parse(document.getElementById("rows").textContent);
  const byId = (id) => document.getElementById(id);
  const list = byId("list");
  const items = []; // the row's element, made when it is first shown
  const collator = new Intl.Collator(undefined, { numeric: true });
  let limit = BATCH;
  let matching = [];

  // Text goes in as text only: names and labels come from strangers.
  function make(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name in element) element[name] = value;
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }

  function isolated(text) {
    return make("bdi", { dir: "auto" }, text);
  }

  function clock(seconds, digits = 0) {
    const scale = 10 ** digits;
    const whole = Math.floor(seconds * scale + 1e-6);
    const minutes = Math.floor(whole / scale / 60);
    const rest = (whole / scale - minutes * 60).toFixed(digits).padStart(digits ? 3 + digits : 2, "0");
    const hours = Math.floor(minutes / 60);
    return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
  }

  // The list

  function labelsOf(row) {
    return row.error ? [] : [...row.tags.map(([label]) => label), ...row.labels];
  }

  function item(number) {
    if (items[number]) return items[number];
    const row = rows[number];
    const head = make("div", { className: "head" });
    const element = make("li", {}, head);
    if (row.error) {
      head.append(make("h3", { className: "name" }, isolated(row.name)));
      head.append(make("p", { className: "remark error" }, `${row.error}: `, isolated(row.message)));
    } else {
      const length = make("span", { className: "length" }, clock(row.seconds));
      const button = make("button", { type: "button", "aria-expanded": "false" }, isolated(row.name), length);
      button.addEventListener("click", () => toggle(number, element, button));
      head.append(make("h3", { className: "name" }, button));
      const tags = make("ul", { className: "tags", "aria-label": "Labels", role: "list" });
      for (const [label, score] of row.tags) {
        tags.append(make("li", {}, isolated(label), " ", make("span", { className: "score" }, score.toFixed(2))));
      }
      head.append(row.tags.length ? tags : make("p", { className: "remark note" }, "no label"));
      for (const note of row.notes) head.append(make("p", { className: "remark error" }, isolated(note)));
    }
    items[number] = element;
    return element;
  }

  const keys = {
    run: (row, number) => number,
    name: (row) => row.name,
    seconds: (row) => row.seconds ?? -1,
    label: (row) => row.tags?.[0]?.[0] ?? "\uffff",
    score: (row) => -(row.tags?.[0]?.[1] ?? -Infinity),
    events: (row) => -(row.events ?? -1),
  };

  function update() {
    const words = byId("search").value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    const label = byId("label").value;
    const state = byId("state").value;
    const key = keys[byId("order").value];
    matching = [];
    rows.forEach((row, number) => {
      const labels = labelsOf(row);
      if (label && !labels.includes(label)) return;
      if (state === "events" && !row.events) return;
      if (state === "notes" && !row.notes?.length) return;
      if (state === "failed" && !row.error) return;
      const text = [row.name, row.error ?? "", ...labels].join("\n").toLocaleLowerCase();
      if (words.every((word) => text.includes(word))) matching.push([key(row, number), number]);
    });
    matching.sort(([one, first], [other, second]) =>
      (typeof one === "string" ? collator.compare(one, other) : one - other) || first - second);
    if (byId("direction").getAttribute("aria-pressed") === "true") matching.reverse();
    limit = BATCH;
    show();
  }

  function show() {
    const shown = matching.slice(0, limit);
    list.replaceChildren(...shown.map(([, number]) => item(number)));
    const all = rows.length.toLocaleString("en");
    const found = matching.length.toLocaleString("en");
    const some = shown.length < matching.length ? `, the first ${shown.length.toLocaleString("en")} are shown` : "";
    byId("count").textContent = matching.length ? `${found} of ${all}${some}` : `None of ${all} is like that.`;
    byId("more").hidden = shown.length === matching.length;
  }

  // One recording

  function toggle(number, element, button) {
    const isOpen = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!isOpen));
    element.classList.toggle("open", !isOpen);
    let body = element.querySelector(".body");
    if (!body) {
      body = details(number);
      body.id = `body-${number}`;
      button.setAttribute("aria-controls", body.id);
      element.append(body);
    }
    body.hidden = isOpen;
    if (isOpen) body.querySelector("audio")?.pause();
    else body.dispatchEvent(new Event("shown"));
  }

  function audioOf(detail, name, body) {
    let source = detail.audio;
    if (detail.bytes !== undefined) {
      const bytes = Uint8Array.from(atob(detail.bytes), (char) => char.charCodeAt(0));
      source = URL.createObjectURL(new Blob([bytes], { type: detail.type }));
    }
    if (!source) return null;
    const audio = make("audio", { controls: true, preload: "metadata", "aria-label": `Play ${name}` });
    audio.addEventListener("error", () => {
      if (body.querySelector(".unplayable")) return;
      audio.after(make("p", { className: "error unplayable", role: "status" },
        "The audio cannot be played here: it was moved, or this browser does not know its format."));
    });
    audio.addEventListener("play", () => {
      for (const other of document.querySelectorAll("audio")) if (other !== audio) other.pause();
    });
    audio.src = source;
    return audio;
  }

  function details(number) {
    const row = rows[number];
    const detail = JSON.parse(byId(`detail-${number}`).textContent);
    const body = make("div", { className: "body", role: "group", "aria-label": `Details of ${row.name}` });
    const audio = audioOf(detail, row.name, body);
    if (audio) body.append(audio);
    const seek = (seconds) => {
      if (audio) audio.currentTime = seconds;
      move(seconds);
    };
    const plot = make("div", { className: "plot" });
    const cursor = make("div", { className: "cursor" });
    const percent = (seconds) => `${Math.min(100, Math.max(0, (100 * seconds) / row.seconds))}%`;
    const move = (seconds) => { cursor.style.left = percent(seconds); };
    const lane = (kind, name) => {
      const band = make("div", { className: "band" });
      band.addEventListener("click", (event) => {
        if (event.target.closest("button")) return;
        const box = band.getBoundingClientRect();
        seek(((event.clientX - box.left) / box.width) * row.seconds);
      });
      plot.append(make("div", { className: `lane ${kind}` }, make("div", { className: "lane-name" }, name), band));
      return band;
    };
    if (detail.picture) {
      const image = make("img", { src: detail.picture.uri, alt: "Spectrogram: low sounds below, high ones above" });
      image.style.width = `${(100 * detail.picture.seconds) / row.seconds}%`;
      lane("picture", "Spectrogram").append(image);
    }
    lanes(row, detail, lane, seek, percent, body);
    const ticks = lane("ticks", "");
    ticks.setAttribute("aria-hidden", "true");
    for (const second of marks(row.seconds)) {
      const mark = make("span", {}, clock(second, row.seconds < 4 ? 1 : 0));
      mark.style.left = percent(second);
      ticks.append(mark);
    }
    plot.append(make("div", { className: "over" }, cursor));
    body.append(plot);
    follow(audio, move);
    if (detail.heat || detail.events.length) {
      const what = [detail.heat && "a stronger colour is a higher score", detail.events.length && "a frame is an event"];
      body.append(make("p", { className: "legend" }, `${what.filter(Boolean).join("; ")}. Choose a place to hear it.`
        .replace(/^./, (char) => char.toLocaleUpperCase())));
    } else {
      body.append(make("p", { className: "legend" }, "Nothing is known of when its labels are heard."));
    }
    if (detail.events.length) body.append(eventList(detail.events, seek));
    const channels = detail.channels === 1 ? "mono" : `${detail.channels} channels`;
    body.append(make("p", { className: "legend" },
      `${clock(row.seconds, 1)}, ${detail.rate.toLocaleString("en")} Hz, ${channels}; ${detail.heard} s were heard.`));
    return body;
  }

  function lanes(row, detail, lane, seek, percent, body) {
    const heat = detail.heat;
    const ranked = heat ? [...heat.lanes] : [];
    for (const [start, , label, score] of detail.events) {
      const known = ranked.find(([name]) => name === label);
      if (!known && ranked.length < 24) ranked.push([label, score, start]);
    }
    const drawn = [];
    ranked.forEach(([label, peak, at], place) => {
      const name = make("button", { type: "button", className: "plain" }, isolated(label));
      const text = `${label}: highest score ${peak.toFixed(2)} at ${clock(at, 1)}`;
      name.title = text;
      name.setAttribute("aria-label", `${text}. Go there`);
      name.addEventListener("click", () => seek(at));
      const band = lane("heat", name);
      if (heat && place < heat.lanes.length) {
        const canvas = make("canvas", { role: "img", "aria-label": `${label} over time: ${text}` });
        band.append(canvas);
        drawn.push([canvas, place]);
      }
      let own = detail.events.filter(([, , other]) => other === label);
      if (own.length > SPANS) {
        own = own.sort((one, other) => other[3] - one[3]).slice(0, SPANS).sort((one, other) => one[0] - other[0]);
      }
      if (own.length) band.append(spans(own, label, seek, percent));
    });
    if (!heat) return;
    const values = Uint8Array.from(atob(heat.values), (char) => char.charCodeAt(0));
    const redraw = () => drawn.forEach(([canvas, place]) => paint(canvas, place, heat, values, row.seconds));
    body.addEventListener("shown", redraw);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    new ResizeObserver(redraw).observe(body);
  }

  function paint(canvas, place, heat, values, seconds) {
    const width = Math.round(canvas.clientWidth * devicePixelRatio);
    if (!width) return;
    canvas.width = width;
    canvas.height = 1;
    const colour = getComputedStyle(document.documentElement).getPropertyValue("--heat");
    const context = canvas.getContext("2d");
    const columns = heat.edges.length - 1;
    for (let column = 0; column < columns; column += 1) {
      const value = values[place * columns + column];
      if (!value) continue;
      const left = Math.round((heat.edges[column] / seconds) * width);
      const right = Math.round((heat.edges[column + 1] / seconds) * width);
      context.fillStyle = `rgba(${colour}, ${(value - 1) / 254})`;
      context.fillRect(left, 0, Math.max(1, right - left), 1);
    }
  }

  // One stop of the Tab key for each label; the arrow keys go from event to event.
  function spans(events, label, seek, percent) {
    const group = make("div", { role: "group", "aria-label": `Events: ${label}` });
    const buttons = events.map(([start, end, , score], place) => {
      const button = make("button", { type: "button", className: "event", tabIndex: place ? -1 : 0 });
      button.style.left = percent(start);
      button.style.width = `calc(${percent(end)} - ${percent(start)})`;
      button.title = `${label}, ${clock(start, 1)} to ${clock(end, 1)}, score ${score.toFixed(2)}`;
      button.setAttribute("aria-label", button.title);
      button.dataset.start = start;
      button.addEventListener("click", () => seek(start));
      return button;
    });
    group.addEventListener("keydown", (event) => {
      const here = buttons.indexOf(document.activeElement);
      const there = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: buttons.length - 1 }[event.key];
      if (there === undefined || !buttons[there]) return;
      event.preventDefault();
      buttons[here].tabIndex = -1;
      buttons[there].tabIndex = 0;
      buttons[there].focus();
    });
    group.append(...buttons);
    return group;
  }

  function eventList(events, seek) {
    const spansList = make("ol", { className: "spans", role: "list" });
    const count = `${events.length.toLocaleString("en")} ${events.length === 1 ? "event" : "events"}`;
    const box = make("details", {}, make("summary", {}, `${count}, as a list`), spansList);
    const more = make("button", { type: "button", className: "plain" }, "Show more");
    let filled = 0;
    const fill = () => {
      for (const [start, end, label, score] of events.slice(filled, filled + SPANS)) {
        const time = `${clock(start, 1)} – ${clock(end, 1)} `;
        const button = make("button", { type: "button", className: "plain" }, time, isolated(label), ` ${score.toFixed(2)}`);
        button.addEventListener("click", () => seek(start));
        spansList.append(make("li", {}, button));
      }
      filled += SPANS;
      more.hidden = filled >= events.length;
    };
    more.addEventListener("click", fill);
    box.append(more);
    box.addEventListener("toggle", () => { if (!filled) fill(); });
    return box;
  }

  function marks(seconds) {
    const steps = [0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400];
    const step = steps.find((one) => seconds / one <= 6) ?? 604800;
    const found = [];
    for (let at = 0; at < seconds - step / 3; at += step) found.push(at);
    return found;
  }

  function follow(audio, move) {
    if (!audio) return;
    const here = () => move(audio.currentTime);
    const frame = () => {
      here();
      if (!audio.paused) requestAnimationFrame(frame);
    };
    audio.addEventListener("play", () => requestAnimationFrame(frame));
    for (const name of ["timeupdate", "seeked", "seeking"]) audio.addEventListener(name, here);
  }

  // The tools

  const counts = new Map();
  for (const row of rows) for (const label of new Set(labelsOf(row))) counts.set(label, (counts.get(label) ?? 0) + 1);
  for (const label of [...counts.keys()].sort(collator.compare)) {
    byId("label").append(make("option", { value: label }, `${label} (${counts.get(label)})`));
  }
  let waiting = 0;
  byId("search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(update, 120);
  });
  for (const id of ["label", "state", "order"]) byId(id).addEventListener("change", update);
  document.querySelector(".tools").addEventListener("submit", (event) => event.preventDefault());
  byId("direction").addEventListener("click", (event) => {
    const button = event.currentTarget;
    button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
    update();
  });
  byId("more").addEventListener("click", () => {
    const next = matching[limit];
    limit += BATCH;
    show();
    items[next[1]].querySelector("button")?.focus();
  });
  for (const button of document.querySelectorAll("[data-label]")) {
    button.addEventListener("click", () => {
      byId("label").value = button.dataset.label;
      update();
      byId("files").focus();
      byId("files").scrollIntoView();
    });
  }
  update();
})();
