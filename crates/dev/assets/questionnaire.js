"use strict";
// The questionnaire page. The server sends the questions from the rules of the score, so that the two
// always agree.

const $ = (id) => document.getElementById(id);
const form = $("questionnaire");
const leadId = new URLSearchParams(location.search).get("lead_id") ?? "";

const LABELS = {
  commitment: "De 1 a 10, quanto você está decidido a mudar isso agora?",
  urgency: "Quando você quer começar?",
  investmentRange: "Quanto você pode investir?",
  weeklyHours: "Quantas horas por semana você pode dedicar?",
  decisionMaker: "Quem decide?",
  previousAttempts: "O que você já tentou?",
  mainGoal: "O que você quer ter conquistado daqui a três meses?",
};
const OPTIONS = {
  imediata: "Agora",
  "30-dias": "Em até 30 dias",
  "90-dias": "Em até 90 dias",
  "sem-pressa": "Sem pressa",
  "acima-10000": "Mais de R$ 10.000",
  "5000-10000": "R$ 5.000 a R$ 10.000",
  "2000-5000": "R$ 2.000 a R$ 5.000",
  "ate-2000": "Até R$ 2.000",
  nenhum: "Nada por agora",
  eu: "Eu",
  "eu-e-outra-pessoa": "Eu e outra pessoa",
  "outra-pessoa": "Outra pessoa",
  mentoria: "Uma mentoria",
  curso: "Um curso",
  sozinha: "Sozinha",
  sozinho: "Sozinho",
  nenhuma: "Nada ainda",
};

function element(tag, props, ...kids) {
  const el = Object.assign(document.createElement(tag), props);
  el.append(...kids);
  return el;
}

function knownEmail() {
  try {
    const kept = JSON.parse(localStorage.getItem("funil.email"));
    return kept?.leadId === leadId ? kept.email : "";
  } catch {
    return "";
  }
}

function control(question, id) {
  const name = question.field;
  if (question.options) {
    const options = question.options.map((value) => element("option", { value }, OPTIONS[value] ?? value));
    return element("select", { id, name }, element("option", { value: "" }, "Escolha"), ...options);
  }
  if (question.max !== undefined) {
    return element("input", { id, name, type: "number", min: question.min, max: question.max, inputMode: "numeric" });
  }
  return element("input", { id, name, maxLength: question.length });
}

function field(name, label, input) {
  const box = element("div", { className: "field full" },
    element("label", { htmlFor: input.id }, label), input, element("p", { className: "error", id: `e-${name}` }));
  box.dataset.field = name;
  input.setAttribute("aria-describedby", `e-${name}`);
  return box;
}

function draw(questions) {
  const email = element("input", { id: "email", name: "email", type: "email", autocomplete: "email", value: knownEmail() });
  $("questions").replaceChildren(
    field("email", "E-mail do seu cadastro", email),
    ...questions.map((question) => field(`responses.${question.field}`, LABELS[question.field] ?? question.field, control(question, `q-${question.field}`))),
  );
}

function body() {
  const data = new FormData(form);
  const responses = {};
  for (const input of form.querySelectorAll("[data-field^='responses.'] input, [data-field^='responses.'] select")) {
    const text = String(data.get(input.name) ?? "").trim();
    if (text) responses[input.name] = input.type === "number" ? Number(text) : text;
  }
  return { leadId, email: String(data.get("email") ?? "").trim(), responses };
}

function clearErrors() {
  $("alert").hidden = true;
  for (const el of form.querySelectorAll(".error")) el.replaceChildren();
  for (const el of form.querySelectorAll("[aria-invalid]")) el.removeAttribute("aria-invalid");
}

function showAlert(...lines) {
  $("alert").replaceChildren(...lines.map((line) => element("p", {}, line)));
  $("alert").hidden = false;
}

function showErrors(errors, summary) {
  clearErrors();
  const above = [];
  for (const { field: name, message } of errors) {
    const el = document.getElementById(`e-${name}`);
    if (el) {
      el.append(element("span", {}, message));
      el.parentElement.querySelector("input, select").setAttribute("aria-invalid", "true");
    } else above.push(`${name}: ${message}`);
  }
  const first = form.querySelector("[aria-invalid]");
  showAlert(first ? "Confira os campos marcados." : summary, ...above);
  (first ?? $("alert")).focus();
}

function succeed(received) {
  form.hidden = true;
  $("result").textContent = `Prontidão: ${received.transformationScore} de 100`;
  const booking = received.nextStep === "calendar_booking";
  $("next").textContent = booking
    ? "O próximo passo é uma conversa. Escolha um horário."
    : "Obrigado. Vamos mandar materiais para o seu momento, e a conversa pode vir depois.";
  if (received.bookingUrl) {
    $("book").href = received.bookingUrl;
    $("book").hidden = false;
  }
  $("journey").href = `/stage?lead=${encodeURIComponent(leadId)}`;
  $("done").hidden = false;
  $("done").focus();
}

let busy = false;
async function submit(event) {
  event.preventDefault();
  if (busy) return;
  busy = true;
  clearErrors();
  $("status").textContent = "Enviando…";
  try {
    const response = await fetch("/api/questionnaire-submit", {
      method: "POST",
      headers: { "Content-Type": "application/json", "Accept-Language": "pt-BR" },
      body: JSON.stringify(body()),
      signal: AbortSignal.timeout(20_000),
    });
    const received = await response.json();
    $("status").textContent = "";
    if (response.ok && received.success) return succeed(received);
    if (response.status === 404) return showErrors([], "Não encontramos este cadastro. Confira se o e-mail é o do formulário da página inicial.");
    if (response.status === 429) return showErrors([], "Recebemos muitos pedidos seguidos daqui. Espere um minuto e tente de novo.");
    if (response.status >= 500) return showErrors([], "O servidor está com dificuldade para responder agora. Tente de novo: repetir não duplica.");
    showErrors(received.errors ?? [], received.detail ?? "As respostas não foram aceitas.");
  } catch {
    $("status").textContent = "";
    showErrors([], "Não conseguimos falar com o servidor. Tente de novo: repetir não duplica.");
  } finally {
    busy = false;
  }
}

async function start() {
  if (!leadId) return showAlert("Este endereço não diz de quem são as respostas. Primeiro preencha o formulário da página inicial.");
  try {
    const response = await fetch("/stage/questions", { signal: AbortSignal.timeout(20_000) });
    draw((await response.json()).questions);
  } catch {
    return showAlert("As perguntas não vieram do servidor. Recarregue a página daqui a pouco.");
  }
  form.addEventListener("submit", submit);
  form.hidden = false;
}

start();
