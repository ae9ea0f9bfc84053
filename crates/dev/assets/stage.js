"use strict";
// The console. Everything that the server sends is untrusted, because a visitor may have typed it. It
// is written to the page only through h(), as text.

const $ = (id) => document.getElementById(id);
const FAST_MS = 1000;
const SLOW_MS = 5000;
const FRESH_MS = 10_000; // a lead that is newer than this may get more deliveries
const SHOWN_REQUESTS = 20;

const STATES = {
  pending: ["na fila", "wait"],
  leased: ["enviando", "work"],
  unknown: ["resultado desconhecido", "wait"],
  delivered: ["entregue", "good"],
  skipped: ["não enviada", ""],
  dead: ["desistiu", "bad"],
};
// What became of one attempt.
const OUTCOMES = {
  delivered: "entregue",
  retry: "tentar de novo",
  rejected: "recusada",
  blocked: "bloqueada",
  skipped: "não enviada",
  expired: "fora do prazo",
  unknown: "resultado desconhecido",
  released: "adiada",
  told_sent: "o WhatsApp disse: enviada",
  told_delivered: "o WhatsApp disse: entregue",
  told_read: "o WhatsApp disse: lida",
  told_failed: "o WhatsApp disse: falhou",
};
const OPEN_STATES = new Set(["pending", "leased", "unknown"]);
// A delivery whose destination cannot say whether it arrived may also end as unknown.
const isOpen = (d) => !d.settledAt && OPEN_STATES.has(d.state);
const BEHAVIOURS = [
  ["normal", "Normal", "Responde como o serviço de verdade."],
  ["fail", "Falha", "Responde com erro do servidor."],
  ["throttle", "Limite", "Pede para esperar (429)."],
  ["hang", "Trava", "Aceita a conexão e não responde."],
  ["garbage", "Lixo", "Responde algo que não se entende."],
  ["status:401", "401", "Recusa a credencial (401)."],
];
const PURPOSES = { contact: "contato", marketing_email: "marketing", analytics: "estatísticas", ads: "anúncios", whatsapp: "WhatsApp" };
const DECISIONS = { granted: ["concedido", "good"], denied: ["negado", ""] };
const HOW = { explicit: "explícito", assumed: "presumido", contract: "pelo pedido", revoked: "revogado" };
const TIERS = { high: ["alto", "good"], medium: ["médio", "wait"], low: ["baixo", ""] };

/* ---------- building ---------- */

function h(tag, props, ...kids) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") el.className = value;
    else if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else el.setAttribute(name, value === true ? "" : String(value));
  }
  el.append(...shown(kids));
  return el;
}

// What is drawn of a list of parts. A part that is left out is `condition && part`, and append() would
// write "false" for it.
const shown = (kids) => kids.flat().filter((kid) => kid !== undefined && kid !== null && kid !== false && kid !== "");

const list = (value) => (Array.isArray(value) ? value : []);
const known = (table, key) => table[key] ?? [String(key ?? "?"), ""];
const chip = ([text, tone]) => h("span", { class: `chip ${tone}` }, text);
const code = (value) => (value === undefined || value === null ? null : h("code", {}, typeof value === "string" ? value : JSON.stringify(value)));
const empty = (...kids) => h("p", { class: "empty" }, ...kids);

const timeOf = (value) => new Date(value).getTime();

function clock(value) {
  const date = new Date(value);
  if (value === undefined || value === null || Number.isNaN(date.getTime())) return code(value ?? "—");
  const sameDay = date.toDateString() === new Date().toDateString();
  const time = date.toLocaleTimeString("pt-BR", { hour12: false }) + "." + String(date.getMilliseconds()).padStart(3, "0");
  const text = sameDay ? time : `${date.toLocaleDateString("pt-BR")} ${time}`;
  return h("time", { datetime: date.toISOString(), title: date.toLocaleString("pt-BR") }, text);
}

function span(ms) {
  const s = Math.ceil(ms / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

const took = (ms) => (ms >= 1000 ? `${(ms / 1000).toLocaleString("pt-BR", { maximumFractionDigits: 1 })} s` : `${ms ?? "?"} ms`);

// Countdowns are updated between two polls.
function dueText(dueAt) {
  const left = timeOf(dueAt) - serverNow();
  return left > 0 ? `próxima tentativa em ${span(left)}` : "próxima tentativa a qualquer momento";
}
setInterval(() => {
  for (const el of document.querySelectorAll("[data-due]")) el.textContent = dueText(el.dataset.due);
}, 500);

// A disclosure that the visitor opened stays open when the part around it is drawn again.
const opened = new Set();
function disclosure(key, summary, ...body) {
  const el = h("details", { open: opened.has(key) }, h("summary", { "data-focus": key }, ...summary), ...body);
  el.addEventListener("toggle", () => (el.open ? opened.add(key) : opened.delete(key)));
  return el;
}

// Draws a part only if its fingerprint changed, and restores the focus and the scroll position.
const drawn = new Map();
function redraw(id, fingerprint, build) {
  if (drawn.get(id) === fingerprint) return;
  drawn.set(id, fingerprint);
  const root = $(id);
  const focus = root.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  const top = root.firstElementChild?.scrollTop ?? 0;
  root.replaceChildren(...shown([build()]));
  if (root.firstElementChild) root.firstElementChild.scrollTop = top;
  if (focus) [...root.querySelectorAll("[data-focus]")].find((el) => el.dataset.focus === focus)?.focus({ preventScroll: true });
}

/* ---------- leads ---------- */

let selected = new URLSearchParams(location.search).get("lead");

function ownLeads() {
  try {
    const ids = JSON.parse(localStorage.getItem("funil.leads"));
    return new Set(list(ids));
  } catch {
    return new Set();
  }
}

function drawLeads(leads) {
  const own = ownLeads();
  redraw("leads", JSON.stringify([leads, selected, [...own]]), () => {
    if (!leads.length) return empty("Nenhum lead ainda. ", h("a", { href: "/" }, "Preencha o formulário"), " e ele aparece aqui.");
    return h("ul", { class: "leads" }, leads.map(({ leadId, at }) =>
      h("li", {}, h("a", {
        href: `?lead=${encodeURIComponent(leadId)}`,
        "aria-current": leadId === selected && "true",
        "data-focus": leadId,
        title: leadId,
        onclick: (event) => {
          if (event.metaKey || event.ctrlKey || event.shiftKey) return;
          event.preventDefault();
          if (leadId === selected) return;
          history.pushState(null, "", event.currentTarget.href);
          select(leadId);
        },
      }, clock(at), h("small", {}, h("code", {}, String(leadId).slice(0, 13) + "…"), own.has(leadId) && " deste navegador")))));
  });
}

let lastLeads = [];
function select(leadId) {
  selected = leadId;
  drawLeads(lastLeads);
  redraw("journey", `loading ${leadId}`, () => empty("Carregando…"));
  previousStates = new Map();
  poll();
}
window.addEventListener("popstate", () => select(new URLSearchParams(location.search).get("lead")));

/* ---------- journey ---------- */

function scoreTotal(score) {
  return score && typeof score === "object" ? score.total : score;
}

function drawBreakdown(score) {
  return list(score.breakdown).length
    ? h("table", {}, h("tbody", {}, list(score.breakdown).map((row) => h("tr", {},
        h("th", { scope: "row" }, row.criterion, h("small", {}, row.answer ?? "sem resposta")),
        h("td", { class: "num" }, `${row.points} de ${row.max}`)))))
    : h("p", { class: "t-soft" }, "Sem detalhamento.");
}

function drawLead(lead) {
  const score = lead.amandaScore ?? {};
  const readiness = lead.readinessScore;
  const [tier, tone] = known(TIERS, score.tier);
  const fact = (name, ...value) => h("div", {}, h("dt", {}, name), h("dd", {}, ...value));
  return h("div", { class: "card lead" },
    h("div", { class: "lead-head" },
      h("div", {},
        h("h3", {}, lead.name ?? "Sem nome"),
        h("p", {}, [lead.email, lead.phone].filter(Boolean).join(" · "))),
      h("div", { class: "score" }, h("b", {}, scoreTotal(score) ?? "—"), " Amanda Score ", score.tier && chip([`nível ${tier}`, tone]),
        lead.readinessScore && h("p", {}, h("b", {}, scoreTotal(lead.readinessScore)), " prontidão"))),
    h("dl", { class: "facts" },
      fact("etapa", code(lead.stage)),
      fact("versão", code(lead.version)),
      fact("regras", code(score.rulesVersion)),
      lead.clientScore !== undefined && lead.clientScore !== null && fact("nota dita pelo navegador", code(scoreTotal(lead.clientScore))),
      readiness && fact("nota do questionário", code(readiness.total)),
      lead.bookingUrl && fact("link da chamada", code(lead.bookingUrl)),
      fact("leadId", code(lead.leadId))),
    h("div", { class: "lead-parts" },
      h("div", {}, h("h4", {}, "De onde vem a nota"), drawBreakdown(score)),
      readiness && h("div", {}, h("h4", {}, "De onde vem a nota do questionário"), drawBreakdown(readiness)),
      h("div", {}, h("h4", {}, "Consentimento"), list(lead.consent).length
        ? h("table", {}, h("tbody", {}, list(lead.consent).map((c) => h("tr", {},
            h("th", { scope: "row" }, PURPOSES[c.purpose] ?? c.purpose, h("small", {}, HOW[c.how] ?? c.how ?? "")),
            h("td", { class: "num" }, chip(known(DECISIONS, c.decision)), h("small", {}, clock(c.at)))))))
        : h("p", { class: "t-soft" }, "Nada registrado."))));
}

function drawAttempt(attempt, good) {
  return h("li", {},
    h("div", { class: "row" },
      clock(attempt.at),
      h("span", { class: good ? "t-good" : "t-bad" }, OUTCOMES[attempt.outcome] ?? attempt.outcome ?? "?"),
      attempt.status ? h("span", { class: "mono" }, `HTTP ${attempt.status}`) : h("span", { class: "t-soft" }, "sem resposta"),
      h("span", { class: "ms" }, took(attempt.durationMs))),
    attempt.reason && h("p", {}, code(attempt.reason)),
    attempt.detail && h("p", {}, typeof attempt.detail === "string" ? attempt.detail : code(attempt.detail)));
}

function drawDelivery(d) {
  const open = isOpen(d);
  const attempts = list(d.attempts);
  // The state of the delivery decides whether the last attempt succeeded: an HTTP 200 with an
  // unreadable body is not a success.
  const worked = (i) => d.state === "delivered" && i === attempts.length - 1;
  return h("li", { class: "card delivery", title: d.deliveryId },
    h("header", {},
      h("h4", {}, d.destination, d.slot && h("span", {}, ` · ${d.slot}`)),
      chip(known(STATES, d.state))),
    d.reason && h("p", {}, "motivo: ", code(d.reason)),
    d.message && h("p", { class: "t-soft" }, `mensagem ${MESSAGES[d.message] ?? d.message}`),
    open && d.state !== "leased" && d.dueAt && h("p", { class: "next", "data-due": d.dueAt }, dueText(d.dueAt)),
    open && d.deadline && h("p", { class: "t-soft" }, "desiste se passar de ", clock(d.deadline)),
    !open && d.settledAt && h("p", { class: "t-soft" }, "encerrada às ", clock(d.settledAt)),
    attempts.length
      ? h("ol", { class: "attempts", "aria-label": "Tentativas" }, attempts.map((a, i) => drawAttempt(a, worked(i))))
      : h("p", { class: "t-soft" }, d.state === "skipped" ? "Nenhum envio foi feito." : "Nenhuma tentativa ainda."));
}

function drawChange(change) {
  if (!change || typeof change !== "object") return h("li", {}, code(change));
  return h("li", {}, `${PURPOSES[change.purpose] ?? change.purpose ?? "?"} `, chip(known(DECISIONS, change.decision)),
    change.how && h("span", { class: "t-soft" }, ` ${HOW[change.how] ?? change.how}`));
}

// Which delivery a person sent again or settled, and how.
function drawDecision({ destination, slot, was, by, as, deliveryId }) {
  return h("p", { class: "decision", title: deliveryId },
    `${destination} · ${slot} `, as ? chip(known(STATES, as)) : chip(["enviar de novo", ""]),
    was && ["motivo: ", code(was)],
    by && h("span", { class: "t-soft" }, `por ${by}`));
}

// Groups deliveries under their events: by eventId if the delivery has one, otherwise under the last
// event before it.
function grouped(entries) {
  const groups = [];
  const ordered = [...entries].sort((a, b) => timeOf(a.at) - timeOf(b.at) || 0);
  for (const entry of ordered) {
    if (entry.kind !== "delivery") {
      groups.push({ head: entry, deliveries: [] });
      continue;
    }
    const events = groups.filter((g) => g.head?.kind === "event");
    let home = events.find((g) => entry.eventId && g.head.eventId === entry.eventId) ?? events.at(-1);
    if (!home) groups.push((home = { head: null, deliveries: [] }));
    home.deliveries.push(entry);
  }
  return groups;
}

function drawGroup({ head, deliveries }) {
  const isConsent = head?.kind === "consent";
  const title = isConsent ? "consentimento registrado" : head?.type ?? head?.kind ?? "entregas sem evento";
  return h("li", { class: isConsent ? "consent" : "" },
    h("div", { class: "step" }, head && clock(head.at), h("h3", { title: head?.eventId }, title)),
    isConsent && h("ul", { class: "changes" }, list(head.changes).map(drawChange)),
    head?.note && h("p", { class: "decision" }, `${head.note} `, head.status && chip(known(PROGRESS, head.status))),
    head?.decision && drawDecision(head.decision),
    head?.suppliedLeadId && h("p", { class: "decision" }, "trouxe o id de outro lead: ", code(head.suppliedLeadId)),
    list(head?.dropped).length > 0 && h("p", { class: "decision" }, "descartado por não ser um valor possível: ", list(head.dropped).map((name) => code(name))),
    list(head?.signs).length > 0 && h("p", { class: "decision" }, "sinais de spam: ", list(head.signs).map((sign) => code(sign))),
    deliveries.length > 0 && h("ul", { class: "cards", "aria-label": "Entregas deste evento" }, deliveries.map(drawDelivery)));
}

// Announces only changed states to screen readers, not the whole journey.
let previousStates = new Map();
function announce(deliveries) {
  const changed = deliveries.filter((d) => previousStates.has(d.deliveryId) && previousStates.get(d.deliveryId) !== d.state);
  if (changed.length) $("announce").textContent = changed.map((d) => `${d.destination}: ${known(STATES, d.state)[0]}`).join("; ");
  previousStates = new Map(deliveries.map((d) => [d.deliveryId, d.state]));
}

function drawJourney(journey, fingerprint) {
  const entries = list(journey.entries);
  const deliveries = entries.filter((e) => e.kind === "delivery");
  announce(deliveries);
  const leadId = journey.lead?.leadId;
  redraw("journey", `${fingerprint} ${replies.get(leadId) ?? ""}`, () => [
    drawLead(journey.lead ?? {}),
    journey.unread > 0 && h("p", { class: "empty unread", role: "status" }, journey.unread === 1
      ? "1 item desta jornada não pôde ser lido."
      : `${journey.unread} itens desta jornada não puderam ser lidos.`),
    journey.more && h("p", { class: "empty unread", role: "status" }, "Pode haver mais do que é mostrado aqui."),
    drawCalls(list(journey.bookings)),
    drawPayments(list(journey.payments), journey.lead ?? {}),
    drawReplies(list(journey.replies)),
    drawChat(list(journey.messages), leadId),
    entries.length
      ? h("ol", { class: "line", "aria-label": "Linha do tempo" }, grouped(entries).map(drawGroup))
      : empty("Este lead ainda não tem acontecimentos."),
  ]);
  const newest = Math.max(0, ...entries.map((e) => timeOf(e.at) || 0));
  return deliveries.some(isOpen) || serverNow() - newest < FRESH_MS;
}

/* ---------- clock ---------- */

let clockState = null;
let clockTrouble = "";
let clockMoving = false;

async function moveClock(body) {
  if (clockMoving) return;
  clockMoving = true;
  drawClock();
  try {
    clockState = await send("/stage/clock", body);
    clockTrouble = "";
  } catch (error) {
    clockTrouble = `O relógio não foi movido: ${trouble(error, { 409: "não há entrega marcada para mais tarde." })}`;
  }
  clockMoving = false;
  drawClock();
  poll();
}

async function send(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(30_000),
  });
  if (!response.ok) throw new Refused(response.status);
  return response.json();
}

// The response to a request of the console had the status of an error.
class Refused extends Error {
  constructor(status) {
    super(`o console respondeu ${status}.`);
    this.status = status;
  }
}

// What went wrong with a request, in words. Errors of the browser are in its own language.
const trouble = (error, words = {}) => (error instanceof Refused ? words[error.status] ?? error.message : "o console não respondeu.");

function drawClock() {
  if (!clockState) return;
  const { now, aheadS, movable, nextDue } = clockState;
  redraw("clock", JSON.stringify([clockState, clockTrouble, clockMoving]), () => {
    const button = (label, body, able = true) =>
      h("button", { type: "button", "data-focus": label, disabled: clockMoving || !able, onclick: () => moveClock(body) }, label);
    return [
      h("span", {}, aheadS ? "Relógio adiantado: " : "Relógio: ", clock(now)),
      movable && button("+1 h", { aheadS: 3600 }),
      movable && button("+1 dia", { aheadS: 86_400 }),
      movable && button("até a próxima entrega", { toNextDue: {} }, Boolean(nextDue)),
      clockTrouble && h("span", { class: "bad", role: "alert" }, clockTrouble),
    ];
  });
}

async function pollClock() {
  clockState = (await get("/stage/clock")).data ?? null;
  drawClock();
}

// The time of the dev server, which may be ahead of the browser's.
const serverNow = () => Date.now() + (clockState?.aheadS ?? 0) * 1000;

/* ---------- calls and messages ---------- */

const CALLS = {
  booked: ["marcada", "good"],
  canceled: ["cancelada", ""],
  rescheduled: ["remarcada", ""],
  no_show: ["não compareceu", "bad"],
};
const PROGRESS = {
  received: ["recebido", ""],
  processing: ["em andamento", ""],
  completed: ["concluído", "good"],
  failed: ["espera uma pessoa", "bad"],
};
const MESSAGES = { sent: "enviada", delivered: "entregue", read: "lida", failed: "falhou" };

// A call starts at a full minute.
function callTime(value) {
  const date = new Date(value);
  return h("time", { datetime: date.toISOString() }, date.toLocaleString("pt-BR", { dateStyle: "short", timeStyle: "short" }));
}

function drawPayments(payments, lead) {
  const details = new URLSearchParams([["lead_id", lead.leadId], ["name", lead.name], ["email", lead.email]].filter(([, value]) => value));
  const days = lead.daysToPayment;
  return h("ul", { class: "card calls", "aria-label": "Pagamentos" }, payments.map((p) =>
    h("li", {}, h("strong", {}, `${p.net} ${p.currency}`), ` pago ${p.paid ?? "?"}, devolvido ${p.refunded}`,
      p.mode === "test" ? " (teste)" : "", h("span", { class: "id" }, ` ${p.transaction}`))),
    h("li", {}, h("a", { href: `/crm?${details}` }, "o que o CRM diz deste lead")),
    h("li", {}, h("a", { href: `/pagamento?${details}` }, "pagar como este lead"),
      typeof days === "number" && ` · primeiro pagamento depois de ${days} ${days === 1 ? "dia" : "dias"}`));
}

function drawCalls(bookings) {
  return bookings.length > 0 && h("ul", { class: "card calls", "aria-label": "Chamadas" }, [...bookings].sort((a, b) => timeOf(a.startsAt) - timeOf(b.startsAt)).map((b) =>
    h("li", {}, "Chamada em ", callTime(b.startsAt), chip(known(CALLS, b.status)), b.status === "booked" && h("a", { href: "/agenda" }, "mudar na agenda"))));
}

// What a destination found out about the lead, and keeps.
function drawReplies(replies) {
  return replies.length > 0 && h("section", { class: "card", "aria-label": "Dados encontrados" },
    h("h3", {}, "Dados encontrados"),
    h("ul", { class: "calls" }, [...replies].sort((a, b) => timeOf(a.at) - timeOf(b.at)).map((r) => h("li", {},
      h("strong", {}, String(r.step).split(":")[0]), " ", clock(r.at), " ",
      Object.entries(r.fields ?? {}).map(([name, value]) => `${name}: ${value}`).join(" · ")))));
}

// The messages that the simulated WhatsApp received for this lead: template and texts.
function drawChat(messages, leadId) {
  return messages.length > 0 && h("section", { class: "card chat", "aria-label": "Mensagens no WhatsApp" },
    h("h3", {}, "WhatsApp"),
    h("ul", {}, messages.map((m) => h("li", {},
      h("p", {}, list(m.parameters).join(" · ")),
      h("small", {}, `${m.template} `, clock(m.at))))),
    h("p", { class: "calls" },
      h("button", { type: "button", "data-focus": "parar", onclick: () => optOut(leadId) }, "Responder PARAR"),
      h("span", { class: "t-soft", role: "status" }, replies.get(leadId))));
}

// What became of the last reply of each lead.
const replies = new Map();

async function optOut(leadId) {
  replies.set(leadId, "Enviando…");
  poll();
  try {
    const { status } = await send("/stage/whatsapp", { leadId, text: "PARAR" });
    replies.set(leadId, status === 200 ? "O Funil recebeu a resposta." : `O Funil respondeu ${status} ao webhook.`);
  } catch (error) {
    replies.set(leadId, `Não deu certo: ${trouble(error, { 404: "este lead não tem telefone." })}`);
  }
  poll();
}

/* ---------- providers ---------- */

// Changes of behaviour that are being sent. A poll must not show the old behaviour meanwhile.
const changing = new Map();
const refused = new Map();

async function setBehaviour(name, behaviour) {
  changing.set(name, behaviour);
  refused.delete(name);
  drawProviders();
  try {
    const response = await fetch(`/stage/providers/${encodeURIComponent(name)}`, {
      method: "PUT",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ behaviour }),
      signal: AbortSignal.timeout(8000),
    });
    if (!response.ok) throw new Error(String(response.status));
    const provider = lastProviders.find((p) => p.name === name);
    if (provider) provider.behaviour = behaviour;
  } catch {
    refused.set(name, "Não deu para mudar; o comportamento continua o de antes.");
  }
  // A later choice may already be on its way, and only the last one counts.
  if (changing.get(name) === behaviour) changing.delete(name);
  drawProviders();
}

function pretty(body) {
  if (body === undefined || body === null || body === "") return "(sem corpo)";
  let value = body;
  if (typeof body === "string") {
    try {
      value = JSON.parse(body);
    } catch {
      return body;
    }
  }
  return JSON.stringify(value, null, 2);
}

function drawRequest(name, request, key) {
  const status = Number(request.answered);
  const tone = status >= 200 && status < 400 ? "good" : "bad";
  return h("li", {}, disclosure(key,
    [clock(request.at), h("span", { class: "path mono" }, `${request.method} ${request.path}`), chip([String(request.answered ?? "sem resposta"), tone])],
    request.note && h("p", {}, request.note),
    h("pre", { tabindex: "0", "aria-label": `Corpo recebido por ${name}` }, pretty(request.body))));
}

function drawProvider(provider) {
  const { name } = provider;
  const current = changing.get(name) ?? provider.behaviour;
  const choices = BEHAVIOURS.some(([value]) => value === current) ? BEHAVIOURS : [...BEHAVIOURS, [current, current, "Definido fora desta tela."]];
  const received = [...list(provider.received)].sort((a, b) => timeOf(b.at) - timeOf(a.at) || 0);
  const seen = new Map();
  return h("li", { class: "card provider" },
    h("h3", {}, name),
    h("fieldset", {},
      h("legend", { class: "vh" }, `Comportamento de ${name}`),
      h("div", { class: "seg" }, choices.map(([value, label]) => h("label", {},
        h("input", { type: "radio", name: `b-${name}`, value, checked: value === current, "data-focus": `${name} ${value}`, onchange: () => setBehaviour(name, value) }),
        h("span", {}, label))))),
    h("p", { class: `seg-hint ${refused.has(name) ? "bad" : ""}`, role: refused.has(name) ? "alert" : undefined },
      refused.get(name) ?? choices.find(([value]) => value === current)?.[2]),
    received.length
      ? h("ul", { class: "received", "aria-label": `Pedidos recebidos por ${name}` }, received.slice(0, SHOWN_REQUESTS).map((request) => {
          const base = `${name} ${request.at} ${request.path}`;
          seen.set(base, (seen.get(base) ?? 0) + 1);
          return drawRequest(name, request, `${base} ${seen.get(base)}`);
        }))
      : empty("Nenhum pedido recebido."));
}

let lastProviders = [];
function drawProviders() {
  const fingerprint = JSON.stringify([lastProviders, [...changing], [...refused]]);
  redraw("providers", fingerprint, () =>
    lastProviders.length ? h("ul", { class: "providers" }, lastProviders.map(drawProvider)) : empty("Nenhum destino simulado."));
}

/* ---------- polling ---------- */

async function get(path) {
  const response = await fetch(path, { headers: { Accept: "application/json" }, cache: "no-store", signal: AbortSignal.timeout(8000) });
  if (response.status === 404) return { missing: true };
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  const text = await response.text();
  return { text, data: JSON.parse(text) };
}

async function pollLeads() {
  lastLeads = list((await get("/stage/leads")).data?.leads);
  if (!selected && lastLeads.length) {
    selected = lastLeads[0].leadId;
    history.replaceState(null, "", `?lead=${encodeURIComponent(selected)}`);
  }
  drawLeads(lastLeads);
}

async function pollJourney() {
  const leadId = selected;
  if (!leadId) {
    redraw("journey", "none", () => empty("Escolha um lead para ver a jornada."));
    return false;
  }
  const { missing, text, data } = await get(`/stage/journey/${encodeURIComponent(leadId)}`);
  if (leadId !== selected) return true; // another lead was chosen meanwhile
  if (missing) {
    redraw("journey", `missing ${leadId}`, () => empty("Ainda não há jornada para o lead ", code(leadId), ". Se ele acabou de ser enviado, aparece aqui em instantes; senão, escolha outro na lista."));
    return false;
  }
  return drawJourney(data, text);
}

async function pollProviders() {
  lastProviders = list((await get("/stage/providers")).data?.providers);
  drawProviders();
}

let timer = 0;
let round = 0;
async function poll() {
  const mine = ++round;
  clearTimeout(timer);
  const leads = pollLeads();
  // If no lead is chosen, the newest one is shown, so the list has to be read first.
  if (!selected) await leads.catch(() => {});
  const results = await Promise.allSettled([leads, pollJourney(), pollProviders(), pollClock()]);
  if (mine !== round) return; // a newer round has started
  const lost = results.some((r) => r.status === "rejected");
  $("link").classList.toggle("lost", lost);
  const text = lost ? "Sem resposta do console; tentando de novo" : "Ao vivo";
  if ($("link").textContent !== text) $("link").textContent = text;
  const pending = results[1].value === true;
  timer = setTimeout(poll, pending && document.visibilityState === "visible" ? FAST_MS : SLOW_MS);
}
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") poll();
});

poll();
