"use strict";
// The page of the simulated Calendly: books, moves and cancels calls. Text that a visitor typed is
// written to the page only as textContent.

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const DAY_MS = 86_400_000;
const when = (date) => date.toLocaleString("pt-BR", { weekday: "long", day: "numeric", month: "long", hour: "2-digit", minute: "2-digit" });

function element(tag, props, ...kids) {
  const el = Object.assign(document.createElement(tag), props);
  el.append(...kids);
  return el;
}

async function ask(path, body) {
  const request = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(path, { ...request, cache: "no-store", signal: AbortSignal.timeout(15_000) });
  } catch {
    throw new Error("o console não respondeu.");
  }
  if (response.status === 404) throw new Error("esta conversa não está mais marcada.");
  if (!response.ok) throw new Error(`o console respondeu ${response.status}.`);
  return response.json();
}

// The clock of the dev server may be ahead of the browser's.
let now = new Date();
function slots() {
  const times = [];
  for (let day = 1; day <= 7; day += 1) {
    for (const hour of [10, 15]) {
      const at = new Date(now.getTime() + day * DAY_MS);
      at.setHours(hour, hour === 15 ? 30 : 0, 0, 0);
      times.push(at);
    }
  }
  return times;
}

function fill(select) {
  select.replaceChildren(...slots().map((at) => element("option", { value: at.toISOString() }, when(at))));
  // Preselect the day after tomorrow, so that both reminders are still due later.
  select.selectedIndex = 2;
}

function showResult(received) {
  const bad = received.webhooks.filter((w) => w.status !== 200);
  $("status").textContent = bad.length
    ? `O Funil respondeu ${bad.map((w) => w.status).join(", ")}.`
    : "Pronto: o Funil recebeu o webhook. Veja as mensagens no console.";
}

async function act(body) {
  $("alert").hidden = true;
  $("status").textContent = "Enviando…";
  try {
    showResult(await ask("/stage/calendar", body));
  } catch (error) {
    $("status").textContent = "";
    $("alert").textContent = `Não deu certo: ${error.message}`;
    $("alert").hidden = false;
  }
  await draw();
}

// A moved call is a canceled one with another in its place.
const STATUS = { active: "marcada", canceled: "cancelada", no_show: "não compareceu", moved: "remarcada" };
function row(booking) {
  const start = new Date(booking.startsAt);
  const button = (label, body) => {
    const el = element("button", { type: "button", className: "plain" }, label);
    el.addEventListener("click", () => act(body()));
    return el;
  };
  const status = booking.replacedBy ? "moved" : booking.status;
  const parts = [element("strong", {}, when(start)), ` · ${booking.name} · ${STATUS[status] ?? status}`];
  if (booking.status === "active") {
    const later = new Date(start.getTime() + DAY_MS);
    parts.push(
      element("br", {}),
      button("Passar para um dia depois", () => ({ reschedule: { id: booking.id, startsAt: later.toISOString() } })),
      button("Cancelar", () => ({ cancel: { id: booking.id } })),
      button("Não compareceu", () => ({ noShow: { id: booking.id } })),
    );
  }
  return element("li", {}, ...parts);
}

async function draw() {
  let bookings;
  try {
    ({ bookings } = await ask("/stage/calendar"));
  } catch (error) {
    $("booked").replaceChildren(element("p", { className: "form-alert" }, `A lista não pôde ser lida: ${error.message}`));
    return;
  }
  $("booked").replaceChildren(bookings.length ? element("ul", {}, ...bookings.map(row)) : element("p", { className: "hint" }, "Nada marcado."));
}

async function start() {
  // Before anything is waited for, so that what a person types meanwhile stays.
  $("name").value = query.get("name") ?? "";
  $("email").value = query.get("email") ?? "";
  $("book").addEventListener("submit", (event) => {
    event.preventDefault();
    const data = new FormData(event.target);
    const leadId = query.get("utm_content") || undefined;
    act({ book: { startsAt: data.get("slot"), name: data.get("name"), email: data.get("email"), leadId, timeZone: ZONE } });
  });
  try {
    now = new Date((await ask("/stage/clock")).now);
  } catch {
    /* use the browser's clock */
  }
  fill($("slot"));
  await draw();
}

start();
