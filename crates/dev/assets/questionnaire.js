"use strict";
// The questionnaire page. The server sends the questions from the rules of the score, so that the two
// always agree. funil.js sends the answers.

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
  const name = `responses[${question.field}]`;
  if (question.options) {
    const options = question.options.map((value) => element("option", { value }, OPTIONS[value] ?? value));
    return element("select", { id, name }, element("option", { value: "" }, "Escolha"), ...options);
  }
  if (question.max !== undefined) {
    return element("input", { id, name, type: "number", min: question.min, max: question.max, inputMode: "numeric" });
  }
  return element("input", { id, name, maxLength: question.length });
}

function field(label, input) {
  return element("div", { className: "field full" }, element("label", { htmlFor: input.id }, label), input);
}

function draw(questions) {
  const email = element("input", { id: "email", name: "email", type: "email", required: true, autocomplete: "email", value: knownEmail() });
  $("questions").replaceChildren(
    field("E-mail do seu cadastro", email),
    ...questions.map((question) => field(LABELS[question.field] ?? question.field, control(question, `q-${question.field}`))),
  );
}

function showAlert(text) {
  $("alert").replaceChildren(element("p", {}, text));
  $("alert").hidden = false;
}

// Instead of the words that funil.js shows.
function succeed(event) {
  event.preventDefault();
  const { answer } = event.detail;
  form.hidden = true;
  $("result").textContent = `Prontidão: ${answer.transformationScore} de 100`;
  $("next").textContent = answer.nextStep === "calendar_booking"
    ? "O próximo passo é uma conversa. Escolha um horário."
    : "Obrigado. Vamos mandar materiais para o seu momento, e a conversa pode vir depois.";
  if (answer.bookingUrl) {
    $("book").href = answer.bookingUrl;
    $("book").hidden = false;
  }
  $("journey").href = `/stage?lead=${encodeURIComponent(leadId)}`;
  $("done").hidden = false;
  $("done").focus();
}

async function start() {
  if (!leadId) return showAlert("Este endereço não diz de quem são as respostas. Primeiro preencha o formulário da página inicial.");
  try {
    const response = await fetch("/stage/questions", { signal: AbortSignal.timeout(20_000) });
    draw((await response.json()).questions);
  } catch {
    return showAlert("As perguntas não vieram do servidor. Recarregue a página daqui a pouco.");
  }
  form.addEventListener("funil:success", succeed);
  form.hidden = false;
}

start();
