"use strict";
// The live page. It reads lists from the API, listens to the stream, and draws.
// Lists are read anew soon after something happened: what stands here is what
// the API says, except for the power between two readings, which is live.

const api = "/api/v1";
const tokenKey = "chargeyard-token";
const shownEvents = 40;

const state = {
  token: "",
  gateways: [], stations: [], sessions: [], events: [],
  locations: new Map(), // id: name
  live: new Map(), // gateway|identity|evse|connector: newest live word
  position: "", // of the last event that came
  loaded: false,
};

const $ = (id) => document.getElementById(id);

// el makes an element; children are elements or text, never markup.
function el(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes || {})) {
    if (v === undefined || v === null || v === false) continue;
    e.setAttribute(k, v === true ? "" : v);
  }
  e.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== ""));
  return e;
}

// --- Signing in

function start() {
  const link = location.hash.startsWith("#token=") ? new URLSearchParams(location.hash.slice(1)) : null;
  if (link) { // #token=…&page=sessions/… opens a page too
    sessionStorage.setItem(tokenKey, link.get("token"));
    history.replaceState(null, "", location.pathname + location.search + (link.get("page") ? "#" + link.get("page") : ""));
  }
  $("enter").addEventListener("submit", (e) => {
    e.preventDefault();
    enter($("token").value.trim());
  });
  $("leave").addEventListener("click", () => leave(""));
  setInterval(draw, 1000); // durations and ages
  setInterval(viewSoon, 15000);
  addEventListener("hashchange", () => { if (state.loaded) route(); });
  // A page that the browser keeps for its back button would keep its stream, too,
  // and a browser has only six connections for one manager.
  addEventListener("pagehide", () => { if (listening) listening.abort(); });
  addEventListener("pageshow", (e) => { if (e.persisted && state.token) connect(); });
  const kept = sessionStorage.getItem(tokenKey);
  if (kept) enter(kept);
  else ask("");
}

function ask(error) {
  $("enter").hidden = false;
  $("yard").hidden = $("view").hidden = $("nav").hidden = true;
  $("leave").hidden = true;
  $("enter-error").textContent = cap(error);
  $("token").focus();
}

function enter(token) {
  if (!token) return;
  state.token = token;
  $("enter").hidden = true;
  $("leave").hidden = false;
  connect();
}

function leave(reason) {
  sessionStorage.removeItem(tokenKey);
  Object.assign(state, { token: "", gateways: [], stations: [], sessions: [], events: [], position: "", loaded: false });
  state.live.clear();
  if (listening) listening.abort();
  $("token").value = "";
  say("off", "not connected");
  ask(reason);
}

// --- Reading

class Refused extends Error {}

async function get(path, options = {}) {
  const answer = await fetch(api + path, {
    ...options, cache: "no-store",
    headers: { Authorization: "Bearer " + state.token, ...options.headers },
  });
  if (answer.status === 401 || answer.status === 403) {
    const problem = await answer.json().catch(() => ({}));
    throw new Refused(problem.detail || "This token may not.");
  }
  if (!answer.ok) throw new Error(path + ": " + answer.status);
  return answer;
}

async function all(path) {
  const items = [];
  let cursor = "";
  do {
    const part = await (await get(path + (path.includes("?") ? "&" : "?") + "limit=1000" + (cursor && "&cursor=" + encodeURIComponent(cursor)))).json();
    items.push(...part.items);
    cursor = part.next;
  } while (cursor);
  return items;
}

let reading = false, again = false, lastRead = 0, timer = 0;

// read reads every list anew, once at a time.
async function read() {
  if (reading) { again = true; return; }
  reading = true;
  clearTimeout(timer);
  const began = performance.now();
  try {
    const [gateways, stations, sessions, locations, waiting] = await Promise.all(
      [all("/gateways"), all("/stations"), all("/sessions?status=active"), all("/locations"), all("/pending-stations")]);
    $("nav-waiting").textContent = waiting.length ? ` ${waiting.length}` : "";
    state.locations = new Map(locations.map((l) => [l.id, l.name]));
    if (!state.loaded) {
      const newest = (await (await get("/events?limit=200")).json()).items.filter(telling);
      const known = new Set(state.events.map((e) => e.id));
      state.events = [...state.events, ...newest.filter((e) => !known.has(e.id))].slice(0, shownEvents);
    }
    const first = !state.loaded;
    Object.assign(state, { gateways, stations, sessions, loaded: true });
    $("nav").hidden = false;
    if (first) route();
    else draw();
  } finally {
    reading = false;
    // A big yard is read less often: reading takes at most a tenth of the time.
    lastRead = Math.max(1000, 10 * (performance.now() - began));
    timer = setTimeout(() => read().catch(failed), again ? lastRead : 15000);
    again = false;
  }
}

let soonTimer = 0;

// soon reads the lists shortly, however much happens.
function soon() {
  if (soonTimer) return;
  soonTimer = setTimeout(() => { soonTimer = 0; read().catch(failed); }, Math.max(400, lastRead - 600));
}

function failed(err) {
  if (err instanceof Refused) leave(err.message);
  else console.warn(err);
}

// --- Listening

let listening = null;

async function connect() {
  if (listening) listening.abort();
  const mine = listening = new AbortController();
  for (let wait = 500; !mine.signal.aborted; wait = Math.min(wait * 2, 15000)) {
    try {
      say("wait", "connecting …");
      const headers = state.position ? { "Last-Event-ID": state.position } : {};
      const answer = await get("/stream", { headers, signal: mine.signal });
      await read();
      say("live", "live");
      wait = 500;
      sessionStorage.setItem(tokenKey, state.token);
      await listen(answer.body, mine.signal);
    } catch (err) {
      if (mine.signal.aborted) return;
      if (err instanceof Refused) { leave(err.message); return; }
    }
    say("wait", "connection lost, trying again");
    draw();
    await new Promise((r) => setTimeout(r, wait + Math.random() * wait / 2));
  }
}

// listen reads server-sent events until the stream ends.
async function listen(body, signal) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", quiet = 0;
  const watch = () => { clearTimeout(quiet); quiet = setTimeout(() => reader.cancel().catch(() => {}), 30000); };
  signal.addEventListener("abort", () => reader.cancel().catch(() => {}));
  watch();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      watch();
      rest += value;
      let end;
      while ((end = rest.indexOf("\n\n")) >= 0) {
        message(rest.slice(0, end));
        rest = rest.slice(end + 2);
      }
    }
  } finally {
    clearTimeout(quiet);
  }
}

function message(text) {
  const fields = {};
  for (const line of text.split("\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
  }
  if (!fields.data) return;
  const data = JSON.parse(fields.data);
  if (fields.id) state.position = fields.id;
  switch (fields.event) {
  case "event":
    if (telling(data)) {
      // After a restore an event comes again with another position.
      state.events = state.events.filter((e) => e.id !== data.id);
      state.events.unshift(data);
      state.events.sort((a, b) => b.position - a.position);
      state.events.length = Math.min(state.events.length, shownEvents);
    }
    soon();
    viewSoon();
    break;
  case "live":
    for (const c of data.connectors || []) {
      state.live.set([data.gateway, c.station, c.evse, c.connector].join("|"), c);
    }
    break;
  case "gateway":
    if (!data.online) for (const k of state.live.keys()) if (k.startsWith(data.gateway + "|")) state.live.delete(k);
    soon();
    break;
  }
  drawSoon();
}

// telling leaves out what tells nobody anything: samples show as power, and that
// a gateway has what it ought to have is no news.
const telling = (e) => !e.type.endsWith(".sampled") && !(e.type === "chargeyard.gateway.applied" && !e.data.error);

function say(what, text) {
  $("link").dataset.state = what;
  if ($("link-text").textContent !== text) $("link-text").textContent = text;
}

// --- Words and numbers

const number = (n, digits) => n.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const kW = (w) => number(w / 1000, 1) + " kW";
const kWh = (wh) => number(wh / 1000, 2) + " kWh";
const have = (v) => v !== undefined && v !== null;

function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000)), m = Math.floor(s / 60), h = Math.floor(m / 60), d = Math.floor(h / 24);
  if (d > 1) return d + " days";
  if (h) return h + " h " + String(m % 60).padStart(2, "0") + " min";
  if (m) return m + " min";
  return s + " s";
}
const ago = (t) => {
  const ms = Date.now() - Date.parse(t);
  return !(Date.parse(t) > 0) ? "" : ms < 5000 ? "just now" : span(ms) + " ago";
};
const clock = (t) => {
  const d = new Date(t), today = d.toDateString() === new Date().toDateString();
  return today ? d.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false })
    : d.toLocaleDateString([], { day: "numeric", month: "short" }) + " " + d.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
};

const tones = {
  available: "free", preparing: "wait", charging: "busy", suspended_ev: "wait", suspended_evse: "wait", finishing: "wait",
  occupied: "busy", reserved: "wait", unavailable: "gone", faulted: "bad", unknown: "gone",
};
const words = {
  suspended_ev: "paused by the car", suspended_evse: "paused by the station", unavailable: "out of service",
};
const word = (s) => words[s] || (s || "unknown").replaceAll("_", " ");
const cap = (s) => s.charAt(0).toUpperCase() + s.slice(1);

// charges tells whether a session may run at a connector in this status.
const charges = (s) => !["available", "unavailable", "reserved", "unknown", "", undefined].includes(s);

function tag(status) {
  return el("span", { class: "state", "data-tone": tones[status] || "gone", "data-charging": status === "charging" }, cap(word(status)));
}

// tokenText is what a driver showed; some stations ask for nothing.
const tokenText = (t) => (!t ? "–" : t.value || (t.type === "none" ? "none needed" : word(t.type)));

// place says where in a station something is.
function place(evse, connector, station) {
  const many = station && station.evses.some((e) => e.connectors.length > 1);
  if (!evse) return "";
  return many && connector ? `EVSE ${evse}, connector ${connector}` : `connector ${evse}`;
}

function liveOf(station, evse, connector) {
  if (!station) return undefined;
  return state.live.get([station.gateway, station.identity, evse, connector || 1].join("|"));
}

// --- Drawing

let frame = 0;
function drawSoon() {
  if (!frame) frame = requestAnimationFrame(() => { frame = 0; draw(); });
}

function fill(id, ...children) { $(id).replaceChildren(...children.flat().filter(Boolean)); }

function draw() {
  if (!state.loaded || !state.token || shown.name) return;
  const stations = new Map(state.stations.map((s) => [s.id, s]));
  drawTiles(stations);
  drawAlarms();
  drawSessions(stations);
  drawStations();
  drawGateways();
  drawEvents(stations);
  document.body.dataset.ready = "yes";
}

// power of a connector: the live word, else the last sample if it is young.
function power(station, evse, connector) {
  const l = liveOf(station, evse.evse, connector.connector);
  if (l && have(l.power_w)) return l.power_w;
  if (have(evse.power_w) && Date.now() - Date.parse(evse.power_as_of) < 180000 && evse.connectors.length <= 1) return evse.power_w;
  return undefined;
}

function status(station, evse, connector) {
  const l = liveOf(station, evse.evse, connector.connector);
  if (l && l.status !== "unknown" && Date.parse(l.as_of) > Date.parse(connector.status.as_of)) return l.status; // a gateway that began anew may not have been told yet
  return connector.status.value;
}

const away = (s) => s.connectivity.value !== "online" || s.connectivity.stale;

function drawTiles() {
  let charging = 0, total = 0, free = 0;
  for (const s of state.stations) for (const e of s.evses) for (const c of e.connectors) {
    if (away(s)) continue;
    const st = status(s, e, c);
    if (st === "charging") { charging++; total += power(s, e, c) || 0; }
    if (st === "available") free++;
  }
  const online = state.stations.filter((s) => !away(s)).length;
  const gateways = state.gateways.filter((g) => g.connectivity.value !== "knocking");
  const up = gateways.filter((g) => g.connectivity.value === "online" && !g.connectivity.stale).length;
  const tile = (name, key, value, unit) => el("div", { class: "tile" }, el("dt", {}, name), el("dd", { "data-tile": key }, value, unit ? el("small", {}, " " + unit) : ""));
  fill("tiles",
    tile("Power now", "power", number(total / 1000, 1), "kW"),
    tile("Charging", "charging", String(charging), charging === 1 ? "car" : "cars"),
    tile("Running sessions", "sessions", String(state.sessions.length)),
    tile("Free connectors", "free", String(free)),
    tile("Stations online", "stations", String(online), "of " + state.stations.length),
    tile("Gateways online", "gateways", String(up), "of " + gateways.length));
}

function drawAlarms() {
  const alarms = state.gateways.flatMap((g) => (g.alarms || []).map((a) => ({ ...a, gateway: g.id })));
  $("alarms").hidden = alarms.length === 0;
  fill("alarms", alarms.map((a) => el("div", { class: "alarm", "data-severity": a.severity },
    el("p", {}, el("strong", {}, a.gateway + ": " + word(a.alarm)), " ", el("span", { class: "soft small" }, "since " + clock(a.since))),
    el("p", {}, a.text))));
}

function energy(session, station) {
  const l = station && liveOf(station, session.evse, session.connector);
  if (l && l.session === session.id && have(l.energy_wh)) return l.energy_wh; // newer than any event
  return have(session.energy_wh) ? session.energy_wh : undefined;
}

function drawSessions(stations) {
  if (!state.sessions.length) {
    fill("sessions", el("p", { class: "note" }, el("strong", {}, "Nobody is charging."),
      state.stations.length ? "A session appears here as soon as a driver begins one." : "Sessions appear here once a station is connected."));
    return;
  }
  const rows = state.sessions.map((s) => {
    const station = stations.get(s.station);
    const evse = station && station.evses.find((e) => e.evse === s.evse);
    const connector = evse && (evse.connectors.find((c) => c.connector === s.connector) || evse.connectors[0]);
    const st = s.charging_state || (connector ? status(station, evse, connector) : "");
    const live = connector ? status(station, evse, connector) : st;
    const w = connector ? power(station, evse, connector) : undefined;
    const wh = energy(s, station);
    const soc = (liveOf(station, s.evse, s.connector) || {}).soc_percent;
    return el("tr", { "data-session": s.id, "data-energy-wh": have(wh) ? wh : undefined },
      el("td", {}, el("a", { href: "#sessions/" + s.id }, el("strong", {}, s.identity)), el("span", { class: "sub" }, cap(place(s.evse, s.connector, station)))),
      el("td", {}, tag(charges(live) ? live : st || live), station && away(station) ? el("span", { class: "sub" }, "station offline") : ""),
      el("td", { class: "r num" }, have(w) ? kW(w) : "–"),
      el("td", { class: "r num" }, have(wh) ? kWh(wh) : "–", have(soc) ? el("span", { class: "sub" }, "battery " + Math.round(soc) + " %") : ""),
      el("td", { "data-label": "for" }, s.started ? span(Date.now() - Date.parse(s.started)) : "–", el("span", { class: "sub" }, s.started ? "since " + clock(s.started) : "")),
      el("td", { class: "r" }, tokenText(s.token), s.flags.length ? el("span", { class: "sub" }, s.flags.map(word).join(", ")) : ""));
  });
  fill("sessions", el("div", { class: "panel scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, el("th", {}, "Station"), el("th", {}, "State"), el("th", { class: "r" }, "Power"), el("th", { class: "r" }, "Energy"), el("th", {}, "Duration"), el("th", { class: "r" }, "Token"))),
    el("tbody", {}, rows))));
}

function drawStations() {
  if (!state.stations.length) {
    const there = state.gateways.some((g) => g.connectivity.value === "online");
    fill("stations", el("p", { class: "note" }, el("strong", {}, "No station yet."),
      there ? "Point a charger at its gateway: " : "Connect a gateway first, then point a charger at it: ",
      el("code", {}, "ws://gateway:8887/ocpp/{identity}")));
    return;
  }
  const sites = new Map();
  for (const s of state.stations) {
    const key = s.location ? (state.locations.get(s.location) || s.location) + " · " + s.gateway : s.gateway;
    if (!sites.has(key)) sites.set(key, []);
    sites.get(key).push(s);
  }
  const order = (a, b) => a.identity.localeCompare(b.identity, "en", { numeric: true });
  fill("stations", [...sites].sort(([a], [b]) => a.localeCompare(b)).map(([name, list]) => [
    el("h3", { class: "site" }, name),
    el("div", { class: "grid" }, list.sort(order).map(card)),
  ]).flat());
}

function card(s) {
  const c = s.connectivity;
  let badge = null;
  if (s.registration === "pending" || s.registration === "rejected") badge = el("a", { class: "badge", "data-tone": "wait", href: "#waiting" }, "waits to be admitted");
  else if (c.value !== "online") badge = el("span", { class: "badge", "data-tone": "bad", title: "as of " + clock(c.as_of) }, "offline " + ago(c.as_of).replace(" ago", ""));
  else if (c.stale) badge = el("span", { class: "badge", "data-tone": "wait" }, "gateway away");
  const plugs = s.evses.filter((e) => e.evse > 0).flatMap((e) => e.connectors.map((p) => plug(s, e, p)));
  return el("article", { class: "panel station", "data-station": s.id, "data-away": away(s) },
    el("header", {}, el("h3", {}, el("a", { href: "#stations/" + s.id }, s.identity)), badge),
    el("p", { class: "model" }, [s.vendor, s.model].filter(Boolean).join(" ") || s.protocol || "has not said what it is"),
    s.status && ["faulted", "unavailable"].includes(s.status.value) ? el("div", {}, tag(s.status.value)) : null,
    plugs.length ? el("ul", { class: "plugs" }, plugs) : el("p", { class: "soft small" }, "No connector has told its state yet."));
}

function plug(s, e, p) {
  const st = status(s, e, p), w = power(s, e, p), l = liveOf(s, e.evse, p.connector) || {};
  const more = [cap(place(e.evse, p.connector, s))];
  if (have(l.soc_percent)) more.push("battery " + Math.round(l.soc_percent) + " %");
  if (have(e.limit_a)) more.push("limit " + number(e.limit_a, 0) + " A");
  if (have(e.limit_w)) more.push("limit " + kW(e.limit_w));
  if (p.error_code) more.push(word(p.error_code));
  if (p.info) more.push(p.info);
  if (p.status.stale || away(s)) more.push("as of " + ago(p.status.as_of));
  return el("li", { class: "plug", "data-evse": e.evse, "data-connector": p.connector, "data-status": st },
    tag(st), el("span", { class: "power" }, have(w) && !away(s) && charges(st) && (w > 0 || st === "charging") ? kW(w) : ""),
    el("span", { class: "more" }, more.join(" · ")));
}

function drawGateways() {
  if (!state.gateways.length) {
    fill("gateways", el("p", { class: "note" }, el("strong", {}, "No gateway yet."), "Add one and give its password to the box on site: ",
      el("code", {}, "chargeyard-cloud gateway add gw-1")));
    return;
  }
  fill("gateways", el("ul", { class: "panel rows" }, state.gateways.map((g) => {
    const c = g.connectivity;
    const tone = c.value === "online" ? (c.stale ? "wait" : "free") : c.value === "knocking" ? "wait" : "bad";
    const backlog = (g.lanes || []).reduce((n, l) => n + l.backlog, 0);
    const more = [];
    if (c.value === "knocking") more.push("Nobody has added it: ", el("code", {}, "chargeyard-cloud gateway add " + g.id));
    else {
      const facts = [];
      if (g.version && g.version !== "unknown") facts.push("version " + g.version);
      if (c.value !== "online" && ago(c.as_of)) facts.push("last seen " + ago(c.as_of));
      if (c.stale && c.value === "online") facts.push("not heard of for a while");
      if (g.clock === "unsynced") facts.push("its clock is not set");
      if (backlog > 0) facts.push(number(backlog, 0) + " events waited at its last hello");
      more.push(facts.join(" · "));
    }
    return el("li", { "data-gateway": g.id }, el("div", { class: "line" }, el("strong", {}, g.id), el("span", { class: "state", "data-tone": tone }, cap(c.value))),
      el("div", { class: "soft small" }, more));
  })));
}

// tell says in words what an event says.
function tell(e) {
  const d = e.data || {}, t = e.type.replace("chargeyard.", "");
  const token = d.token ? " with " + tokenText(d.token) : "";
  switch (t) {
  case "gateway.started": return "Gateway started, version " + d.version;
  case "gateway.clock": return "Clock set";
  case "gateway.alarm": return (d.cleared ? "Over: " : "Alarm: ") + (d.text || word(d.alarm));
  case "gateway.applied": return d.error ? `Section ${d.section} refused: ${d.error}` : `Section ${d.section} in force`;
  case "station.connected": return "Connected, " + d.protocol;
  case "station.disconnected": return "Disconnected" + (d.reason ? ": " + d.reason : "");
  case "station.booted": return ["Booted:", d.vendor, d.model, d.firmware].filter(Boolean).join(" ");
  case "station.status": return cap(word(d.status)) + (d.error_code ? ", " + word(d.error_code) : "") + (d.info ? ", " + d.info : "");
  case "station.firmware": return "Firmware: " + word(d.status) + (d.info ? ", " + d.info : "");
  case "station.log": return "Log: " + word(d.status);
  case "station.security": return "Security: " + d.event + (d.info ? ", " + d.info : "");
  case "station.configuration": return (d.variables || []).length + (d.variables && d.variables[0] && d.variables[0].component === "Deviations" ? " kinds of deviation counted" : " variables told");
  case "session.started": return "Session began" + token;
  case "session.updated": return "Session: " + ([d.charging_state && word(d.charging_state), d.token && "token " + tokenText(d.token), have(d.meter_wh) && "register " + kWh(d.meter_wh), ...(d.flags || []).map(word)].filter(Boolean).join(", ") || "updated");
  case "session.ended": return "Session ended, " + word(d.reason) + (have(d.energy_wh) ? ", " + kWh(d.energy_wh) : "");
  case "session.sampled": case "meter.sampled": return (d.samples || []).length + " samples";
  case "meter.read": return "Register" + (d.reading && have(d.reading.energy_wh) ? " " + kWh(d.reading.energy_wh) : "");
  case "token.authorized": return "Token " + tokenText(d.token) + ": " + word(d.decision) + " by " + word(d.by);
  case "command.updated": return "Command " + word(d.state) + (d.reason ? ": " + d.reason : "");
  case "profile.updated": return "Limit " + word(d.status) + (have(d.limit_a) ? ", " + number(d.limit_a, 0) + " A" : "") + (d.reason ? ": " + d.reason : "");
  case "reservation.updated": return "Reservation " + d.reservation + " " + word(d.status);
  case "data.received": return "Message " + d.action;
  }
  return cap(word(t.replaceAll(".", " ")));
}

function drawEvents(stations) {
  const shown = state.events.slice(0, 20);
  if (!shown.length) {
    fill("events", el("p", { class: "note" }, el("strong", {}, "Nothing has happened yet."), "What gateways and stations report appears here."));
    return;
  }
  fill("events", el("ul", { class: "panel rows" }, shown.map((e) => {
    const s = stations.get(e.station), m = /^stations\/([^/]+)(?:\/evses\/(\d+))?(?:\/connectors\/(\d+))?$/.exec(e.subject || "");
    const who = m ? decodeURIComponent(m[1]) + (m[2] ? ", " + place(+m[2], +(m[3] || 0), s) : "") : e.gateway;
    return el("li", { class: "event", "data-position": e.position },
      el("time", { datetime: e.time, title: new Date(e.time).toLocaleString() }, clock(e.time)),
      el("p", {}, el("strong", {}, who), " ", tell(e)));
  })));
}

start();
