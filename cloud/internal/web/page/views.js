"use strict";
// The pages behind the yard: one station, one session, who waits to be admitted,
// security events, scorecards, recordings. The part of the address after # says
// which one is open. page.js calls route once somebody has signed in.

const shown = { name: "", refresh: null, timer: 0, busy: false };

const views = {
  stations: stationView, sessions: sessionView, waiting: waitingView,
  security: securityView, deviations: deviationsView, recordings: recordingsView,
};

// route opens what the address names; without a name the yard.
function route() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  const make = Object.hasOwn(views, name) ? views[name] : null;
  shown.name = make ? name : "";
  shown.refresh = null;
  $("yard").hidden = Boolean(make) || !state.loaded;
  $("view").hidden = !make;
  for (const a of document.querySelectorAll("#nav a")) {
    if (a.getAttribute("href") === (make ? "#" + name : "#")) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  if (!make) { draw(); return; }
  const body = $("view");
  body.replaceChildren();
  delete document.body.dataset.view;
  shown.refresh = make(body, decodeURIComponent(rest.join("/")));
  refreshView();
  scrollTo(0, 0);
}

// refreshView reads what is open anew, once at a time.
async function refreshView() {
  clearTimeout(shown.timer);
  shown.timer = 0;
  const refresh = shown.refresh;
  if (!refresh || !state.token) return;
  if (shown.busy) { viewSoon(); return; }
  shown.busy = true;
  try {
    await refresh();
    document.body.dataset.view = shown.name;
  } catch (err) {
    if (err instanceof Refused) failed(err);
    else if (shown.refresh === refresh) $("view").replaceChildren(note("This cannot be shown.", err.message));
  } finally {
    shown.busy = false;
  }
}

// viewSoon reads it anew shortly, however much happens.
function viewSoon() {
  if (shown.refresh && !shown.timer) shown.timer = setTimeout(refreshView, 1200);
}

// order asks the manager to change something and returns its answer.
async function order(method, path, body) {
  const headers = { Authorization: "Bearer " + state.token };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method === "POST") headers["Idempotency-Key"] = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
  const answer = await fetch(api + path, { method, headers, cache: "no-store", body: body === undefined ? undefined : JSON.stringify(body) });
  const text = await answer.text();
  const data = text ? JSON.parse(text) : {};
  if (answer.ok) return data;
  const faults = (data.errors || []).map((e) => e.location.replace(/^body\.(params\.)?/, "") + ": " + e.message);
  throw new Error(faults.join("; ") || data.detail || answer.statusText);
}

// --- Pieces of pages

const note = (title, text) => el("p", { class: "note" }, el("strong", {}, title), text || "");
const panel = (...children) => el("div", { class: "panel scroll" }, ...children);
const link = (href, ...children) => el("a", { href }, ...children);
const time = (t) => el("time", { datetime: t, title: new Date(t).toISOString() }, clock(t));
const json = (v) => el("pre", {}, JSON.stringify(v, null, 1));

function table(heads, rows, empty) {
  if (!rows.length) return note(empty);
  return panel(el("table", {}, el("thead", {}, el("tr", {}, heads.map((h) => el("th", {}, h)))), el("tbody", {}, rows)));
}

const row = (...cells) => el("tr", {}, cells.map((c) => el("td", {}, c)));

function part(body, title, id) {
  const content = el("div", { id });
  body.append(el("section", {}, el("h2", {}, title), content));
  return content;
}

function button(text, act, quiet) {
  const b = el("button", { type: "button", class: quiet ? "quiet" : "small" }, text);
  b.addEventListener("click", async () => {
    b.disabled = true;
    try { await act(); } finally { b.disabled = false; }
  });
  return b;
}

function choice(name, options, label) {
  return el("label", { class: "field" }, el("span", {}, label), el("select", { name },
    options.map((o) => { const [value, text] = Array.isArray(o) ? o : [o, o === "" ? "–" : word(o)]; return el("option", { value }, text); })));
}

function field(name, label, more) {
  const kind = more && more.long ? "textarea" : "input";
  const { long, ...attributes } = more || {};
  return el("label", { class: long ? "field long" : "field" }, el("span", {}, label),
    el(kind, { name, autocomplete: "off", spellcheck: "false", ...attributes }));
}

// fetchFile saves what the manager keeps, which a plain link could not ask for.
async function fetchFile(path, name) {
  const answer = await get(path);
  const url = URL.createObjectURL(await answer.blob());
  const a = el("a", { href: url, download: name });
  a.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

function fileRows(files, kind) {
  return files.map((f) => {
    const ready = f.state === "complete";
    const path = (kind === "log" ? "/logs/" : "/recordings/") + f.id + "/content";
    const name = kind === "log" ? `log-${f.identity}-${f.id.slice(0, 8)}` : `frames-${f.identity}-${f.id.slice(0, 8)}.ndjson`;
    return row(time(f.created), f.station ? link("#stations/" + f.station, f.identity) : f.identity || "–", word(kind),
      f.from ? [time(f.from), " – ", time(f.to)] : f.to ? ["until ", time(f.to)] : "–",
      ready ? number(f.size / 1024, 1) + " KiB" : word(f.state),
      ready ? button("Save", () => fetchFile(path, name).catch(failed)) : "");
  });
}
const fileHeads = ["Asked for", "Station", "What", "Of the time", "Size", ""];

// recordButton has a gateway bring what its flight recorder holds.
function recordButton(station, gateway, span) {
  const said = el("span", { class: "soft small", role: "status" });
  const b = button("Fetch frames", async () => {
    const params = { station, ...span() };
    try {
      const c = await order("POST", "/commands", { type: "record", gateway, params });
      said.textContent = " asked for …";
      follow(c.id, (done) => { said.textContent = " " + word(done.status) + (done.reason ? ": " + done.reason : done.result ? ": " + done.result.frames + " frames" : ""); viewSoon(); });
    } catch (err) {
      said.textContent = " " + err.message;
    }
  });
  return el("p", { class: "row" }, b, said);
}

// follow reads a command until it has ended.
async function follow(id, tell) {
  for (let n = 0; n < 200 && shown.refresh; n++) {
    const c = await (await get("/commands/" + id)).json();
    tell(c);
    if (!["queued", "sent", "delivered", "accepted"].includes(c.status)) return;
    await new Promise((r) => setTimeout(r, 1000));
  }
}

// --- One station

const rootKinds = ["csms_root", "manufacturer_root", "mo_root", "v2g_root", "oem_root"];
const tokenTypes = ["rfid", "emaid", "mac", "central", "local", "key_code", "none", "unspecified"];
const withToken = (f) => ({ token: { type: f["token.type"], value: f["token.value"] } });
const inMinutes = (m) => new Date(Date.now() + Number(m) * 60000).toISOString();
const whole = (v) => (v === "" || v === undefined ? undefined : Number(v));

// Variables are written a line each: Component.Variable, Component@2.Variable for
// one of EVSE 2, and =value where one is set.
function readVariables(text, values) {
  return text.split("\n").map((l) => l.trim()).filter(Boolean).map((l) => {
    const [name, ...rest] = values ? l.split("=") : [l];
    const m = /^(?:([^.@]+)(?:@(\d+))?\.)?(.+)$/.exec(name.trim());
    const v = { component: m[1] || "Ocpp16", variable: m[3], value: rest.join("=").trim() };
    if (m[2]) v.evse = Number(m[2]);
    return v;
  });
}

// commandForms has the fields of each command and how they become parameters.
const commandForms = {
  start: { evse: true, fields: () => [field("token.value", "Token"), choice("token.type", tokenTypes, "Type"), field("limit_a", "Limit, A", { type: "number", min: 0, step: "any" })], params: (f) => ({ ...withToken(f), limit_a: whole(f.limit_a) }) },
  stop: { evse: true, fields: () => [field("session", "Session (empty: the one of the EVSE)")], params: (f) => ({ session: f.session || undefined }) },
  unlock: { evse: true, fields: () => [field("connector", "Connector", { type: "number", min: 1 })], params: (f) => ({ connector: whole(f.connector) }) },
  reset: { evse: true, fields: () => [choice("kind", [["soft", "soft: once nothing charges"], ["hard", "hard: at once"], ["resume", "resume: at once, sessions go on"]], "Kind")], params: (f) => ({ kind: f.kind }) },
  set_availability: { evse: true, fields: () => [choice("available", [["true", "in service"], ["false", "out of service"]], "State"), field("connector", "Connector (empty: all of the EVSE)", { type: "number", min: 1 })], params: (f) => ({ available: f.available === "true", connector: whole(f.connector) }) },
  set_limit: { evse: true, fields: () => [field("limit_a", "Limit, A", { type: "number", min: 0, step: "any" }), field("limit_w", "or W", { type: "number", min: 0, step: "any" }), field("minutes", "For minutes", { type: "number", min: 1, value: 60, required: true })], params: (f) => ({ limit_a: whole(f.limit_a), limit_w: whole(f.limit_w), until: inMinutes(f.minutes) }) },
  clear_limit: { evse: true, fields: () => [], params: () => ({}) },
  get_limit: { evse: true, fields: () => [choice("unit", ["", ["A", "A"], ["W", "W"]], "Unit"), field("duration_s", "For seconds", { type: "number", min: 1 })], params: (f) => ({ unit: f.unit || undefined, duration_s: whole(f.duration_s) }) },
  get_configuration: { fields: () => [field("variables", "Variables, a line each: Component.Variable (empty: all)", { long: true })], params: (f) => ({ variables: f.variables.trim() ? readVariables(f.variables) : undefined }) },
  set_configuration: { fields: () => [field("variables", "A line each: Component.Variable=value (a key of OCPP 1.6: Key=value)", { long: true, required: true })], params: (f) => ({ variables: readVariables(f.variables, true) }) },
  trigger: { evse: true, fields: () => [choice("message", ["status", "boot", "heartbeat", "meter", "transaction", "firmware", "publish_firmware", "log", "sign_certificate", "sign_v2g_certificate", "sign_v2g20_certificate", "sign_combined_certificate", ["custom:", "the device’s own word"]], "Message"), field("own", "The device’s own word")], params: (f) => ({ message: f.message === "custom:" ? "custom:" + f.own : f.message }) },
  reserve: { evse: true, fields: () => [field("reservation", "Number", { type: "number", min: 1, required: true }), field("token.value", "Token"), choice("token.type", tokenTypes, "Type"), field("minutes", "For minutes", { type: "number", min: 1, value: 15, required: true })], params: (f) => ({ reservation: whole(f.reservation), ...withToken(f), until: inMinutes(f.minutes) }) },
  cancel_reservation: { fields: () => [field("reservation", "Number", { type: "number", min: 1, required: true })], params: (f) => ({ reservation: whole(f.reservation) }) },
  show_message: { fields: () => [field("text", "Text (empty with a number: take it away)", { long: true }), field("id", "Number", { type: "number", min: 1 }), choice("priority", ["", "normal", "in_front", "always_front"], "Priority"), choice("state", ["", "charging", "faulted", "idle", "unavailable"], "Only while"), choice("format", ["", "utf8", "ascii", "html", "uri", "qrcode"], "Format"), field("language", "Language", { placeholder: "en" }), field("minutes", "For minutes", { type: "number", min: 1 })], params: (f) => ({ text: f.text, id: whole(f.id), priority: f.priority || undefined, state: f.state || undefined, format: f.format || undefined, language: f.language || undefined, end: f.minutes ? inMinutes(f.minutes) : undefined }) },
  get_log: { fields: () => [choice("kind", ["diagnostics", "security"], "Kind")], params: (f) => ({ kind: f.kind }) },
  update_firmware: { fields: () => [field("url", "Address", { type: "url", required: true }), field("certificate", "Signing certificate (PEM)", { long: true }), field("signature", "Signature (base64)")], params: (f) => ({ url: f.url, certificate: f.certificate || undefined, signature: f.signature || undefined }) },
  clear_cache: { fields: () => [], params: () => ({}) },
  list_certificates: { fields: () => [choice("kind", ["", ...rootKinds, "v2g_chain"], "Kind")], params: (f) => ({ kind: f.kind || undefined }) },
  install_certificate: { fields: () => [choice("kind", rootKinds, "Kind"), field("certificate", "Certificate (PEM)", { long: true, required: true })], params: (f) => ({ kind: f.kind, certificate: f.certificate }) },
  sign_certificate: { fields: () => [choice("kind", ["station", "v2g", "v2g20"], "Kind")], params: (f) => ({ kind: f.kind }) },
  send_data: { fields: () => [field("vendor", "Vendor", { required: true }), field("message", "Message"), field("data", "Data", { long: true })], params: (f) => ({ vendor: f.vendor, message: f.message || undefined, data: f.data || undefined }) },
  call: { fields: (s) => [field("protocol", "Protocol", { value: s.protocol }), field("action", "Action", { required: true }), field("payload", "Payload (JSON)", { long: true, required: true })], params: (f) => ({ protocol: f.protocol, action: f.action, payload: JSON.parse(f.payload) }) },
};

function commandForm(station) {
  const type = el("select", { name: "type" }, Object.keys(commandForms).map((t) => el("option", { value: t }, cap(word(t)))));
  const evse = choice("evse", [["0", "any, or the whole station"], ...station.evses.map((e) => [String(e.evse), "EVSE " + e.evse])], "EVSE");
  const fields = el("div", { class: "fields" });
  const said = el("p", { class: "soft small", role: "status" });
  const form = el("form", { class: "panel command" }, el("div", { class: "fields" }, el("label", { class: "field" }, el("span", {}, "Command"), type), evse), fields, el("button", { type: "submit" }, "Send"), said);
  const change = () => {
    evse.hidden = !commandForms[type.value].evse;
    fields.replaceChildren(...commandForms[type.value].fields(station));
  };
  type.addEventListener("change", change);
  change();
  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    const f = Object.fromEntries(new FormData(form));
    said.textContent = "sending …";
    try {
      const c = await order("POST", "/commands", { type: type.value, station: station.id, evse: commandForms[type.value].evse ? Number(f.evse) : 0, params: commandForms[type.value].params(f) });
      follow(c.id, (now) => { said.textContent = cap(word(now.type)) + ": " + word(now.status) + (now.reason ? ", " + now.reason : ""); }).catch(failed);
      viewSoon();
    } catch (err) {
      said.textContent = err.message;
    }
  });
  return form;
}

function commandRows(list) {
  return list.map((c) => row(time(c.created), cap(word(c.type)) + (c.evse ? ", EVSE " + c.evse : ""), c.issued_by || "–",
    [word(c.status), c.cancel_asked && !c.status.match(/succeeded|cancelled/) ? el("span", { class: "sub" }, "to be cancelled") : "", c.reason ? el("span", { class: "sub" }, c.reason) : ""],
    c.result ? el("details", {}, el("summary", {}, "Result"), json(c.result)) : ["queued", "sent", "delivered"].includes(c.status) ? button("Cancel", () => order("POST", `/commands/${c.id}/cancel`).then(viewSoon, () => viewSoon()), true) : ""));
}

function securityRows(list, alone) {
  return list.map((e) => row(time(e.time), ...(alone ? [] : [e.station ? link("#stations/" + e.station, e.identity) : e.identity || e.gateway]),
    [e.critical ? el("span", { class: "badge", "data-tone": "bad" }, "critical") : "", " ", e.event, e.count > 1 ? ` × ${e.count}` : ""], e.info || ""));
}

const kinds = (c) => el("ul", { class: "plain" }, c.kinds.map((k) => el("li", {}, el("span", { class: "num" }, number(k.count, 0)), " ", word(k.kind),
  el("span", { class: "soft small" }, ` last ${ago(k.last)}${k.recent ? `, ${number(k.recent, 0)} since the gateway started` : ""}`))));

function stationView(body, id) {
  const path = "/stations/" + encodeURIComponent(id);
  const head = el("div", {});
  body.append(head);
  const plugs = part(body, "Connectors");
  const send = part(body, "Give a command");
  const commands = part(body, "Commands");
  const sessions = part(body, "Sessions");
  const variables = part(body, "Variables");
  const security = part(body, "Security events");
  const deviations = part(body, "Deviations from its protocol");
  const files = part(body, "Recordings and logs");
  const search = el("input", { type: "search", placeholder: "Component or variable", "aria-label": "Find a variable" });
  const list = el("div", {});
  variables.append(el("p", { class: "row" }, search, button("Read all anew", () => order("POST", "/commands", { type: "get_configuration", station: id }).then(viewSoon, (e) => { list.prepend(note("Not asked.", e.message)); }))), list);
  let known = [], station = null;
  const drawVariables = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = known.filter((v) => words.every((w) => (v.component + "." + v.variable + " " + (v.instance || "")).toLowerCase().includes(w)));
    list.replaceChildren(table(["Component", "Variable", "Value", "Unit", "As of"], found.slice(0, 300).map((v) => row(
      v.component + (v.evse ? " · EVSE " + v.evse : ""), [el("strong", {}, v.variable), v.instance ? ` (${v.instance})` : "", v.attribute && v.attribute !== "Actual" ? el("span", { class: "sub" }, word(v.attribute)) : ""],
      [el("code", {}, v.value === "" ? "–" : v.value), v.read_only || v.mutability === "read_only" ? el("span", { class: "sub" }, "read only") : "", v.values ? el("span", { class: "sub" }, v.values.join(", ")) : ""],
      v.unit || "", el("span", { class: "when" }, ago(v.as_of)))), known.length ? "Nothing matches." : "It has told of no variable yet: read them all."),
    found.length > 300 ? el("p", { class: "soft small" }, `${found.length - 300} more: narrow the search.`) : "");
  };
  search.addEventListener("input", drawVariables);
  return async () => {
    station = await (await get(path)).json();
    const s = station, q = "station=" + encodeURIComponent(s.id);
    const [cs, ss, vs, es, ds, rs, ls] = await Promise.all([
      get("/commands?limit=15&" + q), get("/sessions?limit=15&" + q), all(path + "/variables"), get("/security-events?limit=15&" + q),
      get("/deviations?" + q), get("/recordings?limit=10&" + q), get("/logs?limit=10&" + q)].map(async (p) => { const a = await p; return Array.isArray(a) ? a : (await a.json()).items; }));
    head.replaceChildren(
      el("h1", { class: "title" }, s.identity, " ", el("span", { class: "state small", "data-tone": away(s) ? "bad" : "free" }, away(s) ? (s.connectivity.stale ? "gateway away" : "offline") : "online"),
        s.registration && s.registration !== "accepted" ? el("span", { class: "badge", "data-tone": "wait" }, "registration " + s.registration) : ""),
      el("p", { class: "soft" }, [[s.vendor, s.model].filter(Boolean).join(" "), s.firmware && "firmware " + s.firmware, s.serial && "serial " + s.serial, s.protocol, "gateway " + s.gateway].filter(Boolean).join(" · ")),
      head.querySelector("p.row") || recordButton(s.id, s.gateway, () => ({ from: new Date(Date.now() - 3600000).toISOString() })));
    const ps = s.evses.filter((e) => e.evse > 0).flatMap((e) => e.connectors.map((p) => plug(s, e, p)));
    plugs.replaceChildren(ps.length ? el("div", { class: "panel station" }, el("ul", { class: "plugs" }, ps)) : note("No connector has told its state yet."));
    if (!send.firstChild) send.append(commandForm(s));
    commands.replaceChildren(table(["Given", "Command", "By", "State", ""], commandRows(cs), "No command yet."));
    sessions.replaceChildren(table(["Began", "Where", "Token", "Energy", "State"], ss.map((x) => row(link("#sessions/" + x.id, x.started ? clock(x.started) : "before the log"),
      cap(place(x.evse, x.connector, s)), tokenText(x.token), have(x.energy_wh) ? kWh(x.energy_wh) : "–",
      [x.status === "active" ? word(x.charging_state || "active") : word(x.reason || "ended"), x.flags.length ? el("span", { class: "sub" }, x.flags.map(word).join(", ")) : ""])), "No session yet."));
    known = vs;
    drawVariables();
    security.replaceChildren(table(["Time", "Event", "Info"], securityRows(es, true), "None."));
    deviations.replaceChildren(ds.length ? el("div", { class: "panel station" }, kinds(ds[0])) : note("None: it keeps to the rules."));
    files.replaceChildren(table(fileHeads, [...fileRows(rs, "recording"), ...fileRows(ls, "log")], "None yet: fetch its frames, or get its log."));
  };
}

// --- One session

const kindNames = { event: "Events", status: "Statuses", decision: "Decisions", command: "Commands", frame: "Frames" };

// frameText says in a line what a frame is; calls remembers what was asked.
function frameText(f, calls) {
  const m = f.frame;
  if (!Array.isArray(m)) return [f.text || "cut frame", ""];
  const id = String(m[1]);
  switch (m[0]) {
  case 2: calls.set(id, m[2]); return [m[2], m[3]];
  case 3: return ["answer to " + (calls.get(id) || id), m[2]];
  case 4: return ["refusal of " + (calls.get(id) || id) + ": " + m[2], m.slice(3)];
  case 5: return ["the answer could not be used: " + m[2], m.slice(3)];
  case 6: return [m[2] + " (no answer wanted)", m[3]];
  }
  return ["frame", m];
}

function itemLine(i, calls) {
  switch (i.kind) {
  case "event": return [tell(i.event), i.event.data, ""];
  case "status": return [cap(word(i.status.status)) + (i.status.error_code ? ", " + word(i.status.error_code) : ""), null,
    (i.status.evse ? "EVSE " + i.status.evse + (i.status.connector ? ", connector " + i.status.connector : "") : "station") + (i.status.to ? ", for " + span(Date.parse(i.status.to) - Date.parse(i.status.from)) : "")];
  case "decision": return ["Token " + tokenText(i.decision.token) + ": " + word(i.decision.decision) + " by " + word(i.decision.by), i.decision, i.decision.reason || word(i.decision.context)];
  case "command": return [cap(word(i.command.type)) + ": " + word(i.command.state), i.command.result || i.command.params || null, [i.command.issued_by && "given by " + i.command.issued_by, i.command.reason].filter(Boolean).join(", ")];
  }
  const [text, payload] = frameText(i.frame, calls);
  const short = JSON.stringify(payload) || "";
  return [text, i.frame.frame || i.frame.text, short.length > 110 ? short.slice(0, 110) + " …" : short];
}

function sessionView(body, id) {
  const path = "/sessions/" + encodeURIComponent(id);
  const head = el("div", {}), facts = el("dl", { class: "tiles" });
  const list = el("ol", { class: "panel rows timeline" });
  const more = el("p", { class: "row" });
  const filter = el("p", { class: "row filter" }, Object.entries(kindNames).map(([k, n]) => {
    const box = el("input", { type: "checkbox", name: k, checked: true });
    box.addEventListener("change", () => { list.dataset.hide = [...filter.querySelectorAll("input:not(:checked)")].map((b) => b.name).join(" "); hide(); });
    return el("label", {}, box, " ", n);
  }));
  body.append(head, facts, el("section", {}, el("h2", {}, "What happened"), filter, list, more));
  const hide = () => {
    const off = (list.dataset.hide || "").split(" ");
    for (const li of list.children) li.hidden = off.includes(li.dataset.kind);
  };
  let wanted = 300;
  return async () => {
    const s = await (await get(path)).json();
    const items = [];
    let cursor = "";
    do {
      const p = await (await get(`${path}/timeline?limit=300&cursor=${encodeURIComponent(cursor)}`)).json();
      items.push(...p.items);
      cursor = p.next || "";
    } while (cursor && items.length < wanted);
    head.replaceChildren(
      el("h1", { class: "title" }, "Session at ", link("#stations/" + s.station, s.identity), " ", s.status === "active" ? tag(s.charging_state || "occupied") : el("span", { class: "badge" }, "ended, " + word(s.reason || "no reason"))),
      el("p", { class: "soft" }, [s.evse ? "EVSE " + s.evse + (s.connector ? ", connector " + s.connector : "") : "", "transaction " + (s.transaction || "–"), s.protocol, "gateway " + s.gateway].filter(Boolean).join(" · ")),
      s.flags.length ? el("p", {}, s.flags.map((f) => [el("span", { class: "badge", "data-tone": "wait" }, word(f)), " "])) : "",
      head.querySelector("p.row") || recordButton(s.station, s.gateway, () => ({
        from: new Date(Date.parse(s.started || s.ended || Date.now() - 3600000) - 300000).toISOString(),
        to: s.ended ? new Date(Math.min(Date.now(), Date.parse(s.ended) + 300000)).toISOString() : undefined,
      })));
    const fact = (name, value) => el("div", { class: "tile" }, el("dt", {}, name), el("dd", {}, value));
    facts.replaceChildren(fact("Began", s.started ? clock(s.started) : "–"), fact("Ended", s.ended ? clock(s.ended) : "–"),
      fact("Energy", have(s.energy_wh) ? kWh(s.energy_wh) : "–"), fact("Token", tokenText(s.token)),
      fact("Decided", s.authorization ? word(s.authorization.decision) + " by " + word(s.authorization.by) : "–"));
    const calls = new Map();
    const opened = new Set([...list.querySelectorAll("details[open]")].map((d) => d.dataset.key));
    let before = 0;
    list.replaceChildren(...items.map((i, n) => {
      const [text, whole, soft] = itemLine(i, calls);
      const at = Date.parse(i.time), gap = before ? at - before : 0;
      before = at;
      const key = i.time + i.kind + n;
      const details = whole ? el("details", { "data-key": key, open: opened.has(key) }, el("summary", {}, text, soft ? el("span", { class: "soft small" }, " ", soft) : ""), json(whole)) : el("p", {}, text, soft ? el("span", { class: "soft small" }, " ", soft) : "");
      const d = new Date(i.time);
      return el("li", { class: "event", "data-kind": i.kind, "data-direction": i.frame && i.frame.direction },
        el("time", { datetime: i.time, title: d.toISOString() }, d.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false }) + "." + String(d.getMilliseconds()).padStart(3, "0"), gap > 60000 ? el("span", { class: "sub" }, "after " + span(gap)) : ""),
        el("span", { class: "kind", "data-kind": i.kind }, i.frame ? (i.frame.direction === "in" ? "station →" : "→ station") : i.kind), details);
    }));
    if (!items.length) list.replaceChildren(el("li", {}, "Nothing of it is in the log."));
    more.replaceChildren(cursor ? button("Show more", () => { wanted += 600; return refreshView(); }) : "",
      items.some((i) => i.kind === "frame") ? "" : el("span", { class: "soft small" }, "No frames of its time have been fetched. The gateway keeps the newest ones only."));
    hide();
  };
}

// --- Who waits to be admitted

function waitingView(body) {
  body.append(el("h1", { class: "title" }, "Admission"), el("p", { class: "soft" }, "A station that its gateway does not know is refused, or told to wait. Here are those that tried, and those that were admitted here."));
  const secret = el("div", { role: "status" });
  body.append(secret);
  const waiting = part(body, "Waiting"), admitted = part(body, "Admitted here");
  const admit = (v) => {
    const own = field("own", "This password", { minlength: 16, maxlength: 40 });
    const form = el("form", { class: "fields" },
      choice("profile", [["0", "0 plain"], ["1", "1 password"], ["2", "2 password and TLS"], ["3", "3 own certificate"]], "Security profile, at least"),
      choice("password", [["auto", "as the profile needs"], ["new", "make one"], ["own", "enter one"]], "Password"), own, el("button", { type: "submit", class: "small" }, "Admit"));
    const change = () => { own.hidden = form.elements.password.value !== "own"; form.elements.own.disabled = own.hidden; };
    form.elements.password.addEventListener("change", change);
    change();
    form.addEventListener("submit", async (e) => {
      e.preventDefault();
      const f = Object.fromEntries(new FormData(form));
      try {
        const a = await order("POST", "/admissions", { gateway: v.gateway, identity: v.identity, security_profile: Number(f.profile), new_password: f.password === "new" || undefined, password: f.password === "own" ? f.own : undefined });
        secret.replaceChildren(el("div", { class: "note" }, el("strong", {}, a.identity + " is admitted at " + a.gateway + "."),
          a.password ? ["Its password, shown this once: ", el("code", {}, a.password), ". Enter it at the station: without it the station is not let in again."] : "It gets no new password.", " The gateway learns of it within seconds."));
        refreshView();
      } catch (err) {
        secret.replaceChildren(note("Not admitted.", err.message));
      }
    });
    return el("details", {}, el("summary", {}, "Admit …"), form);
  };
  let last = "";
  return async () => {
    const [ps, as] = await Promise.all([all("/pending-stations"), all("/admissions")]);
    const now = JSON.stringify([ps.map((v) => [v.id, v.count]), as]);
    // Nobody's form is taken away while he fills it in.
    if (now === last || waiting.contains(document.activeElement) && document.activeElement.closest("form")) return;
    last = now;
    waiting.replaceChildren(table(["Station", "Gateway", "State", "Tried", ""], ps.map((v) => row(el("strong", {}, v.identity), v.gateway,
      [v.reason === "unknown" ? "refused: nobody knows it" : "connected and waiting", el("span", { class: "sub" }, [[v.vendor, v.model, v.firmware].filter(Boolean).join(" "), v.protocol, v.remote && "from " + v.remote].filter(Boolean).join(" · "))],
      [ago(v.last), el("span", { class: "sub" }, v.count > 1 ? `${number(v.count, 0)} times since ${clock(v.first)}` : "once")], admit(v))), "Nobody waits."));
    admitted.replaceChildren(table(["Station", "Gateway", "Security profile", "Password", ""], as.map((a) => row(link("#stations/" + a.id, a.identity), a.gateway,
      String(a.security_profile), a.has_password ? "has one" : "none", button("Withdraw", () => order("DELETE", "/admissions/" + a.id).then(refreshView, (e) => secret.replaceChildren(note("Not withdrawn.", e.message))), true))), "Nobody."));
  };
}

// --- Lists

function securityView(body) {
  const critical = el("input", { type: "checkbox" }), name = el("input", { type: "search", placeholder: "Event, like FailedAuthentication", "aria-label": "Event" });
  const list = el("div", {});
  body.append(el("h1", { class: "title" }, "Security events"), el("p", { class: "row" }, name, el("label", {}, critical, " critical only")), list);
  critical.addEventListener("change", refreshView);
  name.addEventListener("change", refreshView);
  return async () => {
    const q = (critical.checked ? "&critical=true" : "") + (name.value.trim() ? "&event=" + encodeURIComponent(name.value.trim()) : "");
    const items = (await (await get("/security-events?limit=200" + q)).json()).items;
    list.replaceChildren(table(["Time", "Station", "Event", "Info"], securityRows(items), "None."));
  };
}

function deviationsView(body) {
  body.append(el("h1", { class: "title" }, "Scorecards"), el("p", { class: "soft" }, "How often chargers broke the rules of their protocol, as gateways tell it: once an hour, and when a charger leaves. The gateways cope; the makers ought to know."));
  const models = part(body, "By model"), stations = part(body, "By station");
  return async () => {
    const [ms, ss] = await Promise.all(["model", "station"].map(async (by) => (await (await get("/deviations?limit=200&by=" + by)).json()).items));
    models.replaceChildren(table(["Model", "Firmware", "Stations", "Deviations", "Which"], ms.map((c) => row(el("strong", {}, [c.vendor, c.model].filter(Boolean).join(" ") || "has not said"),
      c.firmware || "–", `${c.deviating} of ${c.stations}`, el("span", { class: "num" }, number(c.count, 0)), c.count ? kinds(c) : "keeps to the rules")), "No station yet."));
    stations.replaceChildren(table(["Station", "Model", "Deviations", "Which"], ss.map((c) => row(link("#stations/" + c.station, c.identity),
      [[c.vendor, c.model].filter(Boolean).join(" "), el("span", { class: "sub" }, [c.firmware, c.protocol].filter(Boolean).join(" · "))], el("span", { class: "num" }, number(c.count, 0)), kinds(c))), "All of them keep to the rules."));
  };
}

function recordingsView(body) {
  body.append(el("h1", { class: "title" }, "Recordings and logs"), el("p", { class: "soft" }, "Frames that gateways recorded, and logs of stations. Ask for them on the page of a station or a session."));
  const list = el("div", {});
  body.append(list);
  return async () => {
    const [rs, ls] = await Promise.all(["/recordings", "/logs"].map(async (p) => (await (await get(p + "?limit=200")).json()).items));
    const rows = [...rs.map((f) => [f, "recording"]), ...ls.map((f) => [f, "log"])].sort((a, b) => b[0].created.localeCompare(a[0].created));
    list.replaceChildren(table(fileHeads, rows.flatMap(([f, kind]) => fileRows([f], kind)), "None yet."));
  };
}
