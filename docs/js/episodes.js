// Two videos of one episode, side by side, each above its delay timeline.
(function () {
  "use strict";
  const root = document.getElementById("ed-episodes");
  const episodes = (window.exp_delta && window.exp_delta.episodes) || [];
  if (!root) return;
  if (!episodes.length) {
    root.textContent = "No recorded episodes.";
    return;
  }
  const SVG = "http://www.w3.org/2000/svg";
  const HEIGHT = 36;
  const COLORS = { query: "#E69F00", planned: "#000000", age: "#56B4E9", starved: "#D55E00", cursor: "#000000" };
  const make = (tag, properties, ...children) => {
    const element = Object.assign(document.createElement(tag), properties || {});
    element.append(...children);
    return element;
  };
  const scenes = [...new Set(episodes.map((one) => one.scene))];
  let frame = 0;

  const scene = make("select", { name: "scene" });
  for (const name of scenes) scene.append(make("option", { value: name, textContent: name }));
  const play = make("button", { type: "button", textContent: "Play" });
  const slider = make("input", { type: "range", min: 0, max: 1, value: 0 });
  slider.setAttribute("aria-label", "control tick");
  const tick = make("span", { className: "ed-note" });
  const pair = make("div", { className: "ed-pair" });
  root.append(make("label", { className: "ed-note" }, "Level and delay", scene), make("div", { className: "ed-play" }, play, slider, tick), pair);
  const sides = [0, 1].map((place) => {
    const choice = make("select", { name: "side" + place });
    const video = make("video", { muted: true, playsInline: true, preload: "auto" });
    const timeline = document.createElementNS(SVG, "svg");
    timeline.setAttribute("preserveAspectRatio", "none");
    timeline.setAttribute("role", "img");
    const note = make("p", { className: "ed-note" });
    pair.append(make("div", {}, choice, video, timeline, note));
    const side = { place, choice, video, timeline, note, episode: null };
    choice.addEventListener("change", () => fill(side));
    return side;
  });

  function box(x, y, width, height, fill, opacity) {
    const element = document.createElementNS(SVG, "rect");
    for (const [name, value] of Object.entries({ x, y, width, height, fill, "fill-opacity": opacity || 1 })) element.setAttribute(name, value);
    return element;
  }

  function draw(side) {
    const { episode, timeline } = side;
    const ticks = longest();
    timeline.setAttribute("viewBox", `0 0 ${ticks} ${HEIGHT}`);
    timeline.setAttribute("aria-label", `delays of ${episode.method}`);
    timeline.replaceChildren();
    for (const [launch, delay, planned] of episode.queries) {
      if (delay > 0) timeline.append(box(launch, 2, delay, 12, COLORS.query, 0.85));
      timeline.append(box(launch + planned - 0.12, 1, 0.24, 14, COLORS.planned));
    }
    const top = Math.max(1, ...episode.age);
    episode.age.forEach((age, at) => {
      if (age < 0) timeline.append(box(at, 16, 1, HEIGHT - 16, COLORS.starved));
      else if (age > 0) timeline.append(box(at, HEIGHT - (age / top) * (HEIGHT - 18), 1, (age / top) * (HEIGHT - 18), COLORS.age));
    });
    side.cursor = box(0, 0, 0.5, HEIGHT, COLORS.cursor);
    timeline.append(side.cursor);
  }

  const longest = () => Math.max(...sides.filter((side) => side.episode).map((side) => side.episode.age.length));

  // Whole, where there is a server: one that sends no ranges would not let a video seek.
  const sources = {};
  function source(path) {
    if (location.protocol === "file:") return Promise.resolve(path);
    sources[path] = sources[path] || fetch(path).then((reply) => reply.blob()).then((blob) => URL.createObjectURL(blob));
    return sources[path];
  }

  function fill(side) {
    const episode = episodes.find((one) => one.scene === scene.value && one.method === side.choice.value);
    side.episode = episode;
    source(episode.video).then((address) => {
      if (side.episode !== episode) return;
      side.video.src = address;
      seek(Number(slider.value));
    });
    const starved = side.episode.age.filter((age) => age < 0).length;
    side.note.textContent = `${side.episode.solved ? "solved" : "not solved"} after ${side.episode.age.length} ticks; starved on ${starved}`;
    if (sides.every((one) => one.episode)) {
      stop();
      slider.max = longest();
      sides.forEach(draw);
      seek(0);
    }
  }

  function choose() {
    const there = episodes.filter((one) => one.scene === scene.value).map((one) => one.method);
    sides.forEach((side) => {
      side.episode = null;
      side.choice.replaceChildren(...there.map((name) => make("option", { value: name, textContent: name })));
      side.choice.value = there[Math.min(side.place, there.length - 1)];
    });
    sides.forEach(fill);
  }

  function mark(at) {
    slider.value = at;
    tick.textContent = `tick ${at}`;
    for (const side of sides) side.cursor.setAttribute("x", Math.min(at, side.episode.age.length));
  }

  // The first frame is before any action, then there is one per tick.
  function seek(at) {
    for (const side of sides) side.video.currentTime = (Math.min(at, side.episode.age.length) + 0.5) / side.episode.fps;
    mark(at);
  }

  function stop() {
    cancelAnimationFrame(frame);
    play.textContent = "Play";
    for (const side of sides) side.video.pause();
  }

  function run() {
    const lead = sides.reduce((one, other) => (one.episode.age.length >= other.episode.age.length ? one : other));
    const at = Math.floor(lead.video.currentTime * lead.episode.fps);
    mark(Math.min(at, longest()));
    if (at >= longest() || lead.video.ended) stop();
    else frame = requestAnimationFrame(run);
  }

  play.addEventListener("click", async () => {
    if (play.textContent === "Pause") return stop();
    if (Number(slider.value) >= longest()) seek(0);
    play.textContent = "Pause";
    await Promise.all(sides.map((side) => side.video.play().catch(() => {})));
    run();
  });
  slider.addEventListener("input", () => {
    stop();
    seek(Number(slider.value));
  });
  scene.addEventListener("change", choose);
  choose();
})();
