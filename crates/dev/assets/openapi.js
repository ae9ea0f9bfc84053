"use strict";

// Shows /openapi.json. Everything is written as text, never as HTML.

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** What a schema takes, in a few words. */
function words(schema) {
  const said = [];
  if (schema.enum) said.push(schema.enum.filter((one) => one !== null && one !== "").join(" | "));
  else if (schema.anyOf?.some((one) => one.type === "boolean")) said.push("yes or no, as a boolean or as an HTML form sends it");
  else if (schema.anyOf) {
    // Blank text counts as left out, which the absence of "required" says.
    const options = schema.anyOf.filter((one) => one.type !== "null" && one.pattern !== "^\\s*$");
    said.push(options.map(words).join(", or "));
  }
  else if (schema.type) said.push([].concat(schema.type).filter((one) => one !== "null").join(" or "));
  if (schema.format) said.push(schema.format);
  if (schema.minimum !== undefined && schema.maximum !== undefined) said.push(`${schema.minimum} to ${schema.maximum}`);
  if (schema.maxLength) said.push(`at most ${schema.maxLength} characters`);
  if (schema.maxItems) said.push(`at most ${schema.maxItems}`);
  if (schema.description) said.push(schema.description.replace(/\.$/, ""));
  return said.join("; ");
}

/** The fields of an object, those of nested objects with their path. */
function rows(schema, prefix = "") {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const path = prefix + name;
    const object = [field, ...(field.anyOf ?? [])].find((one) => Object.keys(one.properties ?? {}).length > 0);
    const inner = object ? rows(object, `${path}.`) : [];
    // A field that is taken and means nothing here.
    if (Object.keys(field).length === 0) return [];
    const mark = required.has(name) ? element("span", { class: "required" }, " required") : null;
    const own = element("tr", {}, element("th", { scope: "row" }, path, mark), element("td", {}, words(object ?? field)));
    return [own, ...inner];
  });
}

/** Text in which what stands between backticks is code. */
function coded(text) {
  return text.split("`").map((part, index) => (index % 2 === 1 ? element("code", {}, part) : part));
}

function table(caption, body) {
  return element("table", {}, element("caption", { class: "vh" }, caption), element("tbody", {}, ...body));
}

function fields(schema) {
  const options = schema.anyOf ?? [schema];
  return options.flatMap((option, index) => {
    const found = rows(option);
    if (found.length === 0) return [];
    const title = options.length > 1 ? [element("p", {}, index === 0 ? "Either" : "or")] : [];
    return [...title, table("Fields", found)];
  });
}

/** What a response that is no problem has. */
function returned(response) {
  const schema = response.content?.["application/json"]?.schema;
  if (schema === undefined) return [];
  return (schema.anyOf ?? [schema]).map((one) => {
    const names = Object.keys(one.properties ?? {});
    return element("p", {}, `Has: ${names.join(", ")}`);
  });
}

function responses(operation) {
  return table(
    "Responses",
    Object.entries(operation.responses).map(([status, response]) => {
      const kind = status < 400 ? "good" : "bad";
      const headers = Object.keys(response.headers ?? {});
      return element(
        "tr",
        {},
        element("th", { scope: "row" }, element("span", { class: `status ${kind}` }, status)),
        element(
          "td",
          {},
          ...coded(response.description),
          ...returned(response),
          headers.length > 0 ? element("p", {}, `Headers: ${headers.join(", ")}`) : null,
        ),
      );
    }),
  );
}

function shown(path, method, operation) {
  const id = operation.operationId;
  const whole = element("section", { class: "operation", id, "aria-labelledby": `t-${id}` });
  const label = element("span", { class: "method" }, method.toUpperCase());
  whole.append(element("h2", { id: `t-${id}` }, label, ` /api${path}`), element("p", {}, operation.summary));
  const security = operation.security ?? [];
  if (security.some((one) => one.serviceToken)) {
    const optional = security.some((one) => !one.serviceToken);
    whole.append(element("p", {}, optional ? "A service token shows more." : "Needs a service token."));
  }
  const parameters = operation.parameters ?? [];
  if (parameters.length > 0) {
    const found = parameters.map((one) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, one.name, one.required ? element("span", { class: "required" }, " required") : null),
        element("td", {}, `${one.in}. ${one.description ?? ""}`),
      ),
    );
    whole.append(element("h3", {}, "Parameters"), table("Parameters", found));
  }
  const body = operation.requestBody?.content["application/json"];
  if (body) {
    whole.append(element("h3", {}, operation.requestBody.required ? "Body" : "Body, may be left out"), ...fields(body.schema));
    for (const [name, example] of Object.entries(body.examples ?? {})) {
      const text = JSON.stringify(example.value, null, 2);
      whole.append(element("details", {}, element("summary", {}, `Example: ${name}`), element("pre", { tabindex: "0" }, text)));
    }
  }
  whole.append(element("h3", {}, "Responses"), responses(operation));
  return whole;
}

async function start() {
  const main = document.getElementById("operations");
  const index = document.getElementById("index");
  let api;
  try {
    const response = await fetch("/openapi.json");
    if (!response.ok) throw new Error(String(response.status));
    api = await response.json();
  } catch {
    main.replaceChildren(element("p", { class: "note" }, "openapi.json could not be read. Check that the dev server runs, and load this page again."));
    return;
  }
  main.replaceChildren();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      main.append(shown(path, method, operation));
      const link = element("a", { href: `#${operation.operationId}` }, `${method.toUpperCase()} ${path}`);
      index.append(element("li", {}, link));
    }
  }
  if (location.hash !== "") document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

start();
