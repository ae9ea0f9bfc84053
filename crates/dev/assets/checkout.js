"use strict";
// The page of the simulated Stripe: pays, gives back and disputes. Text that a visitor typed is written to the
// page only as textContent.

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const money = (centavos) => (centavos / 100).toLocaleString("pt-BR", { style: "currency", currency: "BRL" });

function element(tag, props, ...kids) {
  const el = Object.assign(document.createElement(tag), props);
  el.append(...kids);
  return el;
}

async function ask(body) {
  const request = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch("/stage/checkout", { ...request, cache: "no-store", signal: AbortSignal.timeout(15_000) });
  } catch {
    throw new Error("o console não respondeu.");
  }
  if (response.status === 404) throw new Error("isto não é mais possível com este pagamento.");
  if (!response.ok) throw new Error(`o console respondeu ${response.status}.`);
  return response.json();
}

function showResult({ webhooks }) {
  const bad = webhooks.filter((w) => w.status !== 200);
  $("status").textContent = bad.length
    ? `O Funil respondeu ${bad.map((w) => `${w.status} a ${w.event}`).join(", ")}.`
    : `Pronto: o Funil recebeu ${webhooks.map((w) => w.event).join(" e ")}. Veja os destinos no console.`;
}

async function act(body) {
  $("alert").hidden = true;
  $("status").textContent = "Enviando…";
  try {
    showResult(await ask(body));
  } catch (error) {
    $("status").textContent = "";
    $("alert").textContent = `Não deu certo: ${error.message}`;
    $("alert").hidden = false;
  }
  await draw();
}

const STATUS = { declined: "recusado", paid: "pago", disputed: "contestado", lost: "contestação perdida" };
function row(payment) {
  const button = (label, body) => {
    const el = element("button", { type: "button", className: "plain" }, label);
    el.addEventListener("click", () => act(body));
    return el;
  };
  const { id } = payment;
  const back = payment.refunded > 0 ? ` · devolvido ${money(payment.refunded)}` : "";
  const parts = [element("strong", {}, money(payment.amount)), ` · ${payment.name} · ${STATUS[payment.status] ?? payment.status}${back}`];
  const actions = [];
  if (payment.status === "paid" && payment.refunded < payment.amount) {
    actions.push(button("Devolver uma parte", { refund: { id } }), button("Devolver tudo", { refund: { id, all: true } }));
  }
  if (payment.status === "paid") actions.push(button("Contestar", { dispute: { id } }));
  if (payment.status === "disputed") actions.push(button("Perder a contestação", { loseDispute: { id } }));
  if (actions.length) parts.push(element("br", {}), ...actions);
  return element("li", {}, ...parts);
}

async function draw() {
  let payments;
  try {
    ({ payments } = await ask());
  } catch (error) {
    $("paid").replaceChildren(element("p", { className: "form-alert" }, `A lista não pôde ser lida: ${error.message}`));
    return;
  }
  $("paid").replaceChildren(payments.length ? element("ul", {}, ...payments.map(row)) : element("p", { className: "hint" }, "Nenhum pagamento."));
}

$("name").value = query.get("name") ?? "";
$("email").value = query.get("email") ?? "";
$("pay").addEventListener("submit", (event) => {
  event.preventDefault();
  const data = new FormData(event.target);
  const leadId = query.get("lead_id") || undefined;
  act({ pay: { name: data.get("name"), email: data.get("email"), product: data.get("product"), declined: data.get("card") === "declined", leadId } });
});
draw();
