// The explorer: chooses and draws what explorer/*.js hold. It computes no statistic: differences are turned round, and
// on one level a metric without intervals there has the difference of two means.
(function () {
  "use strict";
  const root = document.getElementById("ed-explorer");
  const shared = window.exp_delta;
  if (!root) return;
  if (!shared) {
    root.textContent = "explorer/index.js cannot be read: there is nothing to show.";
    return;
  }
  const LISTS = ["profiles", "policies", "methods"];
  const MANY = 8;
  const loaded = {};
  let data = null;
  let state = {};
  let shows = 0;
  let opened = 0; // counts calls of open: of two that overlap, the later one is shown

  // ---- elements
  function make(tag, properties, ...children) {
    const element = Object.assign(document.createElement(tag), properties || {});
    element.append(...children);
    return element;
  }
  const parts = {
    controls: make("div", { className: "ed-controls" }),
    choices: make("div"),
    about: make("p", { className: "ed-note" }),
    buttons: make("div"),
    charts: make("div", { className: "ed-charts" }),
    table: make("div", { className: "ed-wide" }),
  };
  root.append(...Object.values(parts));

  function chooser(name, title, options) {
    const select = make("select", { name });
    for (const [value, text] of options) select.append(make("option", { value, textContent: text }));
    select.value = state[name];
    select.addEventListener("change", () => (name === "set" ? open({ set: select.value }) : change({ [name]: select.value })));
    return make("label", {}, title, select);
  }

  function boxes(name, title, options) {
    const inside = make("div", { className: "ed-choices" });
    for (const value of options) {
      const box = make("input", { type: "checkbox", name, value, checked: state[name].includes(value) });
      box.addEventListener("change", () => {
        const chosen = options.filter((one) => (one === value ? box.checked : state[name].includes(one)));
        if (chosen.length) change({ [name]: chosen });
        else box.checked = true;
      });
      inside.append(make("label", {}, box, " " + value));
    }
    const set = (chosen) => change({ [name]: chosen });
    const all = make("button", { type: "button", textContent: "all" });
    all.addEventListener("click", () => set(options));
    const first = make("button", { type: "button", textContent: "usual" });
    first.addEventListener("click", () => set(usual()[name]));
    return make("fieldset", {}, make("legend", { textContent: title }), inside, ...(options.length > 2 ? [all, first] : []));
  }

  // ---- data
  const unique = (values) => [...new Set(values)];
  const options = (name) => unique(data.arms.map((arm) => arm[name === "policies" ? "policy" : name.slice(0, -1)]));

  function usual() {
    const methods = options("methods");
    const plain = methods.filter((name) => !name.includes("+"));
    return {
      world: "",
      metric: data.primary,
      cost: "multiplications_per_tick",
      profiles: options("profiles").slice(0, MANY),
      policies: options("policies").slice(0, options("policies").length > 3 ? 1 : 3),
      methods: (methods.length > MANY && plain.length ? plain : methods).slice(0, MANY),
      reference: methods.length > 1 ? "method:" + methods[0] : "",
    };
  }

  function indexed(metric) {
    data.places = data.places || {};
    if (!data.places[metric]) data.places[metric] = new Map(data.pairs[metric].map((row, i) => [row[0] + "," + row[1], i]));
    return data.places[metric];
  }

  // A number with its sign turned; what is not known stays null, and nothing becomes -0.
  const turned = (x) => (x === null || x === 0 ? x : -x);

  // The difference a - b as [value, low, high, p]; what is not known is null.
  function difference(a, b) {
    const metric = state.metric;
    const level = data.levels.indexOf(state.world);
    const straight = indexed(metric).get(a + "," + b);
    const place = straight === undefined ? indexed(metric).get(b + "," + a) : straight;
    if (place === undefined) return null;
    let found = data.pairs[metric][place].slice(2);
    if (level >= 0 && data.levels.length > 1) {
      if (metric === data.primary) found = [...data.level_pairs[place][level], null];
      else {
        const mean = (i) => data.arms[i].levels[metric][level][0];
        return [mean(a) === null || mean(b) === null ? null : mean(a) - mean(b), null, null, null];
      }
    }
    const [value, low, high, p] = found;
    return straight === undefined ? [turned(value), turned(high), turned(low), p] : [value, low, high, p];
  }

  function referenceOf(arm) {
    if (!state.reference) return -1;
    const [setting, ...rest] = state.reference.split(":");
    const wanted = Object.assign({}, { profile: arm.profile, method: arm.method, policy: arm.policy }, { [setting]: rest.join(":") });
    return data.arms.findIndex((one) => Object.keys(wanted).every((name) => one[name] === wanted[name]));
  }

  function rows() {
    const level = data.levels.indexOf(state.world);
    const found = [];
    data.arms.forEach((arm, place) => {
      if (!state.profiles.includes(arm.profile) || !state.methods.includes(arm.method) || !state.policies.includes(arm.policy)) return;
      const [value, low, high] = level < 0 ? arm.values[state.metric] : arm.levels[state.metric][level];
      const reference = referenceOf(arm);
      const paired = reference < 0 || reference === place ? null : difference(place, reference);
      const series = state.policies.length > 1 ? arm.method + " · " + arm.policy : arm.method;
      found.push({ arm, series, value, low, high, paired });
    });
    return found;
  }

  // ---- text
  function shown(value, places, signed) {
    if (value === null || value === undefined || !Number.isFinite(value)) return "n/a";
    return new Intl.NumberFormat("en-US", {
      minimumFractionDigits: places,
      maximumFractionDigits: places,
      useGrouping: false,
      roundingMode: "halfEven",
      signDisplay: signed ? "always" : "auto",
    }).format(value);
  }
  function interval(values, metric, signed) {
    if (!values) return "";
    const [value, low, high] = values.map((x) => (x === null || x === undefined ? null : x * metric.scale));
    const text = shown(value, metric.places, signed);
    return low === null ? text : `${text} [${shown(low, metric.places, signed)}, ${shown(high, metric.places, signed)}]`;
  }
  const probability = (p) => (p === null || p === undefined ? "" : p < 0.001 ? "< 0.001" : shown(p, 3));

  // ---- charts
  const CONFIG = {
    axis: { labelLimit: 150, titleFontWeight: "normal", gridColor: "#e8e8e8", labelOverlap: true },
    legend: { orient: "bottom", columns: 2, labelLimit: 150, title: null },
    view: { stroke: null },
  };
  function color(found) {
    const methods = unique(found.map((row) => row.arm.method));
    return {
      field: "method",
      type: "nominal",
      sort: methods,
      scale: { domain: methods, range: methods.map((name) => data.colors[name]) },
    };
  }
  const shape = () => (state.policies.length > 1 ? { shape: { field: "policy", type: "nominal" } } : {});
  const delayOf = (name) => data.profiles.find((one) => one.name === name).constant;

  function drawn(row, metric) {
    const scaled = (x) => (x === null ? null : x * metric.scale);
    const [difference, differenceLow, differenceHigh] = row.paired ? row.paired.slice(0, 3).map(scaled) : [null, null, null];
    return {
      series: row.series,
      method: row.arm.method,
      policy: row.arm.policy,
      profile: row.arm.profile,
      delay: delayOf(row.arm.profile),
      value: scaled(row.value),
      low: scaled(row.low),
      high: scaled(row.high),
      cost: row.arm.costs[state.cost] === undefined ? null : row.arm.costs[state.cost] * shared.metrics[state.cost].scale,
      difference,
      differenceLow,
      differenceHigh,
      text: interval([row.value, row.low, row.high], metric),
      differenceText: interval(row.paired, metric, true),
    };
  }

  function chart(title, spec) {
    const place = make("div");
    parts.charts.append(make("div", { className: "ed-chart" }, make("h3", { textContent: title }), place));
    const whole = { width: "container", config: CONFIG, ...spec };
    return window.vegaEmbed(place, whole, { mode: "vega-lite", actions: false, renderer: "svg" });
  }

  function byProfile(values, metric, found) {
    const constants = state.profiles.map(delayOf);
    const line = constants.every((x) => x !== null) && unique(constants).length === constants.length && constants.length > 1;
    const tooltip = ["series", "profile", "text"].map((field) => ({ field, type: "nominal" }));
    const x = line
      ? { field: "delay", type: "quantitative", title: "constant delay (ticks)", axis: { tickMinStep: 1 } }
      : { field: "profile", type: "nominal", sort: state.profiles, title: null, axis: { labelAngle: state.profiles.length > 3 ? -35 : 0 } };
    const offset = line ? {} : { xOffset: { field: "series", type: "nominal", sort: unique(found.map((row) => row.series)) } };
    const encoding = { x, ...offset, color: color(found) };
    const y = { field: "value", type: "quantitative", title: metric.axis, scale: { zero: false } };
    const layer = [
      { mark: { type: "rule" }, encoding: { y: { ...y, field: "low" }, y2: { field: "high" } } },
      { mark: { type: "point", filled: true, size: 45, opacity: 1 }, encoding: { y, tooltip, ...shape() } },
    ];
    if (line) layer.unshift({ mark: "line", encoding: { y, detail: { field: "series" } } });
    return chart("By delay, with 95 % intervals", { height: 260, data: { values }, encoding, layer });
  }

  function byCost(values, metric, found) {
    const there = values.filter((row) => row.cost !== null);
    const tooltip = ["series", "profile", "text", "cost"].map((field) => ({ field, type: "nominal" }));
    const cost = shared.metrics[state.cost];
    const encoding = { x: { field: "cost", type: "quantitative", title: cost.axis, scale: { zero: false } }, color: color(found) };
    const y = { field: "value", type: "quantitative", title: metric.axis, scale: { zero: false } };
    const mark = { field: "profile", type: "nominal", sort: state.profiles };
    const layer = [
      { mark: "rule", encoding: { y: { ...y, field: "low" }, y2: { field: "high" } } },
      { mark: { type: "point", filled: true, size: 50, opacity: 1 }, encoding: { y, shape: mark, tooltip } },
    ];
    return chart(`Against ${cost.heading}`, { height: 260, data: { values: there }, encoding, layer });
  }

  function byDifference(values, metric, profile, found) {
    const there = values.filter((row) => row.profile === profile && row.difference !== null);
    if (!there.length) return null;
    const tooltip = ["series", "differenceText"].map((field) => ({ field, type: "nominal" }));
    const sort = unique(there.map((row) => row.series));
    const x = { field: "difference", type: "quantitative", title: metric.difference, scale: { zero: true } };
    const layer = [
      { mark: { type: "rule", color: "#6b6b6b" }, data: { values: [{ zero: 0 }] }, encoding: { x: { field: "zero", type: "quantitative" } } },
      { mark: "rule", encoding: { x: { ...x, field: "differenceLow" }, x2: { field: "differenceHigh" } } },
      { mark: { type: "point", filled: true, size: 50, opacity: 1 }, encoding: { x, tooltip } },
    ].map((one, i) => (i ? { ...one, encoding: { ...one.encoding, y: { field: "series", type: "nominal", sort, title: null }, color: { ...color(found), legend: null } } } : one));
    const text = state.reference.replace(":", " ");
    return chart(`${profile}: difference to ${text}`, { height: 24 * sort.length + 10, data: { values: there }, layer });
  }

  function byLevel(metric, profile, found) {
    const values = [];
    for (const row of found.filter((one) => one.arm.profile === profile))
      data.levels.forEach((level, i) => {
        const [value, low, high] = row.arm.levels[state.metric][i];
        values.push({ level, method: row.arm.method, policy: row.arm.policy, series: row.series, value: value * metric.scale, text: interval([value, low, high], metric) });
      });
    if (!values.length) return null;
    const tooltip = ["level", "series", "text"].map((field) => ({ field, type: "nominal" }));
    const encoding = {
      y: { field: "level", type: "nominal", sort: data.levels, title: null },
      x: { field: "value", type: "quantitative", title: metric.axis, scale: { zero: false } },
      color: color(found),
      tooltip,
      ...shape(),
    };
    return chart(`${profile}, on every level`, { height: 22 * data.levels.length, data: { values }, mark: { type: "point", filled: true, size: 45, opacity: 0.85 }, encoding });
  }

  // ---- table
  const costs = () => Object.keys(shared.metrics).filter((name) => data.arms.some((arm) => arm.costs[name] !== undefined));

  function table(found, metric) {
    const seen = data.arms.some((arm) => arm.sees);
    const several = options("policies").length > 1;
    const heads = ["profile", "method", ...(several ? ["policy"] : []), metric.heading];
    if (state.reference) heads.push(`${metric.difference} to ${state.reference.replace(":", " ")}`, "p");
    heads.push(...costs().map((name) => shared.metrics[name].heading), ...(seen ? ["sees"] : []));
    const body = make("tbody");
    for (const row of found) {
      const cells = [row.arm.profile, row.arm.method, ...(several ? [row.arm.policy] : []), interval([row.value, row.low, row.high], metric)];
      if (state.reference) cells.push(interval(row.paired, metric, true), row.paired ? probability(row.paired[3]) : "");
      for (const name of costs()) {
        const about = shared.metrics[name];
        cells.push(shown(row.arm.costs[name] === undefined ? null : row.arm.costs[name] * about.scale, about.places));
      }
      if (seen) cells.push(row.arm.sees);
      body.append(make("tr", {}, ...cells.map((text) => make("td", { textContent: text }))));
    }
    const head = make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { textContent: text }))));
    parts.table.replaceChildren(make("table", {}, head, body));
  }

  function csv() {
    const names = costs();
    const quoted = (x) => (/[",\n]/.test(String(x)) ? `"${String(x).replace(/"/g, '""')}"` : String(x));
    const lines = [["study", "world", "profile", "method", "policy", "label", "metric", "value", "low", "high", "reference", "difference", "difference_low", "difference_high", "p", ...names]];
    for (const row of rows())
      lines.push([data.name, state.world || "mean over levels", row.arm.profile, row.arm.method, row.arm.policy, row.arm.label, state.metric, row.value, row.low, row.high, state.reference,
        ...(row.paired || [null, null, null, null]), ...names.map((name) => row.arm.costs[name])]);
    return lines.map((line) => line.map((x) => quoted(x === null || x === undefined ? "" : x)).join(",")).join("\n") + "\n";
  }

  // ---- the view and its address
  function address() {
    const found = new URLSearchParams();
    for (const [name, value] of Object.entries(state)) found.set(name, Array.isArray(value) ? value.join(",") : value);
    return "#" + found.toString();
  }

  function wanted() {
    const found = {};
    for (const [name, value] of new URLSearchParams(location.hash.slice(1))) found[name] = LISTS.includes(name) ? value.split(",") : value;
    return found;
  }

  function allowed(given) {
    const found = usual();
    for (const name of LISTS) {
      const chosen = (given[name] || []).filter((value) => options(name).includes(value));
      if (chosen.length) found[name] = options(name).filter((value) => chosen.includes(value));
    }
    if (data.levels.includes(given.world) || given.world === "") found.world = given.world;
    if (data.metrics.includes(given.metric)) found.metric = given.metric;
    if (costs().includes(given.cost)) found.cost = given.cost;
    if (references().some(([value]) => value === given.reference)) found.reference = given.reference;
    return found;
  }

  function references() {
    const found = [["", "none"]];
    for (const [setting, name] of [["method", "methods"], ["profile", "profiles"], ["policy", "policies"]])
      if (options(name).length > 1) for (const value of options(name)) found.push([`${setting}:${value}`, `${setting} ${value}`]);
    return found;
  }

  function change(changes) {
    state = { set: state.set, ...allowed({ ...state, ...changes }) };
    history.replaceState(null, "", address());
    show();
  }

  function controls() {
    const worlds = data.levels.length > 1 ? [["", `mean over ${data.levels.length} levels`], ...data.levels.map((x) => [x, x])] : [["", data.levels[0]]];
    const titled = (name) => [name, shared.metrics[name].heading];
    parts.controls.replaceChildren(
      chooser("set", "Study", shared.sets.map((one) => [one.name, one.title])),
      chooser("world", "World", worlds),
      chooser("metric", "Metric", data.metrics.map(titled)),
      chooser("reference", "Difference to", references()),
      chooser("cost", "Cost", costs().map(titled))
    );
    const groups = [["profiles", "Delay profiles"], ["policies", "Policies"], ["methods", "Methods"]];
    parts.choices.replaceChildren(...groups.filter(([name]) => options(name).length > 1).map(([name, title]) => boxes(name, title, options(name))));
    const download = make("button", { type: "button", id: "ed-csv", textContent: "Download CSV" });
    download.addEventListener("click", () => {
      const link = make("a", { href: URL.createObjectURL(new Blob([csv()], { type: "text/csv" })), download: `${data.name}.csv` });
      link.click();
      URL.revokeObjectURL(link.href);
    });
    const copy = make("button", { type: "button", id: "ed-link", textContent: "Copy link to this view" });
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(location.href);
        copy.textContent = "Copied";
      } catch {
        window.prompt("Link to this view", location.href);
      }
    });
    parts.buttons.replaceChildren(download, copy);
  }

  function about(metric) {
    const better = metric.better ? `; ${metric.better} is better` : "";
    const definition = metric.definition.replace(/`/g, "");
    const size = `${data.levels.length} ${data.levels.length > 1 ? "levels" : "level"}, ${data.episodes} episodes per arm and level. `;
    parts.about.replaceChildren(size, `${metric.heading}: ${definition}${better}. `, make("a", { href: data.report, textContent: "Report of this study" }), `. ${data.question}`);
  }

  async function show() {
    const drawing = ++shows;
    root.dataset.ready = "";
    const metric = shared.metrics[state.metric];
    controls();
    about(metric);
    const found = rows();
    table(found, metric);
    parts.charts.replaceChildren();
    const values = found.map((row) => drawn(row, metric));
    const charts = [byProfile(values, metric, found), byCost(values, metric, found)];
    if (state.reference) for (const profile of state.profiles) charts.push(byDifference(values, metric, profile, found));
    if (data.levels.length > 1 && !state.world) for (const profile of state.profiles) charts.push(byLevel(metric, profile, found));
    await Promise.all(charts);
    if (drawing === shows) root.dataset.ready = "1";
  }

  function load(name) {
    if (loaded[name]) return loaded[name];
    loaded[name] = new Promise((resolve, reject) => {
      const script = make("script", { src: `explorer/${name}.js` });
      script.addEventListener("load", () => resolve(window.exp_delta.data[name]));
      script.addEventListener("error", () => {
        delete loaded[name];
        reject(new Error(`explorer/${name}.js cannot be read`));
      });
      document.head.append(script);
    });
    return loaded[name];
  }

  async function open(given) {
    const call = ++opened;
    const name = shared.sets.some((one) => one.name === given.set) ? given.set : shared.sets[0].name;
    try {
      const found = await load(name);
      if (call !== opened) return;
      data = found;
      state = { set: name, ...allowed(given) };
      if (location.hash !== address()) history.replaceState(null, "", address());
      await show();
    } catch (error) {
      if (call === opened) failed(error);
    }
  }

  // Says what went wrong in place of what is shown; the choice of studies stays.
  function failed(error) {
    for (const part of [parts.choices, parts.buttons, parts.charts, parts.table]) part.replaceChildren();
    parts.controls.replaceChildren(chooser("set", "Study", [["", ""], ...shared.sets.map((one) => [one.name, one.title])]));
    parts.controls.querySelector("select").value = "";
    parts.about.textContent = `This cannot be shown: ${error.message}`;
    root.dataset.ready = "";
  }

  window.addEventListener("hashchange", () => open(wanted()));
  if (shared.sets.length) open(wanted());
  else parts.about.textContent = "There are no committed outcomes to show.";
})();
