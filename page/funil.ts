// funil.js: <form data-funil="lead-submit"> is all that a page needs (docs/funil-js.md).
//
// Owns what the browser keeps (the lead id, the campaign, what is not answered yet), what is added to a form, and what a
// person sees of its sending. Must not know what any form asks. `npm run build` makes docs/funil.js of it.

/// <reference path="../docs/funil.d.ts" />

/** A form that was sent and not answered yet, as the browser keeps it. */
interface Submission {
  /** The idempotency key: every try has the same. */
  key: string;
  /** The function that takes it. */
  name: string;
  url: string;
  lead: string;
  /** What the person typed. */
  typed: Entries;
  /** What is sent beside it. */
  added: Entries;
  /** When the person sent it, in milliseconds. */
  at: number;
}
type Entries = [name: string, value: string | boolean | number][];
type State = "sending" | "waiting" | "success" | "refused" | "expired";
type Control = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement;
/** The campaign of a visit, and the address that it came from. */
interface Visit {
  utm: Record<string, string>;
  from: string;
  at: number;
}

(() => {
  const HOUR_MS = 3_600_000;
  /** A receipt lives 24 hours; after that a repetition would count as another submission. */
  const QUEUE_MS = 23 * HOUR_MS;
  const TOUCH_MS = 90 * 24 * HOUR_MS;
  /** A token of Turnstile's is good for five minutes. */
  const TOKEN_MS = 240_000;
  const TIMEOUT_MS = 20_000;
  const PAUSE_MAX_MS = 60_000;
  /** Instead of a status: there was no answer in time, or the browser did not even get that far. */
  const STOPPED = 0;
  const FAILED = -1;
  const QUEUE = "funil.queue.";
  const TOKEN = "cf-turnstile-response";

  const TEXTS = {
    sending: ["Enviando…", "Sending…"],
    waiting: ["Ainda sem resposta. O envio está guardado e segue sozinho.", "No answer yet. It is kept, and goes out by itself."],
    open: [" Deixe esta página aberta.", " Keep this page open."],
    success: ["Recebemos, obrigado.", "We have received it, thank you."],
    refused: ["Confira os campos marcados.", "Please check the marked fields."],
    expired: ["O último envio não chegou. Envie de novo.", "What you sent last did not arrive. Please send it again."],
    book: ["Escolher um horário", "Choose a time"],
  };
  const language = document.documentElement.lang;
  const text = (of: keyof typeof TEXTS) => TEXTS[of][/^pt/i.test(language) ? 0 : 1];

  /* ---------- what the browser keeps ---------- */

  // Where the browser keeps nothing, the page does while it is open.
  const memory: Record<string, unknown> = {};
  const load = <T>(key: string): T | null => {
    try {
      return (memory[key] as T) || JSON.parse(localStorage.getItem(key)!);
    } catch {
      return null;
    }
  };
  /** Keeps or, without a value, forgets. Returns whether it outlives the page. */
  const save = (key: string, value?: unknown) => {
    delete memory[key];
    try {
      if (value) localStorage.setItem(key, JSON.stringify(value));
      else localStorage.removeItem(key);
      return true;
    } catch {
      if (value) memory[key] = value;
      return false;
    }
  };
  const queue = () => {
    let keys = Object.keys(memory);
    try {
      keys = keys.concat(Object.keys(localStorage));
    } catch {
      // It is blocked, so nothing is kept there.
    }
    return keys.filter((key) => key.startsWith(QUEUE)).map((key) => load<Submission>(key)!).filter(Boolean);
  };

  /* ---------- what is added to a form ---------- */

  const uuid = () =>
    "xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx".replace(/x/g, () => (crypto.getRandomValues(new Uint8Array(1))[0] & 15).toString(16));

  /** Tells one e-mail from another without keeping it (FNV-1a). */
  const digest = (email: string) =>
    Array.from(email.trim().toLowerCase()).reduce((hash, char) => Math.imul(hash ^ char.charCodeAt(0), 0x01000193), 0x811c9dc5);

  const isQuestionnaire = (name: string) => name === "questionnaire-submit";

  /** Whom a form is of: as it says, or the kept lead id; a new one, where that was made for another e-mail. */
  const leadOf = (name: string, typed: Map<string, unknown>) => {
    const asked = isQuestionnaire(name) && new URLSearchParams(location.search).get("lead_id");
    const said = typed.get("leadId") || typed.get("lead_id") || asked;
    if (said) return String(said);
    const of = digest(String(typed.get("email")));
    let kept = load<{ id: string; of: number }>("funil.lead");
    if (!kept || kept.of !== of) save("funil.lead", (kept = { id: uuid(), of }));
    return kept.id;
  };

  /** Consent mode: what the banner set, else what the page denies. A default that grants is nobody's decision. */
  const consentMode = () => {
    const state: Record<string, boolean | undefined> = {};
    const note = (type: string, way: string, granted?: boolean) => {
      if (granted === false || (granted && way === "update")) state[type] = granted;
    };
    for (const push of window.dataLayer || []) {
      // A command of gtag's is pushed as the arguments of a function.
      const [command, way, types] = Array.from(push || []) as any[];
      if (command !== "consent" || !types || types.region) continue;
      for (const type in types) note(type, way, types[type] === "granted");
    }
    const tags = window.google_tag_data;
    const known = (tags && tags.ics && tags.ics.entries) || {};
    for (const type in known) for (const way of ["default", "update"]) note(type, way, known[type][way]);
    const { analytics_storage, ad_storage, ad_user_data } = state;
    return { analytics: analytics_storage, ads: ad_storage === false ? false : ad_user_data, storage: ad_storage };
  };

  /** The campaigns of the first visit and of the last one that has a campaign or comes from another site. */
  const touches = () => {
    const denied = consentMode().storage === false;
    const query = new URLSearchParams(location.search);
    const utm: Visit["utm"] = {};
    for (const name of ["source", "medium", "campaign", "term", "content"]) {
      const value = query.get(`utm_${name}`);
      if (value) utm[name] = value;
    }
    const from = document.referrer.split("/")[2] === location.host ? "" : document.referrer;
    const here: Visit = { utm, from, at: Date.now() };
    const touch = (key: string, isNew: boolean) => {
      const kept = load<Visit>(key);
      if (!denied && !isNew && kept && here.at - kept.at < TOUCH_MS) return kept;
      save(key, denied ? null : here);
      return here;
    };
    return { first: touch("funil.first", false), last: touch("funil.last", !!(Object.keys(utm).length || from)) };
  };

  /** What a form gets beside what it says itself. A function ignores what it does not know. */
  const collected = (name: string, lead: string, said: Map<string, unknown>): Entries => {
    const isCamel = isQuestionnaire(name) || name === "lead-submit";
    const cookies: Record<string, string> = {};
    for (const pair of document.cookie.split("; ")) cookies[pair.split("=")[0]] = pair.slice(pair.indexOf("=") + 1);
    const streams = Object.keys(cookies).filter((cookie) => cookie.startsWith("_ga_"));
    const session = streams.length === 1 && /^GS\d\.\d\.s?(\d+)/.exec(cookies[streams[0]]);
    const { analytics, ads } = consentMode();
    const { first, last } = touches();

    const entries: [string, string | boolean | number | undefined][] = [
      ["lead_id", lead],
      ["elapsed_ms", Math.round(performance.now())],
      ["time_zone", Intl.DateTimeFormat().resolvedOptions().timeZone],
      ["consent[analytics]", analytics],
      ["consent[ads]", ads],
      ["page_url", location.href.split("#")[0]],
      ["referrer", last.from],
      ["traffic_source", last.utm.source || last.from.split("/")[2] || "direct"],
    ];
    if (analytics !== false) {
      entries.push(["ga_client_id", cookies._ga && cookies._ga.split(".").slice(-2).join(".")]);
      if (session) entries.push(["ga_session_id", session[1]]);
    }
    if (ads !== false) entries.push(["fbp", cookies._fbp], ["fbc", cookies._fbc]);
    for (const [utm, visit] of [["utm", last], ["first_utm", first]] as [string, Visit][]) {
      for (const key in visit.utm) entries.push([`${utm + (isCamel ? "" : "_params")}[${key}]`, visit.utm[key]]);
    }
    // These two functions write a name as `leadId`, the others as `lead_id`.
    const named = entries.map(([field, value]) => [isCamel ? field.replace(/_(.)/g, (_, char) => char.toUpperCase()) : field, value]);
    return named.filter(([field, value]) => (value || value === false) && !said.has(field as string)) as Entries;
  };

  const typedInto = (form: HTMLFormElement) =>
    Array.from(new FormData(form)).filter(([name, value]) => value && typeof value === "string" && name !== TOKEN) as Entries;

  /** Boxes that were left unticked, which a form does not send by itself. */
  const unticked = (form: HTMLFormElement) =>
    controls(form).filter((one) => one.matches("[type=checkbox]:not(:checked)")).map((box): Entries[0] => [box.name, false]);

  /** `a[b]` stands in an object `a`, and `a[]` in a list. */
  const nested = (entries: Entries) => {
    const body: Record<string, any> = {};
    for (const [name, value] of entries) {
      const path = name.split(/[[\]]+/).filter(Boolean);
      const last = path.pop()!;
      const at = path.reduce((object, key) => (object[key] = object[key] || {}), body);
      if (name.endsWith("[]")) (at[last] = at[last] || []).push(value);
      else at[last] = value;
    }
    return body;
  };

  /* ---------- what a person sees ---------- */

  const controls = (form: HTMLFormElement) =>
    (Array.from(form.elements) as Control[]).filter((one) => one.name && !one.disabled);
  /** Tells the page. Returns the form, unless the page shows something of its own and prevents the default. */
  const tell = (form: HTMLFormElement | undefined, state: State, name: string, detail: object = {}) => {
    if (form) {
      form.dataset.funilState = state;
      form.setAttribute("aria-busy", String(state === "sending"));
    }
    const event = new CustomEvent(`funil:${state}`, { bubbles: true, cancelable: true, detail: Object.assign(detail, { function: name }) });
    return (form || document).dispatchEvent(event) ? form : undefined;
  };

  const say = (form: HTMLFormElement, words: string) => {
    let line = form.querySelector<HTMLElement>("[data-funil-status]");
    if (!line) {
      line = form.appendChild(document.createElement("p"));
      line.dataset.funilStatus = "";
    }
    line.setAttribute("role", "status");
    line.tabIndex = -1;
    line.textContent = words;
    return line;
  };

  /** The name of a control as our errors write it: `consent[ads]` is `consent.ads`. */
  const dotted = (control: Control) => control.name.replace(/\[\]$/, "").replace(/\[(.+?)\]/g, ".$1");

  const markError = (form: HTMLFormElement, control: Control, message: string) => {
    const name = dotted(control);
    let line = form.querySelector<HTMLElement>(`[data-funil-error="${name}"]`);
    if (!line) {
      line = document.createElement("p");
      line.dataset.funilError = name;
      (control.closest("label") || control).after(line);
    }
    line.id = line.id || `funil-${form.dataset.funil}-${name}`;
    line.textContent += `${message} `;
    control.setAttribute("aria-invalid", "true");
    const described = control.getAttribute("aria-describedby") || "";
    if (!described.includes(line.id)) control.setAttribute("aria-describedby", `${described} ${line.id}`);
  };

  const clearError = (form: HTMLFormElement, control: Control) => {
    control.removeAttribute("aria-invalid");
    const line = form.querySelector(`[data-funil-error="${dotted(control)}"]`);
    if (line) line.textContent = "";
  };

  const showRefusal = (form: HTMLFormElement, problem: FunilProblem, typed: Entries) => {
    for (const control of controls(form)) {
      // The person may have come back to an empty form.
      const said = typed.find(([name]) => name === control.name);
      if (said && !control.value) control.value = String(said[1]);
    }
    let above = "";
    let first: HTMLElement | undefined;
    for (const { field, message } of problem.errors || []) {
      const name = field.replace(/^data\./, "").replace(/\.\d+$/, "");
      const control = controls(form).find((one) => dotted(one) === name && one.type !== "hidden");
      if (control) markError(form, control, message);
      else above += ` ${message}`;
      first = first || control;
    }
    const line = say(form, (first ? text("refused") : above ? "" : problem.detail || problem.title) + above);
    (first || line).focus();
  };

  const showSuccess = (form: HTMLFormElement, answer: FunilAnswer) => {
    const book = answer.bookingUrl || answer.booking_url;
    const next = form.dataset.funilNext;
    form.reset();
    if (next) return location.assign(book || next);
    const line = say(form, `${answer.message || text("success")} `);
    if (book) line.appendChild(Object.assign(document.createElement("a"), { href: book, textContent: text("book") }));
    line.focus();
  };

  /* ---------- sending ---------- */

  /** What this page does about a submission, and the form that shows it. */
  const live = new Map<string, { form?: HTMLFormElement; tries: number; isSending?: boolean }>();
  const detach = (form: HTMLFormElement) => {
    for (const its of live.values()) if (its.form === form) delete its.form;
  };
  const attach = ({ key }: Submission, form: HTMLFormElement) => {
    detach(form);
    live.set(key, Object.assign(live.get(key) || { tries: 0 }, { form }));
  };
  const forget = ({ key }: Submission) => save(QUEUE + key);

  /** Posts it once. Gives the status, the body if it is JSON, and after how many seconds to try again. */
  const post = async ({ url, key, typed, added, at }: Submission): Promise<[number, any, number]> => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(), TIMEOUT_MS);
    const isFresh = Date.now() - at < TOKEN_MS;
    try {
      const response = await fetch(url, {
        method: "POST",
        keepalive: true,
        signal: stop.signal,
        headers: { "Content-Type": "application/json", Accept: "application/json", "Accept-Language": language || "en", "Idempotency-Key": key },
        body: JSON.stringify(nested(typed.concat(added.filter(([name]) => isFresh || name !== TOKEN)))),
      });
      const retryAfter = Number(response.headers.get("Retry-After")) || 0;
      const body = await response.json().catch(() => null);
      return [response.status, body, retryAfter];
    } catch {
      return [stop.signal.aborted ? STOPPED : FAILED, null, 0];
    }
  };

  /** Leaves it to the browser, as without this script: it needs no permission to post to another origin. */
  const postPlainly = (form: HTMLFormElement, submission: Submission) => {
    forget(submission);
    for (const [name, value] of submission.added) {
      form.appendChild(Object.assign(document.createElement("input"), { type: "hidden", name, value: String(value) }));
    }
    form.method = "post";
    form.action = submission.url;
    HTMLFormElement.prototype.submit.call(form);
  };

  const send = async (submission: Submission): Promise<void> => {
    const { key, name, lead, url, at, typed } = submission;
    const its = live.get(key) || { tries: 0 };
    live.set(key, its);
    // Without both it was replaced, or another tab got the answer.
    if (its.isSending || !(its.form || load(QUEUE + key))) return;
    if (Date.now() - at > QUEUE_MS) {
      forget(submission);
      const form = tell(its.form, "expired", name);
      if (form) say(form, text("expired"));
      return;
    }
    its.isSending = true;
    if (its.form && tell(its.form, "sending", name)) say(its.form, text("sending"));
    const [status, body, retryAfter] = await post(submission);
    its.isSending = false;

    if (body && body.success) {
      // Another tab may have got the same answer before.
      if (!isQuestionnaire(name) && load(QUEUE + key)) {
        const event = "funil_lead_submitted";
        const { leadId = lead, eventId } = body;
        (window.dataLayer = window.dataLayer || []).push({ event, form: name, lead_id: leadId, eventId });
      }
      forget(submission);
      const form = tell(its.form, "success", name, { answer: body });
      if (form) showSuccess(form, body);
    } else if (status >= 400 && status < 500 && ![408, 425, 429].includes(status) && body && body.title) {
      // Without the form nobody would see it: it waits for a page that has the form.
      if (its.form) forget(submission);
      const form = tell(its.form, "refused", name, { problem: body });
      if (form) showRefusal(form, body, typed);
    } else {
      // If the second try fails too, and yet the server is reached, the browser does not let this page talk to it: its
      // origin is not listed. After the first try alone an answer might have been lost.
      const isReached = status === FAILED && its.form && its.tries === 1 && (await fetch(url, { mode: "no-cors" }).catch(() => null));
      if (isReached && its.form) return postPlainly(its.form, submission);
      const kept = !memory[QUEUE + key];
      const form = tell(its.form, "waiting", name, { kept, status });
      if (form) say(form, text("waiting") + (kept ? "" : text("open")));
      setTimeout(() => send(submission), Math.max(retryAfter * 1000, Math.min(PAUSE_MAX_MS, 2000 * 2 ** its.tries)));
      its.tries += 1;
    }
  };

  document.addEventListener("submit", (event) => {
    const form = event.target as HTMLFormElement;
    const name = form.dataset.funil;
    if (!name || event.defaultPrevented) return;
    event.preventDefault();
    if (form.dataset.funilState === "sending") return;
    for (const control of controls(form)) clearError(form, control);
    const typed = typedInto(form);
    const waiting = queue().filter((one) => one.name === name);
    let submission = waiting.find((one) => JSON.stringify(one.typed) === JSON.stringify(typed));
    if (!submission) {
      const token = new FormData(form).get(TOKEN);
      const boxes = unticked(form);
      const said = new Map(typed.concat(boxes));
      const lead = leadOf(name, said);
      const added = boxes.concat(collected(name, lead, said), token ? [[TOKEN, String(token)]] : []);
      const url = form.getAttribute("action") ? form.action : `/api/${name}`;
      submission = { key: uuid(), name, lead, url, typed, added, at: Date.now() };
      // What the same person corrected takes the place of what waits.
      for (const one of waiting) if (one.lead === lead) forget(one);
      save(QUEUE + submission.key, submission);
      if (window.turnstile) window.turnstile.reset();
    }
    attach(submission, form);
    send(submission);
  });

  document.addEventListener("input", (event) => {
    const control = event.target as Control;
    const form = control.form;
    if (!form || !form.dataset.funil) return;
    clearError(form, control);
    if (form.dataset.funilState !== "waiting") return;
    // What waits goes on by itself; this form is another one now.
    detach(form);
    delete form.dataset.funilState;
    say(form, "");
  });

  const resume = () => {
    for (const submission of queue()) {
      const form = document.querySelector<HTMLFormElement>(`form[data-funil="${submission.name}"]:not([data-funil-state])`);
      if (form) attach(submission, form);
      send(submission);
    }
  };

  touches();
  window.addEventListener("online", () => queue().forEach(send));
  document.addEventListener("DOMContentLoaded", resume);
})();
