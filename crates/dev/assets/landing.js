"use strict";
// The landing page: shows the form in a dialog, and the score when it was sent, which funil.js does. Without JavaScript
// the form is a section of the page and is posted as a plain HTML form (see landing.html).

const $ = (id) => document.getElementById(id);
const form = $("lead-form");
const dialog = $("dialog");
const calm = matchMedia("(prefers-reduced-motion: reduce)");

function line(tag, text) {
  const el = document.createElement(tag);
  el.textContent = text;
  return el;
}

/* ---------- what the other pages of the demonstration find here ---------- */

// localStorage may be blocked. The form must work without it.
function load(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null;
  }
}
function save(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    /* the console lists this lead all the same */
  }
}

/* ---------- success ---------- */

const TIERS = {
  high: ["Há muitas horas para devolver a você", "Pelas suas respostas, a mentoria pode ajudar bastante e já. Sua conversa vai para o começo da fila."],
  medium: ["Há um bom caminho pela frente", "Pelas suas respostas, algumas mudanças certeiras já abrem espaço na sua semana. Vamos conversar sobre por onde começar."],
  low: ["Dá para começar com um passo pequeno", "Pelas suas respostas, talvez a mentoria inteira não seja o mais urgente agora, e tudo bem. A equipe lê seu pedido do mesmo jeito."],
};

// Instead of the words that funil.js shows.
function succeed(event) {
  event.preventDefault();
  const { leadId, amandaScore, tier } = event.detail.response;
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
  form.querySelector("[data-funil-status]").textContent = "";
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
  form.addEventListener("funil:success", succeed);
  form.addEventListener("input", (event) => {
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
