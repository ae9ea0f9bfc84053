"use strict";
// The landing page: shows the form in a dialog and sends it as JSON. Without JavaScript the form is
// a section of the page and is posted as a plain HTML form (see landing.html).

const POLICY_VERSION = "2026-01";
const ENDPOINT = "/api/lead-submit";
const TIMEOUT_MS = 20_000;

const $ = (id) => document.getElementById(id);
const form = $("lead-form");
const dialog = $("dialog");
const alertBox = $("form-alert");
const statusLine = $("form-status");
const submitButton = $("submit");
const SUBMIT_LABEL = submitButton.textContent;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

// The fields by their names in the body, in the order of the page.
const fields = new Map(
  [...form.querySelectorAll("[data-field]")].map((box) => [
    box.dataset.field,
    { control: box.querySelector("input, select"), error: box.querySelector(".error") },
  ]),
);

/* ---------- small helpers ---------- */

function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  // randomUUID exists only in secure contexts. The dev server may be opened by the machine's address
  // on the local network.
  const b = crypto.getRandomValues(new Uint8Array(16));
  b[6] = (b[6] & 0x0f) | 0x40;
  b[8] = (b[8] & 0x3f) | 0x80;
  const hex = [...b].map((x) => x.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

// localStorage may be blocked. The form must work without it.
const memory = new Map();
function load(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return memory.get(key) ?? null;
  }
}
function save(key, value) {
  memory.set(key, value);
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    /* kept in memory for this page */
  }
}

function cookie(test) {
  for (const part of document.cookie.split("; ")) {
    const at = part.indexOf("=");
    if (at > 0 && test(part.slice(0, at))) return part.slice(at + 1);
  }
  return undefined;
}

/* ---------- what is sent ---------- */

// The lead id for an e-mail. A retry has the same id, even after a reload. Another e-mail, or a form
// after a successful one, has a new id.
function leadIdFor(email) {
  const key = email.toLowerCase();
  const kept = load("funil.attempt");
  if (kept && kept.email === key && kept.leadId) return kept.leadId;
  const leadId = uuid();
  save("funil.attempt", { email: key, leadId });
  return leadId;
}

function gaClientId() {
  const fromCookie = cookie((n) => n === "_ga")?.split(".").slice(-2).join(".");
  if (fromCookie) return fromCookie;
  // Google Analytics does not run on the dev server, so this is a stable substitute in its format.
  let kept = load("funil.ga");
  if (typeof kept !== "string") {
    kept = `${crypto.getRandomValues(new Uint32Array(1))[0]}.${Math.floor(Date.now() / 1000)}`;
    save("funil.ga", kept);
  }
  return kept;
}

function gaSessionId() {
  // GS1.1.<session>.… and the newer GS2.1.s<session>$…
  return cookie((n) => n.startsWith("_ga_"))?.match(/^GS\d\.\d\.s?(\d+)/)?.[1];
}

function tracking() {
  const query = new URLSearchParams(location.search);
  const utm = {};
  for (const name of ["source", "medium", "campaign", "term", "content"]) {
    const value = query.get(`utm_${name}`)?.trim();
    if (value) utm[name] = value;
  }
  return {
    trafficSource: utm.source || "direct",
    utm,
    pageUrl: location.origin + location.pathname + location.search,
    referrer: document.referrer || undefined,
    gaClientId: gaClientId(),
    gaSessionId: gaSessionId(),
    fbp: cookie((n) => n === "_fbp"),
    fbc: cookie((n) => n === "_fbc"),
  };
}

// The body of the request. Empty fields are left out (undefined is not serialised), except the
// honeypot, which is always sent.
function readBody() {
  const data = new FormData(form);
  const text = (name) => String(data.get(name) ?? "").trim() || undefined;
  const ticked = (purpose) => data.has(`consent[${purpose}]`);
  const hours = text("workHoursDaily");
  const email = text("email");
  return {
    leadId: leadIdFor(email ?? ""),
    name: text("name"),
    email,
    phone: text("phone"),
    businessType: text("businessType"),
    monthlyRevenue: text("monthlyRevenue"),
    workHoursDaily: hours === undefined ? undefined : Number(hours),
    mainStruggle: text("mainStruggle"),
    sourceSection: text("sourceSection"),
    ...tracking(),
    consent: {
      marketing: ticked("marketing"),
      analytics: ticked("analytics"),
      ads: ticked("ads"),
      whatsapp: ticked("whatsapp"),
      policyVersion: POLICY_VERSION,
    },
    website: String(data.get("website") ?? ""),
  };
}

// The idempotency key for a body. A retry with the same body has the same key; any change gets a new
// one, so that no key is used for two different bodies.
let keyed = { content: null, key: null };
function idempotencyKey(content) {
  if (keyed.content !== content) keyed = { content, key: uuid() };
  return keyed.key;
}

/* ---------- errors ---------- */

function clearField(field) {
  field.error.replaceChildren();
  field.control.removeAttribute("aria-invalid");
}

function clearErrors() {
  fields.forEach(clearField);
  alertBox.hidden = true;
}

function line(tag, text) {
  const el = document.createElement(tag);
  el.textContent = text;
  return el;
}

// Shows a message above the button if the person has to press it again, otherwise above the form.
function showAlert(messages, waiting = false) {
  if (waiting) submitButton.parentElement.before(alertBox);
  else form.prepend(alertBox);
  alertBox.classList.toggle("wait", waiting);
  alertBox.replaceChildren(...messages.filter(Boolean).map((m) => line("p", m)));
  alertBox.hidden = false;
  (waiting ? submitButton : alertBox).scrollIntoView({ block: "nearest" });
}

// Shows every message: at its field, or above the form for fields that the visitor does not see (utm,
// pageUrl, …).
function showErrors(errors, summary) {
  clearErrors();
  const above = [];
  for (const { field: name, message, code } of errors) {
    const field = fields.get(name);
    const text = message || code || "Valor inválido.";
    if (!field) {
      above.push(name ? `${name}: ${text}` : text);
      continue;
    }
    field.error.append(line("span", text));
    field.control.setAttribute("aria-invalid", "true");
  }
  const marked = [...fields.values()].filter((f) => f.error.hasChildNodes());
  const count = marked.length === 1 ? "Confira o campo marcado abaixo." : `Confira os ${marked.length} campos marcados abaixo.`;
  showAlert([marked.length ? count : summary, ...above]);
  (marked[0]?.control ?? alertBox).focus();
}

// A simple check that saves a request. The server checks everything again.
function check(body) {
  const errors = [];
  const add = (field, message) => errors.push({ field, message });
  if (!body.name) add("name", "Diga seu nome.");
  if (!body.email) add("email", "Informe seu e-mail.");
  else if (!/^[^\s@]+@[^\s@]+\.[^\s@]+$/.test(body.email)) add("email", "Este e-mail parece incompleto. Exemplo: nome@empresa.com.br");
  if (!body.businessType) add("businessType", "Escolha o ramo do seu negócio.");
  if (!body.monthlyRevenue) add("monthlyRevenue", "Escolha uma faixa de faturamento.");
  const h = body.workHoursDaily;
  if (!Number.isInteger(h) || h < 1 || h > 24) add("workHoursDaily", "Informe um número inteiro de 1 a 24.");
  if (!body.mainStruggle) add("mainStruggle", "Escolha o que mais pesa hoje.");
  return errors;
}

/* ---------- sending ---------- */

let busy = false;
let countdown = 0;

function setBusy(on) {
  busy = on;
  // aria-disabled instead of disabled, so that the button keeps the focus.
  submitButton.setAttribute("aria-disabled", String(on));
  submitButton.textContent = on ? "Enviando…" : SUBMIT_LABEL;
  statusLine.textContent = on ? "Enviando suas respostas." : "";
}

// Screen readers announce the seconds once, with the message. The countdown on the button is silent.
function waitBeforeRetry(seconds) {
  const until = Date.now() + seconds * 1000;
  clearInterval(countdown);
  const tick = () => {
    const left = Math.ceil((until - Date.now()) / 1000);
    const waiting = left > 0;
    submitButton.setAttribute("aria-disabled", String(waiting));
    submitButton.textContent = waiting ? `Tentar de novo em ${left} s` : "Tentar de novo";
    if (!waiting) {
      clearInterval(countdown);
      countdown = 0;
    }
  };
  countdown = setInterval(tick, 500);
  tick();
}

function retryAfter(response) {
  const value = response.headers.get("Retry-After");
  if (!value) return 0;
  const seconds = /^\d+$/.test(value.trim()) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, Math.ceil(seconds)) : 0;
}

const secondsText = (n) => (n === 1 ? "1 segundo" : `${n} segundos`);

function offerRetry(reason, seconds) {
  const when = seconds > 0 ? `Espere ${secondsText(seconds)} e tente de novo.` : "Tente de novo daqui a pouco.";
  showAlert([reason, `${when} O que você preencheu continua aqui, e repetir o envio não duplica o pedido.`], true);
  waitBeforeRetry(seconds);
}

async function send(content) {
  const response = await fetch(ENDPOINT, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      Accept: "application/json, application/problem+json",
      "Accept-Language": "pt-BR",
      "Idempotency-Key": `"${idempotencyKey(content)}"`,
    },
    body: content,
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const text = await response.text();
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    /* the caller treats a body that is not JSON as no response */
  }
  return { response, body };
}

async function submit(event) {
  event.preventDefault();
  if (busy || countdown) return;
  const body = readBody();
  const found = check(body);
  if (found.length) return showErrors(found);

  clearErrors();
  setBusy(true);
  let result = null;
  try {
    result = await send(JSON.stringify(body));
  } catch {
    /* no response: offline, refused or timed out */
  }
  setBusy(false);

  if (!result) return offerRetry("Não conseguimos falar com o servidor.", 0);
  const { response, body: received } = result;
  if (response.ok && received?.success !== false && received?.leadId) return succeed(received);
  if (response.status === 429) return offerRetry("Recebemos muitos pedidos seguidos daqui.", retryAfter(response) || 30);
  if (response.ok || response.status >= 500 || response.status === 408 || response.status === 409) {
    return offerRetry("O servidor está com dificuldade para responder agora.", retryAfter(response));
  }
  const errors = Array.isArray(received?.errors) ? received.errors : [];
  showErrors(errors, received?.detail || received?.title || "O pedido não foi aceito. Confira os dados e tente de novo.");
}

/* ---------- success ---------- */

const TIERS = {
  high: ["Há muitas horas para devolver a você", "Pelas suas respostas, a mentoria pode ajudar bastante e já. Sua conversa vai para o começo da fila."],
  medium: ["Há um bom caminho pela frente", "Pelas suas respostas, algumas mudanças certeiras já abrem espaço na sua semana. Vamos conversar sobre por onde começar."],
  low: ["Dá para começar com um passo pequeno", "Pelas suas respostas, talvez a mentoria inteira não seja o mais urgente agora, e tudo bem. A equipe lê seu pedido do mesmo jeito."],
};

function succeed({ leadId, amandaScore, tier }) {
  save("funil.attempt", null);
  const known = load("funil.leads");
  save("funil.leads", [leadId, ...(Array.isArray(known) ? known.filter((id) => id !== leadId) : [])].slice(0, 50));

  const [title, text] = TIERS[tier] ?? ["Recebemos o seu pedido", "Obrigado por contar como é o seu dia. A equipe entra em contato."];
  $("tier").textContent = title;
  $("tier-text").textContent = text;
  $("journey").href = `/stage?lead=${encodeURIComponent(leadId)}`;
  // The questionnaire asks for the e-mail again and fills it in from here.
  save("funil.email", { leadId, email: form.elements.email.value.trim() });
  $("questionnaire").href = `/questionario?lead_id=${encodeURIComponent(leadId)}`;
  $("dialog-title").textContent = "Recebemos, obrigado!";
  form.hidden = true;
  $("done").hidden = false;
  $("dialog-body").scrollTop = 0;
  $("dialog-title").focus();

  const score = Number(amandaScore);
  const scored = amandaScore != null && Number.isFinite(score);
  $("ring").hidden = !scored;
  if (scored) drawScore(score);
}

function drawScore(score) {
  $("score-text").textContent = `Amanda Score: ${score} de 100`;
  const draw = (value) => {
    $("score-num").textContent = String(value);
    $("ring-fg").style.strokeDasharray = `${Math.max(0, Math.min(100, value))} 100`;
  };
  if (calm.matches) return draw(score);
  const start = performance.now();
  const step = (now) => {
    const t = Math.min(1, Math.max(0, (now - start) / 1100));
    draw(t < 1 ? Math.round(score * (1 - (1 - t) ** 3)) : score);
    if (t < 1) requestAnimationFrame(step);
  };
  draw(0);
  requestAnimationFrame(step);
}

// Resets the form for another lead. Called only after a form was sent successfully.
function startOver() {
  form.reset();
  clearErrors();
  clearInterval(countdown);
  countdown = 0;
  setBusy(false);
  form.hidden = false;
  $("done").hidden = true;
  $("dialog-title").textContent = "Conte como é o seu dia";
}

/* ---------- dialog, phone mask, week ---------- */

let chosenHours = null; // null until the visitor moves the slider at the top of the page

function openDialog(section) {
  if (form.hidden) startOver();
  form.elements.sourceSection.value = section;
  if (chosenHours !== null && !form.elements.workHoursDaily.value) form.elements.workHoursDaily.value = chosenHours;
  dialog.showModal();
  if (!form.elements.name.value) form.elements.name.focus();
}

function maskPhone(input) {
  // Only while typing at the end, and not for foreign or long numbers.
  if (input.value.startsWith("+") || input.selectionStart !== input.value.length) return;
  const d = input.value.replace(/\D/g, "");
  if (d.length > 11) return;
  const cut = d.length > 10 ? 7 : 6;
  if (d.length > 6) input.value = `(${d.slice(0, 2)}) ${d.slice(2, cut)}-${d.slice(cut)}`;
  else if (d.length > 2) input.value = `(${d.slice(0, 2)}) ${d.slice(2)}`;
  else input.value = d;
}

function drawWeek(hours) {
  $("week").style.setProperty("--h", hours);
  const extra = Math.max(0, hours - 8) * 6;
  const first = line("strong", `${hours} h por dia, seis dias:`);
  const days = Math.round((extra * 48) / 24);
  const rest = extra
    ? ` ${extra} h por semana além de uma jornada de 8 h. Em 48 semanas, são ${days} dias inteiros.`
    : " dentro de uma jornada de 8 h. Vamos cuidar para continuar assim.";
  $("week-out").replaceChildren(first, rest);
}

function start() {
  document.documentElement.classList.add("js");
  $("dialog-body").prepend(form);
  form.noValidate = true;
  form.addEventListener("submit", submit);
  form.addEventListener("input", (event) => {
    const field = [...fields.values()].find((f) => f.control === event.target);
    if (field) clearField(field);
    if (event.target.name === "phone") maskPhone(event.target);
  });

  for (const link of document.querySelectorAll("a[data-section]")) {
    // It is a link without JavaScript and a button with it.
    link.setAttribute("role", "button");
    link.setAttribute("aria-haspopup", "dialog");
    link.addEventListener("click", (event) => {
      event.preventDefault();
      openDialog(link.dataset.section);
    });
    link.addEventListener("keydown", (event) => {
      if (event.key !== " ") return;
      event.preventDefault();
      link.click();
    });
  }

  $("close").addEventListener("click", () => dialog.close());
  $("again").addEventListener("click", () => dialog.close());
  // Close on a press on the backdrop, but not at the end of a drag from a field.
  dialog.addEventListener("pointerdown", (event) => event.target === dialog && dialog.close());

  $("week-hours").addEventListener("input", (event) => {
    chosenHours = Number(event.target.value);
    drawWeek(chosenHours);
  });
}

start();
