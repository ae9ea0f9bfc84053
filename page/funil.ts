// funil.js: <form data-funil="lead-submit"> is all that a page needs (docs/funil-js.md).
//
// Owns what the browser keeps (the lead id, the campaign, forms that got no response yet), what is added to a form, and
// what a person sees of its sending. Must not know what any form asks. `npm run build` makes docs/funil.js of it.

/// <reference path="../docs/funil.d.ts" />

/** A form that was sent and got no response yet, as the browser keeps it. */
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
  /** What each control of the form held: where it is refused later, the page shows it again. */
  held: [value: string, checked: boolean][];
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
  /** A receipt lives 24 hours; after that a duplicate would count as another submission. */
  const QUEUE_MS = 23 * HOUR_MS;
  const TOUCH_MS = 90 * 24 * HOUR_MS;
  const TIMEOUT_MS = 20_000;
  const PAUSE_MAX_MS = 600_000;
  /** What other scripts keep there. */
  const page = window as { dataLayer?: any; google_tag_data?: any; turnstile?: any };
  const QUEUE = "funil.queue.";
  const TOKEN = "cf-turnstile-response";

  const TEXTS = {
    sending: ["Enviando…", "Sending…"],
    waiting: ["Ainda sem resposta. Deixe esta página aberta: o envio segue sozinho.", "No response yet. Keep this page open: it goes out by itself."],
    success: ["Recebemos, obrigado.", "Received, thank you."],
    refused: ["Confira os campos marcados.", "Please check the marked fields."],
    expired: ["O último envio não chegou. Envie de novo.", "It did not arrive. Please send it again."],
  };
  const language = document.documentElement.lang;
  const text = (of: keyof typeof TEXTS) => TEXTS[of][/^pt/i.test(language) ? 0 : 1];
  const element = (tag: string, properties?: object): any => Object.assign(document.createElement(tag), properties);

  /* ---------- what the browser keeps ---------- */

  // Where the browser keeps nothing, or nothing more, the page does while it is open.
  let store: Record<string, string> = {};
  try {
    store = localStorage;
  } catch {
    // It is blocked.
  }
  const load = <T>(key: string): T | null => {
    try {
      return JSON.parse(store[key]);
    } catch {
      return null;
    }
  };
  /** Keeps or, without a value, forgets. */
  const save = (key: string, value?: unknown) => {
    delete store[key];
    if (!value) return;
    try {
      store[key] = JSON.stringify(value);
    } catch {
      store = Object.assign({}, store);
      store[key] = JSON.stringify(value);
    }
  };
  const queue = () =>
    Object.keys(store).filter((key) => key.startsWith(QUEUE)).map((key) => load<Submission>(key)!).filter(Boolean);

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
    const of = digest(String(typed.get("email") || typed.get("data[email]")));
    let kept = load<{ id: string; of: number }>("funil.lead");
    // A questionnaire is of a lead that is known.
    if (!isQuestionnaire(name) && (!kept || kept.of !== of)) save("funil.lead", (kept = { id: uuid(), of }));
    return kept ? kept.id : "";
  };

  /** Consent mode: what the banner set, else what the page denies. A default that grants is nobody's decision. */
  const consentMode = () => {
    const state: Record<string, boolean | undefined> = {};
    const note = (type: string, way: string, granted?: boolean) => {
      if (granted === false || (granted && way === "update")) state[type] = granted;
    };
    for (const push of page.dataLayer || []) {
      // A command of gtag's is pushed as the arguments of a function.
      const [command, way, types] = Array.from(push || []) as any[];
      if (command === "consent") for (const type in types) note(type, way, types[type] === "granted");
    }
    const tags = page.google_tag_data;
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

  /** Boxes that were left unticked, which a form does not send by itself; not those of a choice of several. */
  const unticked = (form: HTMLFormElement) =>
    controls(form)
      .filter((one, _, all) => one.matches("[type=checkbox]:not(:checked)") && all.filter(({ name }) => name === one.name).length < 2)
      .map((box): Entries[0] => [box.name, false]);

  /** `a[b]` stands in an object `a`, and `a[]` in a list. */
  const nested = (entries: Entries) => {
    const body: Record<string, any> = Object.create(null);
    for (const [name, value] of entries) {
      const path = name.split(/[[\]]+/).filter(Boolean);
      const last = path.pop()!;
      const at = path.reduce((object, key) => (object[key] = object[key] || Object.create(null)), body);
      if (name.endsWith("[]")) (at[last] = at[last] || []).push(value);
      else at[last] = value;
    }
    return body;
  };

  /* ---------- what a person sees ---------- */

  const controls = (form: HTMLFormElement) =>
    (Array.from(form.elements) as Control[]).filter((one) => one.name && !one.matches(":disabled"));
  /** Tells the page. Returns false where the page shows something of its own and prevents the default. */
  const tell = (form: HTMLFormElement | undefined, state: State, name: string, detail: object = {}) => {
    if (form) {
      form.dataset.funilState = state;
      form.setAttribute("aria-busy", String(state === "sending"));
    }
    const event = new CustomEvent(`funil:${state}`, { bubbles: true, cancelable: true, detail: Object.assign(detail, { function: name }) });
    return (form || document).dispatchEvent(event);
  };

  /** Moves the focus, unless the person is busy elsewhere on the page. */
  const focus = (form: HTMLFormElement, on: HTMLElement) => {
    const { activeElement: now, body } = document;
    if (now === body || form.contains(now)) on.focus();
  };

  const say = (form: HTMLFormElement, words: string) => {
    let line = form.querySelector<HTMLElement>("[data-funil-status]");
    if (!line) {
      line = form.appendChild<HTMLElement>(element("p"));
      line.dataset.funilStatus = "";
    }
    line.setAttribute("role", "status");
    return Object.assign(line, { tabIndex: -1, textContent: words });
  };

  /** The name of a control as our errors write it: `consent[ads]` is `consent.ads`. */
  const dotted = (control: Control) => control.name.replace(/\[\]$/, "").replace(/\[(.+?)\]/g, ".$1").replace("data.", "");

  let errors = 0;
  const markError = (form: HTMLFormElement, control: Control, message: string) => {
    const name = dotted(control);
    let line = form.querySelector<HTMLElement>(`[data-funil-error="${name}"]`);
    if (!line) {
      line = element("p") as HTMLElement;
      line.dataset.funilError = name;
      (control.closest("label") || control).after(line);
    }
    line.id = line.id || `funil-error-${(errors += 1)}`;
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

  const showRefusal = (form: HTMLFormElement, problem: FunilProblem) => {
    let above = "";
    let first: HTMLElement | undefined;
    for (const { field, message } of problem.errors || []) {
      const [, name, place] = /^(?:data\.)?(.*?)(?:\.(\d+))?$/.exec(field)!;
      const control = controls(form).filter((one) => dotted(one) === name && one.type !== "hidden")[Number(place) || 0];
      if (control) markError(form, control, message);
      else above += ` ${message}`;
      first = first || control;
    }
    const line = say(form, (first ? text("refused") : above ? "" : problem.detail || problem.title) + above);
    focus(form, first || line);
  };

  const showSuccess = (form: HTMLFormElement, response: FunilResponse) => {
    const next = response.bookingUrl || response.booking_url || form.dataset.funilNext;
    if (next) return location.assign(next);
    const line = say(form, response.message || text("success"));
    focus(form, line);
    HTMLFormElement.prototype.reset.call(form);
  };

  /* ---------- sending ---------- */

  /** What this page does about a submission, and the form that shows it. */
  interface Its {
    form?: HTMLFormElement;
    tries: number;
    isSending?: boolean;
    timer?: number;
  }
  const live = new Map<string, Its>();
  const detach = (form: HTMLFormElement) => {
    for (const its of live.values()) if (its.form === form) delete its.form;
  };
  const attach = ({ key }: Submission, form: HTMLFormElement) => {
    detach(form);
    live.set(key, Object.assign(live.get(key) || { tries: 0 }, { form }));
  };
  const forget = ({ key }: Submission) => save(QUEUE + key);

  /** Posts it once. Gives the status, the body if it is JSON, and after how many seconds to try again. */
  const post = async ({ url, key, typed, added }: Submission, token: Entries): Promise<[number, any, number]> => {
    try {
      const response = await fetch(url, {
        method: "POST",
        signal: AbortSignal.timeout(TIMEOUT_MS),
        headers: { "Content-Type": "application/json", "Accept-Language": language, "Idempotency-Key": key },
        body: JSON.stringify(nested(typed.concat(added, token))),
      });
      const retryAfter = Number(response.headers.get("Retry-After")) || 0;
      return [response.status, await response.json().catch(() => null), retryAfter];
    } catch {
      return [0, null, 0];
    }
  };

  /** Whether the server is reached, and the browser does not let this page talk to it: its origin is not listed. */
  const isShutOut = async (url: string) => {
    const asks = (mode: RequestMode) => fetch(url, { mode }).then(() => true, () => false);
    return (await asks("no-cors")) && !(await asks("cors"));
  };

  /** Leaves it to the browser, as without this script. A form of its own, because the page's may be another by now. */
  const postPlainly = (submission: Submission, token: Entries) => {
    const form = element("form", { hidden: true, method: "post", action: submission.url });
    for (const [name, value] of submission.typed.concat(submission.added, token)) {
      form.appendChild(element("input", { name, value: String(value) }));
    }
    // It goes unless a policy forbids it.
    window.addEventListener("pagehide", () => forget(submission));
    HTMLFormElement.prototype.submit.call(document.body.appendChild(form));
  };

  /** `token` is that of Turnstile's widget, which is good once and not for long. */
  const send = async (submission: Submission, token: Entries = []): Promise<void> => {
    const { key, name, lead, url, at, held } = submission;
    const its: Its = live.get(key) || { tries: 0 };
    live.set(key, its);
    clearTimeout(its.timer);
    const shown = () => (its.form && its.form.isConnected && its.form) || undefined;
    // Without both, another tab got the response.
    if (its.isSending || !(shown() || load(QUEUE + key))) return;
    const age = Math.abs(Date.now() - at);
    if (age > QUEUE_MS) {
      // A page that has the form says so, within a week.
      const form = shown();
      if (form || age > 7 * QUEUE_MS) forget(submission);
      if (form && tell(form, "expired", name)) say(form, text("expired"));
      return;
    }
    its.isSending = true;
    if (shown() && tell(shown(), "sending", name) && !its.tries) say(shown()!, text("sending"));
    const [status, body, retryAfter] = await post(submission, token);
    its.isSending = false;
    const form = shown();

    if (body && body.success) {
      // Another tab may have got the same response before.
      if (!isQuestionnaire(name) && load(QUEUE + key)) {
        const { leadId = lead, eventId } = body;
        (page.dataLayer = page.dataLayer || []).push({ event: "funil_lead_submitted", form: name, lead_id: leadId, eventId });
      }
      forget(submission);
      if (tell(form, "success", name, { response: body }) && form) showSuccess(form, body);
    } else if (status >= 400 && status < 500 && ![408, 425, 429].includes(status) && body && body.title) {
      // Without the form nobody would see it: it waits for a page that has the form.
      if (!form) return;
      forget(submission);
      controls(form).forEach((control, place) => {
        if (held[place] && control.type !== "file") [control.value, (control as HTMLInputElement).checked] = held[place];
      });
      if (tell(form, "refused", name, { problem: body })) showRefusal(form, body);
    } else {
      if (form && !status && (await isShutOut(url))) return postPlainly(submission, token);
      if (tell(form, "waiting", name, { status }) && form) say(form, text("waiting"));
      its.timer = window.setTimeout(send, Math.min(PAUSE_MAX_MS, Math.max(retryAfter * 1000, 2000 * 2 ** its.tries)), submission);
      its.tries += 1;
    }
  };

  document.addEventListener("submit", (event) => {
    const form = event.target as HTMLFormElement;
    const name = form.dataset.funil;
    // A browser that is too old for this posts the form itself.
    if (!name || event.defaultPrevented || !AbortSignal.timeout) return;
    event.preventDefault();
    const typed = typedInto(form);
    let submission = queue().find((one) => one.name === name && JSON.stringify(one.typed) === JSON.stringify(typed));
    const token = new FormData(form).get(TOKEN);
    if (!submission) {
      for (const control of controls(form)) clearError(form, control);
      let added = unticked(form);
      const said = new Map(typed.concat(added));
      const lead = leadOf(name, said);
      try {
        added = added.concat(collected(name, lead, said));
      } catch {
        // What the page's other scripts left behind is no reason to lose a form.
      }
      const url = new URL(form.getAttribute("action") || `/api/${name}`, document.baseURI).href;
      const held = controls(form).map((one): [string, boolean] => [one.value, (one as HTMLInputElement).checked]);
      submission = { key: uuid(), name, lead, url, typed, added, at: Date.now(), held };
      save(QUEUE + submission.key, submission);
      if (page.turnstile) page.turnstile.reset();
    }
    attach(submission, form);
    send(submission, token ? [[TOKEN, String(token)]] : []);
  });

  document.addEventListener("input", (event) => {
    const control = event.target as Control;
    const form = control.form;
    if (!form || !form.dataset.funil) return;
    clearError(form, control);
    if (!form.dataset.funilState) return;
    // What is on its way goes on by itself; this form is another one now.
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

  window.addEventListener("online", () => queue().forEach((one) => send(one)));
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", resume);
  else resume();
  touches();
})();
