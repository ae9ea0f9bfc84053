// Walks through every page of the dev server in Chromium, in its good and in its bad case, at the
// width of a phone and of a desktop. It starts the dev server itself, with a new data folder for each
// width, and ends at the first thing that is not as it should be. See README.md.

import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer as createPage } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

/* ---------- data ---------- */

const SIZES = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 900 } };
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];
const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const START_MS = 600_000; // the first start compiles
const WAIT_MS = 20_000;

const ANA = {
  name: "Ana Exemplo", email: "ana@example.com", phone: "(11) 98765-4321",
  businessType: "consultoria", monthlyRevenue: "50000-100000", workHoursDaily: "14", mainStruggle: "tempo",
};
const BIA = { ...ANA, name: "Bia Exemplo", email: "bia@example.com", phone: "(11) 98765-4322", workHoursDaily: "6" };
const CAIO = { ...ANA, name: "Caio Exemplo", email: "caio@example.com", phone: "(11) 98765-4323" };
const READY = {
  commitment: "9", urgency: "imediata", investmentRange: "5000-10000", weeklyHours: "6",
  decisionMaker: "eu", previousAttempts: "curso", mainGoal: "Trabalhar menos horas.",
};
const NOT_READY = { commitment: "2", urgency: "sem-pressa", investmentRange: "nenhum", weeklyHours: "0" };
const NOBODY = "3a6f0c52-7d0e-4f0b-9f57-0c9b6a1d2e99";
// What a page shows when code wrote a value instead of a text.
const LEAKED = /false|undefined|null|NaN|\[object/;
// English that a server's answer could bring to a page in Portuguese.
const ENGLISH = /\b(the|must|there is|this|please|invalid)\b/i;

/* ---------- pages, one function each ---------- */

async function consoleWithoutLeads(walk) {
  const { page } = walk;
  await walk.open("/stage");
  await walk.expectTitle("Console do Funil");
  await walk.expectText("h1", /^Console do Funil$/);
  await walk.expectText("#leads", /Nenhum lead ainda/);
  await walk.expectText("#journey", /Escolha um lead/);
  await walk.expectText("#providers", /Nenhum pedido recebido/);
  await walk.expectText("#link", /Ao vivo/);
  await walk.look("console-empty");
  const lastMove = page.getByRole("button", { name: "até a próxima entrega" });
  walk.that(await lastMove.isDisabled(), "with nothing due, the button to the next delivery is disabled");
  await walk.open(`/stage?lead=${NOBODY}`, [/404/]);
  await walk.expectText("#journey", /Ainda não há jornada/);
  await walk.look("console-unknown-lead", [/404/]);
}

async function landing(walk) {
  const { page } = walk;
  await walk.open("/");
  await walk.look("landing");
  await page.getByRole("button", { name: "Ver meu Amanda Score" }).first().click();
  await walk.expectFocus("#f-name");
  await walk.look("landing-form");

  // The browser's own checks.
  await page.locator("#submit").click();
  await walk.expectFocus("#f-name");
  await fillLead(page, { ...ANA, email: "ana@" });
  await page.locator("#submit").click();
  await walk.expectFocus("#f-email");

  // The server's checks, in Portuguese.
  await fillLead(page, { ...ANA, email: "ana@example", phone: "123" });
  await walk.bad([/422/], async () => {
    await page.locator("#submit").click();
    await walk.expectText("[data-funil-status]", /Confira os campos marcados/);
  });
  await walk.expectText("[data-funil-error=email]", /\S/);
  await walk.expectText("[data-funil-error=phone]", /\S/);
  await walk.expectNoText("#dialog", ENGLISH);
  await walk.expectFocus("#f-email");
  await walk.look("landing-refused");

  // What the person sees while the server cannot take the form, which is sent again by itself.
  await fillLead(page, ANA);
  for (const purpose of ["marketing", "whatsapp", "analytics", "ads"]) await page.check(`[name='consent[${purpose}]']`);
  const troubles = [
    { status: 429, headers: { "Retry-After": "1" }, body: "{}" },
    { status: 503, headers: { "Retry-After": "1" }, body: "<html>" },
  ];
  const keys = new Set();
  await page.route("**/api/lead-submit", (route) => {
    keys.add(route.request().headers()["idempotency-key"]);
    const trouble = troubles.shift();
    return trouble ? route.fulfill(trouble) : route.abort("failed");
  });
  await walk.bad([/429/, /503/, /ERR_FAILED/], async () => {
    await page.locator("#submit").press("Enter");
    await walk.expectText("[data-funil-status]", /Ainda sem resposta. Deixe esta página aberta/);
    await walk.look("landing-waiting");
    await walk.until(() => [troubles.length === 0, troubles], "it is sent again by itself");
    walk.that((await page.inputValue("#f-name")) === ANA.name, "meanwhile the form still holds what was typed");
    await page.unroute("**/api/lead-submit");
    await walk.expectText("#dialog-title", /Recebemos, obrigado/);
  });
  walk.that(keys.size === 1, "each try has the same idempotency key");
  // Success.
  await walk.expectText("#score-text", /^Amanda Score: \d+ de 100$/);
  await walk.expectFocus("#dialog-title");
  await walk.look("landing-success");
  const journey = await page.locator("#journey").getAttribute("href");
  const questionnaire = await page.locator("#questionnaire").getAttribute("href");
  await page.keyboard.press("Escape");
  await walk.expectHidden("#dialog");
  return { journey, questionnaire };
}

// A robot sees the same success as a person, and leaves no lead.
async function landingOfARobot(walk) {
  const { page } = walk;
  await walk.open("/");
  await page.getByRole("button", { name: "Ver meu Amanda Score" }).first().click();
  await fillLead(page, { ...ANA, email: "robo@example.com" });
  await page.evaluate(() => { document.getElementById("f-website").value = "http://spam.example"; });
  await page.locator("#submit").click();
  await walk.expectText("#dialog-title", /Recebemos, obrigado/);
  await walk.look("landing-honeypot");
  const robot = await page.locator("#journey").getAttribute("href");
  await walk.open(robot, [/404/]);
  await walk.expectText("#journey", /Ainda não há jornada/);
}

async function questionnaire(walk, address, low) {
  const { page } = walk;
  await walk.open(address);
  await walk.expectCount("#questions .field", 8);
  walk.that((await page.inputValue("#email")) === ANA.email, "the questionnaire knows the e-mail of the form");
  await walk.look("questionnaire");

  await answer(page, { ...READY, commitment: "11" });
  await page.fill("#email", "ana@");
  await page.locator("#questionnaire").evaluate((form) => { form.noValidate = true; });
  await walk.bad([/422/], async () => {
    await page.getByRole("button", { name: "Enviar respostas" }).click();
    await walk.expectText("[data-funil-status]", /Confira os campos marcados/);
  });
  await walk.expectText("[data-funil-error=email]", /\S/);
  await walk.expectFocus("#email");
  await walk.expectNoText("#questionnaire", ENGLISH);
  await walk.look("questionnaire-refused");
  await page.fill("#email", ANA.email);
  await walk.bad([/422/], async () => {
    await page.getByRole("button", { name: "Enviar respostas" }).click();
    await walk.expectText("[data-funil-error='responses.commitment']", /\S/);
  });
  await walk.expectFocus("#q-commitment");
  await page.fill("#q-commitment", READY.commitment);

  // At or above the threshold there is a button to book.
  await walk.failing("**/api/questionnaire-submit", { status: 503, body: "{}" }, async () => {
    await page.getByRole("button", { name: "Enviar respostas" }).click();
    await walk.expectText("[data-funil-status]", /Ainda sem resposta/);
    await walk.look("questionnaire-503");
  });
  await walk.expectText("#result", /^Prontidão: \d+ de 100$/);
  await walk.expectText("#next", /O próximo passo é uma conversa/);
  const book = await page.locator("#book").getAttribute("href");
  walk.that(await page.locator("#book").isVisible(), "above the threshold the button to book is shown");
  walk.that(/\/agenda\?/.test(book ?? ""), `the button to book leads to the calendar, not to ${book}`);
  await walk.look("questionnaire-above");

  // Below it there is none.
  await walk.open(`/questionario?lead_id=${low}`);
  await walk.expectCount("#questions .field", 8);
  await page.fill("#email", BIA.email);
  await answer(page, NOT_READY);
  await page.getByRole("button", { name: "Enviar respostas" }).click();
  await walk.expectText("#next", /a conversa pode vir depois/);
  await walk.expectHidden("#book");
  await walk.expectNoText("#done", /Agendar a conversa/);
  await walk.look("questionnaire-below");

  // A lead that does not exist, no lead at all, and no questions.
  await walk.open(`/questionario?lead_id=${NOBODY}`);
  await walk.expectCount("#questions .field", 8);
  await page.fill("#email", ANA.email);
  await answer(page, NOT_READY);
  await walk.bad([/404/], async () => {
    await page.getByRole("button", { name: "Enviar respostas" }).click();
    await walk.expectText("[data-funil-status]", /\S/);
    await walk.expectNoText("#questionnaire", ENGLISH);
  });
  await walk.expectFocus("[data-funil-status]");
  await walk.expectNoText("#questionnaire", ENGLISH);
  await walk.look("questionnaire-unknown-lead");
  await walk.open("/questionario");
  await walk.expectText("#alert", /preencha o formulário/i);
  await walk.expectHidden("#questionnaire button");
  await walk.look("questionnaire-no-lead");
  await walk.failing("**/stage/questions", { status: 503, body: "" }, async () => {
    await walk.open(address);
    await walk.expectText("#alert", /perguntas não vieram/);
    await walk.look("questionnaire-no-questions", [/503/]);
  });
  return book;
}

async function calendar(walk, book) {
  const { page } = walk;
  await walk.open("/agenda");
  await walk.expectText("#booked", /Nada marcado/);
  await walk.look("calendar-empty");
  await walk.open(book);
  // The questionnaire did not ask for the name, and the link never has one that is stored.
  walk.that((await page.inputValue("#name")) === "", "the link to the calendar has no stored name");
  walk.that((await page.inputValue("#email")) === ANA.email, "the calendar knows the e-mail from the link");
  await walk.expectCount("#slot option", 14);
  await page.fill("#name", ANA.name);
  await walk.failing("**/stage/calendar", null, async () => {
    await page.getByRole("button", { name: "Marcar" }).click();
    await walk.expectText("#alert", /Não deu certo: o console não respondeu/);
    await walk.expectText("#status", /^$/);
  });
  await walk.look("calendar-stopped");
  await page.getByRole("button", { name: "Marcar" }).click();
  await walk.expectText("#status", /o Funil recebeu o webhook/);
  await walk.expectHidden("#alert");
  await walk.expectText("#booked", /Ana Exemplo · marcada/);
  await walk.look("calendar-booked");

  await page.getByRole("button", { name: "Passar para um dia depois" }).click();
  await walk.expectText("#booked", /marcada[^]*remarcada/);
  await walk.expectText("#status", /o Funil recebeu o webhook/);
  await walk.look("calendar-moved");

  // A call that another window has canceled meanwhile.
  await walk.failing("**/stage/calendar", { status: 404, body: "There is no such booking that stands.\n" }, async () => {
    await page.getByRole("button", { name: "Cancelar" }).click();
    await walk.expectText("#alert", /não está mais marcada/);
  }, "POST");
  await walk.expectNoText("main", ENGLISH);
}

async function calendarCanceled(walk) {
  await walk.open("/agenda");
  await walk.page.getByRole("button", { name: "Cancelar" }).click();
  await walk.expectText("#booked", /Ana Exemplo · cancelada/);
  await walk.expectCount("#booked button", 0);
  await walk.look("calendar-canceled");
}

async function checkout(walk) {
  const { page } = walk;
  await walk.open("/pagamento");
  await walk.expectText("#paid", /Nenhum pagamento/);
  await walk.look("checkout-empty");
  await page.fill("#name", ANA.name);
  await page.fill("#email", ANA.email);
  await page.selectOption("#card", "declined");
  await page.getByRole("button", { name: "Pagar" }).click();
  await walk.expectText("#status", /payment_intent\.payment_failed/);
  await walk.expectText("#paid", /997,00 · Ana Exemplo · recusado/);
  await walk.expectCount("#paid button", 0);
  await page.selectOption("#card", "good");
  await walk.failing("**/stage/checkout", null, async () => {
    await page.getByRole("button", { name: "Pagar" }).click();
    await walk.expectText("#alert", /Não deu certo: o console não respondeu/);
    await walk.expectText("#status", /^$/);
  });
  await walk.look("checkout-stopped");
  await page.getByRole("button", { name: "Pagar" }).click();
  await walk.expectText("#status", /payment_intent\.succeeded e checkout\.session\.completed/);
  await walk.expectHidden("#alert");
  await walk.expectText("#paid", /Ana Exemplo · pago/);
  await walk.look("checkout-paid");
  await page.getByRole("button", { name: "Devolver uma parte" }).click();
  await walk.expectText("#paid", /devolvido R\$\s249,25/);
  await page.getByRole("button", { name: "Contestar" }).click();
  await walk.expectText("#paid", /contestado/);
  await walk.failing("**/stage/checkout", { status: 404, body: "There is no such payment.\n" }, async () => {
    await page.getByRole("button", { name: "Perder a contestação" }).click();
    await walk.expectText("#alert", /não é mais possível/);
  }, "POST");
  await page.getByRole("button", { name: "Perder a contestação" }).click();
  await walk.expectText("#paid", /contestação perdida/);
  await walk.expectNoText("main", ENGLISH);
  await walk.look("checkout-lost");
}

async function consoleWithAPayment(walk, journey) {
  const { page } = walk;
  await walk.open(journey);
  await page.getByRole("link", { name: "pagar como este lead" }).click();
  await walk.expectText("h2", /Pague a sua mentoria/);
  walk.that((await page.inputValue("#email")) === ANA.email, "the page that pays knows the lead's e-mail");
  await page.selectOption("#product", "workshop");
  await page.getByRole("button", { name: "Pagar" }).click();
  await walk.expectText("#status", /payment_intent\.succeeded/);
  await walk.open(journey);
  await walk.expectText("[aria-label=Pagamentos]", /97\.00 BRL[^]*primeiro pagamento depois de/);
  await walk.expectText(".line", /payment_succeeded/);
  await settled(walk);
  await walk.look("console-payment");
}

// What the CRM reports: a lead that is looked up, and a deal.
async function crm(walk, journey) {
  const { page } = walk;
  await walk.open(journey);
  await page.getByRole("link", { name: "o que o CRM diz deste lead" }).click();
  await walk.expectText("h2", /O que acontece no CRM/);
  walk.that((await page.inputValue("#email")) === ANA.email, "the CRM's page knows the lead's e-mail");
  await walk.failing("**/stage/crm", null, async () => {
    await page.getByRole("button", { name: "Avisar o Funil" }).click();
    await walk.expectText("#alert", /Não deu certo: o console não respondeu/);
    await walk.expectText("#status", /^$/);
  });
  await walk.look("crm-stopped");
  await page.fill("#cpf", "529.982.247-25");
  await page.getByRole("button", { name: "Avisar o Funil" }).click();
  await walk.expectText("#status", /c2s-webhook recebeu/);
  await walk.expectHidden("#alert");
  await page.selectOption("#action", "deal_committed");
  await page.getByRole("button", { name: "Avisar o Funil" }).click();
  await walk.expectText("#status", /deal-webhook recebeu/);
  await walk.expectNoText("main", ENGLISH);
  await walk.look("crm-reported");
  await walk.open(journey);
  await settled(walk);
  await walk.expectText(".line", /crm_lead[^]*concluído[^]*deal_changed/);
  await walk.expectText("[aria-label='Dados encontrados']", /work_api[^]*occupation: Consultora/);
  await walk.look("console-crm");
}

// The site's forms, as plain HTML posts: what is wrong is said on a page of the function's.
const SITE_FORMS = [
  { path: "/contato", button: "Enviar mensagem", fill: { name: "Davi Exemplo", message: "Olá, <b>quanto</b> custa?" }, wrong: "Mensagem", to: "/stage" },
  { path: "/newsletter", button: "Assinar", fill: {}, tick: true, wrong: "Consentimento", to: "/stage" },
  {
    path: "/consultoria", button: "Pedir a conversa",
    fill: { name: "Davi Exemplo", phone: "(11) 98765-4324", date: "2037-03-02T15:00", "other-date": "2037-03-03T09:00" },
    choose: { service: "mentoria-individual", budget: "acima-10000" }, wrong: "Serviço", to: "/agenda",
  },
];

// Each form works without JavaScript, and so it does where the script does not come.
async function siteForms(walk) {
  const { page } = walk;
  for (const { path, button, fill, choose = {}, tick, wrong, to } of SITE_FORMS) {
    const name = path.slice(1);
    await page.route("**/assets/funil.js", (route) => route.abort("failed"));
    await walk.open(path, [/422/, /funil\.js/]);
    await walk.look(name);
    await page.locator("form").evaluate((form) => { form.noValidate = true; });
    await page.fill("#email", "davi@");
    await page.getByRole("button", { name: button }).click();
    await walk.expectText("h1", /não são válidos/);
    await walk.expectText("li", new RegExp(`E-mail: [^]*${wrong}: `));
    await walk.expectNoText("main", ENGLISH);
    await walk.look(`${name}-refused`);
    await page.goBack();
    walk.that((await page.inputValue("#email")) === "davi@", "going back keeps what was typed");
    await page.fill("#email", "davi@example.com");
    for (const [id, value] of Object.entries(fill)) await page.fill(`#${id}`, value);
    for (const [id, value] of Object.entries(choose)) await page.selectOption(`#${id}`, value);
    if (tick) await page.check("form [name=marketing_consent]");
    await page.getByRole("button", { name: button }).click();
    await page.waitForURL((url) => url.pathname === to);
    await page.unroute("**/assets/funil.js");

    // With the script the page stays, and says what is wrong where it is wrong.
    await walk.open(path);
    await page.locator("form").evaluate((form) => { form.noValidate = true; });
    await page.fill("#email", "davi@");
    await walk.bad([/422/], async () => {
      await page.getByRole("button", { name: button }).click();
      await walk.expectText("[data-funil-status]", /Confira os campos marcados/);
    });
    await walk.expectText("[data-funil-error=email]", /\S/);
    await walk.expectNoText("form", ENGLISH);
    await walk.look(`${name}-refused-by-script`);
    await page.fill("#email", "davi@example.com");
    await walk.expectHidden("[data-funil-error=email]");
    for (const [id, value] of Object.entries(fill)) await page.fill(`#${id}`, value);
    for (const [id, value] of Object.entries(choose)) await page.selectOption(`#${id}`, value);
    if (tick) await page.check("form [name=marketing_consent]");
    await page.getByRole("button", { name: button }).click();
    if (to === "/agenda") {
      await page.waitForURL((url) => url.pathname === to);
      continue;
    }
    await walk.expectText("[data-funil-status]", /obrigad/i);
    await walk.expectFocus("[data-funil-status]");
    await walk.look(`${name}-sent-by-script`);
  }
  await walk.open("/stage");
  await walk.expectText("#journey", /Davi Exemplo/);
}

// What docs/funil.js adds to a form and keeps of it, on the page of the contact form.
async function pageScript(walk) {
  const { page } = walk;
  const posts = [];
  const note = (request) => {
    const isForm = request.method() === "POST" && request.url().endsWith("/api/contact-submit");
    if (isForm) posts.push({ key: request.headers()["idempotency-key"], body: request.postData() });
  };
  page.on("request", note);
  const last = () => JSON.parse(posts.at(-1).body);
  const status = (wanted) => walk.expectText("[data-funil-status]", wanted);
  const write = async (email, message) => {
    await page.fill("#name", "Eva Exemplo");
    await page.fill("#email", email);
    await page.fill("#message", message);
  };
  const submit = () => page.getByRole("button", { name: "Enviar mensagem" }).click();
  const queued = () => page.evaluate(() => Object.keys(localStorage).filter((key) => key.startsWith("funil.queue.")));
  const expectQueued = (count) => walk.until(async () => {
    const keys = await queued();
    return [keys.length === count, keys];
  }, `${count} submissions wait`);
  const stopped = "**/api/contact-submit";
  const stop = () => page.route(stopped, (route) => route.abort("failed"));

  // The first and the last campaign, the browser's ids, and consent mode's state.
  await walk.open("/contato?utm_source=instagram&utm_campaign=primeira");
  await page.evaluate(() => localStorage.clear());
  await walk.open("/contato?utm_source=instagram&utm_campaign=primeira");
  await walk.open("/contato?utm_source=google&utm_campaign=ultima");
  await walk.open("/contato");
  await page.evaluate(() => {
    document.cookie = "_ga=GA1.1.123456789.1767225600; path=/";
    document.cookie = "_ga_STREAM=GS2.1.s1767225602$o1$g0; path=/";
    document.cookie = "_fbp=fb.1.1767225600000.42; path=/";
    window.dataLayer = [];
    function gtag() { window.dataLayer.push(arguments); }
    gtag("consent", "default", { analytics_storage: "denied", ad_storage: "granted", ad_user_data: "denied" });
    gtag("consent", "update", { analytics_storage: "granted" });
  });
  await write("eva@example.com", "Quanto custa?");
  await submit();
  await status(/Recebemos/);
  const first = last();
  const expected = {
    name: "Eva Exemplo", email: "eva@example.com", message: "Quanto custa?", marketing_consent: false,
    consent: { analytics: true, ads: false }, ga_client_id: "123456789.1767225600", ga_session_id: "1767225602",
    utm_params: { source: "google", campaign: "ultima" }, first_utm_params: { source: "instagram", campaign: "primeira" },
  };
  for (const [name, value] of Object.entries(expected)) {
    walk.that(JSON.stringify(first[name]) === JSON.stringify(value), `${name} is ${JSON.stringify(value)}, not ${JSON.stringify(first[name])}`);
  }
  walk.that(first.fbp === undefined, "what consent mode denies to ads is not sent");
  walk.that(first.elapsed_ms > 0 && /\/contato$/.test(first.page_url), "the time and the page go along");
  const pushed = await page.evaluate(() => window.dataLayer.filter((one) => one.event === "funil_lead_submitted"));
  walk.that(pushed.length === 1 && pushed[0].lead_id === first.lead_id, "the dataLayer gets the lead id once");

  // The same person has the same lead id; another e-mail has another.
  await walk.open("/contato");
  await write(" Eva@example.com", "E para duas pessoas?");
  await submit();
  await status(/Recebemos/);
  walk.that(last().lead_id === first.lead_id, "the lead id is kept");
  await write("fabio@example.com", "Quanto custa?");
  await submit();
  await walk.until(() => [last().email === "fabio@example.com", last()], "the other form is sent");
  walk.that(last().lead_id !== first.lead_id, "another e-mail has another lead id");
  await expectQueued(0);

  // A train goes into a tunnel with three forms of two people, and the page is left.
  await stop();
  posts.length = 0;
  await walk.bad([/ERR_FAILED/], async () => {
    await write("gil@example.com", "Um");
    await submit();
    await status(/Ainda sem resposta/);
    await submit();
    await write("gil@example.com", "Outro");
    await status(/^$/);
    await submit();
    await status(/Ainda sem resposta/);
    await write("hugo@example.com", "Dois");
    await submit();
    await status(/Ainda sem resposta/);
    await expectQueued(3);
    await walk.look("script-waiting");
    await walk.open("/contato", [/ERR_FAILED/]);
    await status(/Ainda sem resposta/);
    walk.that((await page.inputValue("#email")) === "", "the next person does not see what waits");
    await page.unroute(stopped);
    await page.evaluate(() => window.dispatchEvent(new Event("online")));
    await expectQueued(0);
  });
  const keysOf = (message) => new Set(posts.filter((one) => JSON.parse(one.body).message === message).map((one) => one.key));
  for (const message of ["Um", "Outro", "Dois"]) {
    walk.that(keysOf(message).size === 1, `${message} has one idempotency key, also after a reload`);
  }
  await walk.open("/stage");
  await walk.expectText("body", /Gil|gil@example|Eva Exemplo/);

  // What could not be sent for a day is not sent any more, and the page says so.
  await walk.open("/contato");
  await stop();
  await walk.bad([/ERR_FAILED/], async () => {
    await write("iara@example.com", "Ontem");
    await submit();
    await status(/Ainda sem resposta/);
    await page.evaluate(() => {
      const key = Object.keys(localStorage).find((one) => one.startsWith("funil.queue."));
      const kept = JSON.parse(localStorage.getItem(key));
      localStorage.setItem(key, JSON.stringify({ ...kept, at: kept.at - 24 * 3600 * 1000 }));
    });
    await page.unroute(stopped);
    await walk.open("/contato");
    await status(/não chegou. Envie de novo/);
    await expectQueued(0);
  });

  // A browser that keeps nothing.
  await page.evaluate(() => Object.defineProperty(window, "localStorage", { get() { throw new Error("blocked"); }, configurable: true }));
  await stop();
  await walk.bad([/ERR_FAILED/], async () => {
    await write("joana@example.com", "Bloqueado");
    await submit();
    await status(/Ainda sem resposta/);
    await page.unroute(stopped);
    await status(/Recebemos/);
  });

  // The answer is lost though the server took the form: it is asked again, and nothing is posted plainly.
  await walk.open("/contato");
  let lost = 2;
  await page.route(stopped, async (route) => {
    if (lost > 0 && route.request().method() === "POST") {
      lost -= 1;
      await page.request.fetch(route.request());
      return route.abort("failed");
    }
    return route.continue();
  });
  posts.length = 0;
  await walk.bad([/ERR_FAILED/, /405/], async () => {
    await write("lia@example.com", "Resposta perdida");
    await submit();
    await status(/Recebemos/);
  });
  walk.that(posts.length === 3 && posts.every((one) => one.key === posts[0].key), "each try has the same key");
  await page.unroute(stopped);

  // What is refused after the page was left is shown again as it was typed.
  await walk.open("/consultoria");
  await page.route("**/api/consultation-booking", (route) => route.abort("failed"));
  await walk.bad([/ERR_FAILED/, /422/], async () => {
    await page.fill("#name", "Mara Exemplo");
    await page.fill("#email", "mara@example.com");
    await page.selectOption("#service", "palestra");
    await page.fill("#date", "2037-03-02T15:00");
    await page.fill("#other-date", "2001-03-02T15:00");
    await page.check("form [name=marketing_consent]");
    await page.getByRole("button", { name: "Pedir a conversa" }).click();
    await status(/Ainda sem resposta/);
    await page.unroute("**/api/consultation-booking");
    await walk.open("/consultoria", [/422/]);
    await status(/Confira/);
  });
  walk.that((await page.inputValue("#service")) === "palestra" && (await page.isChecked("form [name=marketing_consent]")), "the form is as it was left");
  await walk.expectFocus("#other-date");
  await walk.look("script-refused-later");

  // A page of an origin that the server does not list posts plainly, with what the script adds.
  const shutOut = createPage((request, response) => {
    response.setHeader("content-type", "text/html; charset=utf-8");
    response.end(request.url === "/funil.js" ? readFileSync(join(ROOT, "docs/funil.js")) : `<!doctype html><html lang="pt-BR"><title>Outra origem</title>
      <script src="/funil.js" defer></script><form data-funil="contact-submit" action="${new URL("/api/contact-submit", walk.base)}">
      <input name="name" value="Nádia Exemplo"><input name="email" value="nadia@example.com"><input name="message" value="Oi"><input type="hidden" name="action" value="x"><button>Enviar</button></form>`);
  });
  await new Promise((resolve) => shutOut.listen(0, "127.0.0.1", resolve));
  walk.allowed = [/./];
  await page.goto(`http://127.0.0.1:${shutOut.address().port}/`);
  await page.getByRole("button", { name: "Enviar" }).click();
  await page.waitForURL((url) => url.origin === new URL(walk.base).origin);
  const plain = new URLSearchParams(posts.at(-1).body);
  walk.that(plain.get("email") === "nadia@example.com" && plain.get("lead_id") !== null, "the plain post has what the script adds");
  shutOut.close();
  walk.troubles = [];
  page.off("request", note);
}

// The container for Google Tag Manager, run by the little of it that the container uses: what the document pushes is
// taken by the functions, and a page's event reaches GA4 with the browser's ids and consent.
async function tagManager(walk) {
  const { page } = walk;
  const container = JSON.parse(readFileSync(join(ROOT, "docs/gtm-container.json"), "utf8")).containerVersion;
  const pushes = readFileSync(join(ROOT, "docs/gtm.md"), "utf8").split("```json\n").slice(1).map((rest) => JSON.parse(rest.split("```")[0]));
  await walk.open("/contato");
  await page.evaluate(runContainer, { container, address: new URL("/api", walk.base).href });
  for (const push of pushes) {
    await page.evaluate((one) => window.dataLayer.push(one), push);
    const name = push.event.replace("funil_", "").replaceAll("_", "-");
    const answer = (seen) => seen.find((one) => one.event === "funil_response" && one.funil_function === name);
    await walk.until(async () => {
      const seen = await page.evaluate(() => window.dataLayer);
      return [answer(seen)?.funil_status === 200, answer(seen)];
    }, `the tag of ${push.event} gets 200`);
  }
  await page.evaluate(() => {
    document.cookie = "_ga=GA1.1.987654321.1767225600; path=/";
    document.cookie = "_ga_STREAM=GS2.1.s1767225601$o1$g0$t1767225601; path=/";
    const granted = { default: false, update: true };
    window.google_tag_data = { ics: { entries: { analytics_storage: granted, ad_user_data: { default: false } } } };
    window.dataLayer.push({ event: "view_item", ecommerce: { currency: "BRL", value: 97, items: [{ item_id: "caderno" }] } });
    window.dataLayer.push({ event: "not_in_the_trigger" });
    window.dataLayer.push({ event: "form_start" });
  });
  // A push has only what is in it, not what an earlier one left in the model.
  await walk.bad([/422/], async () => {
    await page.evaluate(() => window.dataLayer.push({ event: "funil_newsletter_signup" }));
    await walk.until(async () => {
      const seen = await page.evaluate(() => window.dataLayer);
      const refused = seen.find((one) => one.event === "funil_response" && one.funil_status === 422);
      return [refused?.funil_errors.length > 0, refused];
    }, "a push without a form gets 422 and its errors");
  });
  const token = { authorization: "Bearer local-stage-service-token" };
  await walk.until(async () => {
    await page.request.post("/api/ga4-visits", { headers: token });
    const seen = (await (await page.request.get("/stage/providers")).text()).replaceAll(" ", "");
    const missing = ['"client_id":"987654321.1767225600"', '"session_id":"1767225601"', '"ad_user_data":"DENIED"', '"name":"view_item"', '"name":"form_start"']
      .filter((one) => !seen.includes(one));
    const items = seen.split('"item_id":"caderno"').length - 1;
    return [missing.length === 0 && items === 1 && !seen.includes("not_in_the_trigger"), { missing, items }];
  }, "GA4 gets the page's event with the browser's ids and consent");
}

// Runs in the page: what Tag Manager does with a container of Custom HTML tags.
function runContainer({ container, address }) {
  const model = {};
  const parameter = (of, key) => of.parameter.find((one) => one.key === key)?.value;
  const value = (name) => {
    if (name === "Event") return model.event;
    const variable = container.variable.find((one) => one.name === name);
    if (variable.type === "c") return address;
    if (variable.type === "v") return model[parameter(variable, "name")];
    return (0, eval)(`(${substituted(parameter(variable, "javascript"))})`)();
  };
  const substituted = (code) => code.replace(/\{\{(.+?)\}\}/g, (_, name) => `window.tagManagerValue(${JSON.stringify(name)})`);
  window.tagManagerValue = value;
  const fire = (tag) => (0, eval)(substituted(parameter(tag, "html").replace(/<\/?script>/g, "")));
  const matches = (trigger) => trigger.customEventFilter.every(({ type, parameter: [, wanted] }) =>
    (type === "EQUALS" ? model.event === wanted.value : new RegExp(wanted.value).test(model.event)));
  window.dataLayer = [];
  window.dataLayer.push = (push) => {
    push["gtm.uniqueEventId"] = window.dataLayer.length + 1;
    Array.prototype.push.call(window.dataLayer, push);
    Object.assign(model, push);
    const fired = container.trigger.filter(matches).map((one) => one.triggerId);
    container.tag.filter((tag) => tag.firingTriggerId.some((id) => fired.includes(id))).forEach(fire);
  };
}

async function endpoints(walk) {
  const { page } = walk;
  await walk.open("/openapi");
  await walk.expectText("#post-lead-submit", /amandaScore[^]*0 to 100/);
  await walk.expectText("#post-lead-submit", /429[^]*rate_limited/);
  await walk.expectText("#post-dispatch-replay", /Needs a service token/);
  await page.locator("#post-lead-submit summary").first().click();
  await walk.look("endpoints");
  await page.getByRole("link", { name: "POST /questionnaire-submit", exact: true }).click();
  walk.that(new URL(page.url()).hash === "#post-questionnaire-submit", "the index leads to an endpoint");
  await walk.failing("**/openapi.json", null, async () => {
    await walk.open("/openapi");
    await walk.expectText("#operations", /could not be read[^]*load this page again/);
    await walk.look("endpoints-unread", [/ERR_FAILED/]);
  });
}

async function preparation(walk) {
  await walk.open("/preparacao-chamada");
  await walk.expectText("main", /Prepare a sua conversa/);
  await walk.look("preparation");
}

async function consoleWithALead(walk, journey) {
  const { page } = walk;
  await walk.open(journey);
  await walk.expectText("#journey", /Ana Exemplo/);
  await walk.expectText("#journey", /Amanda Score[^]*nível alto[^]*prontidão/);
  await walk.expectText(".calls", /Chamada em[^]*marcada/);
  await walk.expectText(".line", /lead_submitted/);
  await settled(walk);
  await walk.look("console-journey");
  await page.setViewportSize({ ...SIZES[walk.size], height: 1000 });
  await walk.picture("console-journey-top", false);
  await page.setViewportSize(SIZES[walk.size]);

  // The clock: the confirmation is there at once, a reminder only when its time has come.
  await walk.expectText(".chat", /Ana/);
  await walk.moveClock(async () => /reminder/.test(await walk.text(".chat")), "a reminder goes out");
  await walk.expectText("#clock", /Relógio adiantado/);
  await walk.look("console-messages");
  await walk.failing("**/stage/clock", { status: 503, body: "" }, async () => {
    await page.getByRole("button", { name: "+1 h" }).click();
    await walk.expectText("#clock [role=alert]", /O relógio não foi movido/);
  }, "POST");
  await walk.expectNoText("#clock", ENGLISH);

  // The person opts out.
  await walk.failing("**/stage/whatsapp", { status: 404, body: "This lead has no phone.\n" }, async () => {
    await page.getByRole("button", { name: "Responder PARAR" }).click();
    await walk.expectText(".chat [role=status]", /Não deu certo: este lead não tem telefone/);
  });
  await page.getByRole("button", { name: "Responder PARAR" }).click();
  await walk.expectText(".chat [role=status]", /O Funil recebeu a resposta/);
  await walk.expectText(".line", /revogado/);
  await walk.look("console-opted-out");
}

async function consoleWithAFailingProvider(walk) {
  const { page } = walk;
  await walk.open("/stage");
  await walk.failing("**/stage/providers/crm", { status: 503, body: "" }, async () => {
    await behave(page, "crm", "Falha");
    await walk.expectText(".provider:has(input[name=b-crm]) [role=alert]", /Não deu para mudar/);
  });
  await behave(page, "crm", "Falha");
  await walk.expectText(".provider:has(input[name=b-crm])", /Responde com erro do servidor/);
  const leadId = await submitLead(page, CAIO);
  await walk.open(`/stage?lead=${leadId}`);
  const crm = ".delivery:has(h4:text('crm'))";
  await walk.expectText(crm, /na fila[^]*próxima tentativa[^]*HTTP 503/);
  await walk.look("console-provider-fails");
  await behave(page, "crm", "Normal");
  await walk.moveClock(async () => /entregue/.test(await page.locator(crm).first().innerText()), "the delivery is tried again");
  await walk.expectText(crm, /entregue/);
  await page.locator("[aria-label='Pedidos recebidos por crm'] summary").first().press("Enter");
  await walk.expectText("[aria-label='Pedidos recebidos por crm'] pre", /external_id/);
  await walk.look("console-provider-recovers");

  await walk.failing("**/stage/{leads,providers,clock,journey/*}", null, async () => {
    await walk.expectText("#link", /Sem resposta do console/);
    await walk.look("console-stopped", [/ERR_FAILED/, /leads|providers|clock|journey/]);
  });
  await walk.expectText("#link", /Ao vivo/);
}

/* ---------- what the pages' functions do more than once ---------- */

async function fillLead(page, lead) {
  for (const name of ["name", "email", "phone", "workHoursDaily"]) await page.fill(`#lead-form [name=${name}]`, lead[name]);
  for (const name of ["businessType", "monthlyRevenue", "mainStruggle"]) await page.selectOption(`#lead-form [name=${name}]`, lead[name]);
}

async function answer(page, responses) {
  for (const [name, value] of Object.entries(responses)) {
    const control = page.locator(`#q-${name}`);
    const isSelect = await control.evaluate((el) => el.tagName === "SELECT");
    await (isSelect ? control.selectOption(value) : control.fill(value));
  }
}

// Submits a lead as the form does, but without the form.
async function submitLead(page, lead) {
  const consent = { marketing: true, whatsapp: true, analytics: true, ads: true, policyVersion: "2026-01" };
  const body = { ...lead, leadId: crypto.randomUUID(), workHoursDaily: Number(lead.workHoursDaily), consent, website: "" };
  const response = await page.request.post("/api/lead-submit", { data: body });
  if (!response.ok()) throw new Error(`a lead should be accepted, but the answer was ${response.status()} ${await response.text()}`);
  return (await response.json()).leadId;
}

const behave = (page, provider, label) =>
  page.locator(`.provider:has(input[name=b-${provider}]) label`, { hasText: new RegExp(`^${label}$`) }).click();

// Waits until nothing is being sent.
const settled = (walk) => walk.expectNoText(".line", /enviando|a qualquer momento/);

/* ---------- looking at a page ---------- */

class Walk {
  allowed = [];
  troubles = [];

  constructor(page, base, size, folder) {
    Object.assign(this, { page, base, size, folder });
    page.on("console", (message) => message.type() === "error" && this.trouble(`${message.text()} ${message.location().url}`));
    page.on("pageerror", (error) => this.trouble(`an exception: ${error.message}`));
    // A page that is left cancels what it was asking for, which is no failure.
    page.on("requestfailed", (request) => request.failure()?.errorText !== "net::ERR_ABORTED" && this.trouble(`${request.failure()?.errorText} ${request.url()}`));
    page.on("response", (response) => response.status() >= 400 && this.trouble(`${response.status()} ${response.url()}`));
  }

  trouble(text) {
    if (!this.allowed.some((allowed) => allowed.test(text))) this.troubles.push(text);
  }

  fail(sentence) {
    throw new Error(`${this.size}, ${new URL(this.page.url()).pathname}: expected that ${sentence}`);
  }

  that(holds, sentence) {
    if (!holds) this.fail(sentence);
  }

  async open(path, allowed = []) {
    this.allowed = allowed;
    await this.page.goto(new URL(path, this.base).href);
  }

  // Troubles that match are expected while `act` runs.
  async bad(allowed, act) {
    const before = this.allowed;
    this.allowed = [...before, ...allowed];
    await act();
    await this.page.waitForTimeout(200);
    this.allowed = before;
  }

  // While `act` runs, requests to `path` get `answer`, or none at all.
  async failing(path, answer, act, method) {
    const handler = (route) => {
      if (method && route.request().method() !== method) return route.continue();
      return answer ? route.fulfill(answer) : route.abort("failed");
    };
    await this.page.route(path, handler);
    await this.bad([answer ? new RegExp(`\\b${answer.status}\\b`) : /ERR_FAILED/], act);
    await this.page.unroute(path, handler);
  }

  // Moves the console's clock from one delivery to the next, until `holds`.
  async moveClock(holds, sentence) {
    for (let moves = 0; moves < 12; moves += 1) {
      if (await holds()) return;
      await this.page.getByRole("button", { name: "até a próxima entrega" }).click();
      await this.page.waitForTimeout(2500); // until the console has read the journey again
    }
    this.that(await holds(), `${sentence} while the clock is moved`);
  }

  async until(holds, sentence) {
    const end = Date.now() + WAIT_MS;
    for (;;) {
      const [done, seen] = await holds();
      if (done) return;
      if (Date.now() > end) this.fail(`${sentence}; seen: ${JSON.stringify(seen)}`);
      await this.page.waitForTimeout(100);
    }
  }

  // Only what is laid out counts, which includes what is for screen readers. The second way is for
  // selectors that only Playwright knows.
  text(selector) {
    return this.page.evaluate((css) => {
      const found = [...document.querySelectorAll(css)];
      return found.filter((el) => el.getClientRects().length > 0).map((el) => el.innerText).join("\n");
    }, selector).catch(() => this.page.locator(selector).allInnerTexts().then((texts) => texts.join("\n")));
  }

  async expectText(selector, wanted) {
    await this.until(async () => {
      const text = await this.text(selector);
      return [wanted.test(text), text];
    }, `${selector} says ${wanted}`);
  }

  async expectNoText(selector, unwanted) {
    await this.until(async () => {
      const text = await this.text(selector);
      return [!unwanted.test(text), unwanted.exec(text)?.[0]];
    }, `${selector} does not say ${unwanted}`);
  }

  async expectTitle(title) {
    this.that((await this.page.title()) === title, `the title is ${title}, not ${await this.page.title()}`);
  }

  async expectHidden(selector) {
    await this.until(async () => {
      const visible = await this.page.locator(selector).evaluateAll((all) => all.some((el) => el.getClientRects().length > 0));
      return [!visible, "it is shown"];
    }, `${selector} is not shown`);
  }

  async expectCount(selector, count) {
    await this.until(async () => {
      const seen = await this.page.locator(selector).count();
      return [seen === count, seen];
    }, `there are ${count} ${selector}`);
  }

  async expectFocus(selector) {
    await this.until(() => this.page.evaluate((css) => {
      const focused = document.activeElement;
      return [focused.matches(css), focused.id || focused.tagName];
    }, selector), `${selector} has the focus`);
  }

  async picture(name, fullPage) {
    await this.page.screenshot({ path: join(this.folder, `${this.size}-${name}.png`), fullPage });
  }

  // What must hold for every page, and its screenshot.
  async look(name, allowed = this.allowed) {
    this.allowed = allowed;
    await this.page.waitForTimeout(300);
    await this.picture(name, !(await this.page.locator("dialog[open]").count()));
    const seen = await this.page.evaluate(inspect);
    const unexpected = this.troubles.filter((text) => !allowed.some((one) => one.test(text)));
    this.that(unexpected.length === 0, `${name} causes no error, but there was: ${unexpected.join("; ")}`);
    this.troubles = [];
    this.that(seen.width <= seen.room, `${name} does not scroll sideways: ${seen.width} px in ${seen.room} px`);
    const leaked = seen.text.split("\n").find((line) => LEAKED.test(line));
    this.that(leaked === undefined, `${name} shows no value of the code, but it says ${JSON.stringify(leaked)}`);
    for (const [problem, elements] of Object.entries(seen.problems)) {
      this.that(elements.length === 0, `${name} has no ${problem}: ${elements.join("; ")}`);
    }
  }
}

// Runs in the page.
function inspect() {
  const visible = (el) => el.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !el.closest(".vh, .trap, .skip");
  const say = (el) => `<${el.tagName.toLowerCase()}${el.id && ` id=${el.id}`}> ${(el.innerText || el.name || "").trim().slice(0, 50)}`;
  const all = (css) => [...document.querySelectorAll(css)];
  const open = document.querySelector("dialog[open]");
  const reachable = (el) => !open || open.contains(el);

  // Colours are read through a canvas, because there are many ways to write them.
  const context = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const background = (el) => {
    if (!el) return rgba(getComputedStyle(document.documentElement).colorScheme.includes("dark") && matchMedia("(prefers-color-scheme: dark)").matches ? "#000" : "#fff");
    const own = rgba(getComputedStyle(el).backgroundColor);
    return own[3] === 1 ? own : over(own, background(el.parentElement));
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (el) => {
    const under = background(el);
    const colour = rgba(getComputedStyle(el).color);
    colour[3] *= Number(getComputedStyle(el).opacity);
    const [a, b] = [light(over(colour, under)), light(under)];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  const needed = (el) => {
    const { fontSize, fontWeight } = getComputedStyle(el);
    const large = parseFloat(fontSize) >= 24 || (parseFloat(fontSize) >= 18.66 && Number(fontWeight) >= 700);
    return large ? 3 : 4.5;
  };
  const ownText = (el) => [...el.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
  // The header of the landing page lies over the dark background of the section below it.
  const inFlow = (el) => !el.closest("header.top.wrap");
  const pale = all("body *").filter((el) => ownText(el) && visible(el) && inFlow(el) && !el.disabled && el.tagName !== "OPTION" && contrast(el) < needed(el));

  const fields = all("input:not([type=hidden]), select, textarea").filter((el) => visible(el) || el.type === "radio");
  const controls = [...all("button:not(:disabled), a, summary, [role=button]"), ...fields].filter((el) => visible(el) && reachable(el));
  const focused = document.activeElement;
  const stuck = controls.filter((el) => {
    el.focus({ preventScroll: true });
    return el.tabIndex < 0 || document.activeElement !== el;
  });
  focused?.focus({ preventScroll: true });

  const bodies = all("pre");
  const text = document.body.innerText;
  return {
    width: document.scrollingElement.scrollWidth,
    room: window.innerWidth,
    // What a provider received is shown as it came, and may well say null.
    text: bodies.reduce((rest, pre) => rest.replace(pre.innerText, ""), text),
    problems: {
      "field without a label": fields.filter((el) => !el.labels?.length && !el.ariaLabel).map(say),
      "link that leads nowhere": all("a:not([href])").filter(visible).map(say),
      "control that the keyboard does not reach": stuck.map(say),
      "text that is too pale": pale.map((el) => `${say(el)} (${contrast(el).toFixed(2)})`),
    },
  };
}

/* ---------- the dev server and the browser ---------- */

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer().once("error", reject).listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

async function startServer(data) {
  const base = `http://127.0.0.1:${await freePort()}`;
  // Variables of the shell may switch destinations off or move the threshold.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => /^(PATH|HOME|CARGO.*|RUST.*|http_proxy|https_proxy)$/i.test(name)));
  env.LOG_LEVEL = "error";
  const server = spawn("cargo", ["run", "--quiet", "--", "dev", "--port", new URL(base).port, "--data", data], {
    cwd: ROOT, env, detached: true, stdio: ["ignore", "ignore", "inherit"],
  });
  let ended = false;
  const end = new Promise((resolve) => server.once("exit", () => resolve((ended = true))));
  // The group is cargo and the dev server, which closes its table when it is interrupted.
  const stop = async () => {
    if (!ended) process.kill(-server.pid, "SIGINT");
    await end;
  };
  for (const late = Date.now() + START_MS; ; ) {
    if (ended) throw new Error("expected that the dev server starts, but it ended");
    if (await fetch(`${base}/stage/clock`).then((response) => response.ok, () => false)) return { base, stop };
    if (Date.now() > late) {
      await stop();
      throw new Error("expected that the dev server starts, but it does not answer");
    }
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

async function walkThrough(size, shots) {
  const data = mkdtempSync(join(tmpdir(), "funil-walk-"));
  const server = await startServer(join(data, "funil"));
  let browser;
  try {
    browser = await chromium.launchPersistentContext(join(data, "profile"), {
      executablePath: CHROMIUM, headless: true, args: FLAGS, viewport: SIZES[size], baseURL: server.base,
      // A browser without a window says so, and is taken for a robot.
      userAgent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
      locale: "pt-BR", timezoneId: "America/Sao_Paulo", reducedMotion: "reduce",
    });
    const page = await browser.newPage();
    page.setDefaultTimeout(WAIT_MS);
    const walk = new Walk(page, server.base, size, shots);
    try {
      await consoleWithoutLeads(walk);
      await landingOfARobot(walk);
      const ana = await landing(walk);
      const book = await questionnaire(walk, ana.questionnaire, await submitLead(page, BIA));
      await calendar(walk, book);
      await consoleWithALead(walk, ana.journey);
      await consoleWithAFailingProvider(walk);
      await calendarCanceled(walk);
      await checkout(walk);
      await consoleWithAPayment(walk, ana.journey);
      await crm(walk, ana.journey);
      await siteForms(walk);
      await pageScript(walk);
      await tagManager(walk);
      await preparation(walk);
      await endpoints(walk);
    } catch (error) {
      await page.screenshot({ path: join(shots, `${size}-failed.png`), fullPage: true }).catch(() => {});
      throw error;
    }
  } finally {
    await browser?.close();
    await server.stop();
    rmSync(data, { recursive: true, force: true });
  }
}

const shots = process.env.SCREENSHOTS ?? mkdtempSync(join(tmpdir(), "funil-screenshots-"));
mkdirSync(shots, { recursive: true });
console.log(`Screenshots: ${shots}`);
try {
  for (const size of process.argv[2] ? [process.argv[2]] : Object.keys(SIZES)) {
    await walkThrough(size, shots);
    console.log(`${size}: every page is as it should be`);
  }
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
