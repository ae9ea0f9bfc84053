// The landing page's form in JavaScript: validate, score, keep, and, where DELIVER is set, send to the destinations.
// DELIVER=once sends as a function usually does: from what it has in memory, and notes what became of each delivery.
// DELIVER=leased makes the same requests to the table as Funil's delivery functions do: each delivery is claimed under a
// lease, what supersedes it is looked up, the lead and the event are read, consent is checked, what cannot be repeated is
// marked before it is sent, and the outcome is written only while the lease is held. Only for comparing the work.

import { BatchGetItemCommand, DynamoDBClient, QueryCommand, TransactWriteItemsCommand, UpdateItemCommand } from "@aws-sdk/client-dynamodb";
import { parsePhoneNumberFromString } from "libphonenumber-js";
import { createHmac, createHash } from "node:crypto";
import { v4, v5, v7 } from "uuid";

const { AWS_LAMBDA_RUNTIME_API, TABLE_NAME, HASH_KEY, PROVIDER, DELIVER } = process.env;
const table = new DynamoDBClient({ endpoint: process.env.AWS_ENDPOINT_URL_DYNAMODB });
const NAMESPACE = "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11";
const SLOTS = [["crm", "lead"], ["mailerlite", "questionnaire"], ["mailerlite", "marketing"], ["ga4", "event"], ["segment", "event"]];
const SCORES = { consultoria: 20, "10000-30000": 20, tempo: 20 };

const digest = (kind, value) => createHmac("sha256", HASH_KEY).update(kind).update("\0").update(value).digest("hex").slice(0, 32);
const key = (pk, sk) => ({ pk: { S: pk }, sk: { S: sk } });

function validate(body) {
  const errors = [];
  const text = (name, most, required) => {
    const value = body[name];
    if (value === undefined || value === null || value === "") {
      if (required) errors.push({ field: name, code: "required" });
      return undefined;
    }
    if (typeof value !== "string") return void errors.push({ field: name, code: "wrong_type" });
    if (value.length > most) return void errors.push({ field: name, code: "too_long" });
    return value.trim();
  };
  const lead = {
    name: text("name", 200, true),
    email: text("email", 320, true)?.toLowerCase(),
    businessType: text("businessType", 100, true),
    monthlyRevenue: text("monthlyRevenue", 100),
    mainStruggle: text("mainStruggle", 2000),
    workHoursDaily: body.workHoursDaily,
    utm: body.utm ?? {},
    consent: body.consent ?? { analytics: true },
    gaClientId: text("gaClientId", 200),
  };
  if (lead.email && !/^[^@\s]+@[^@\s]+\.[^@\s]+$/.test(lead.email)) errors.push({ field: "email", code: "invalid_email" });
  if (body.phone) {
    const phone = parsePhoneNumberFromString(String(body.phone), "BR");
    if (phone?.isValid()) lead.phone = phone.number;
    else errors.push({ field: "phone", code: "invalid_phone" });
  }
  return { lead, errors };
}

function score(lead) {
  const hours = Number(lead.workHoursDaily) > 10 ? 25 : 10;
  const total = [lead.businessType, lead.monthlyRevenue, lead.mainStruggle].reduce((sum, one) => sum + (SCORES[one] ?? 5), hours);
  return { total, tier: total >= 70 ? "high" : total >= 40 ? "medium" : "low" };
}

async function rate(ip) {
  const now = Date.now();
  await table.send(new UpdateItemCommand({
    TableName: TABLE_NAME,
    Key: key(`RATE#lead-submit#${digest("ip", ip)}`, "RATE"),
    UpdateExpression: "SET tat = :tat, expires_at = :expires",
    ConditionExpression: "attribute_not_exists(tat) OR tat <= :now",
    ExpressionAttributeValues: { ":tat": { N: String(now + 6) }, ":expires": { N: String(Math.ceil(now / 1000) + 3600) }, ":now": { N: String(now + 60_000) } },
  }));
}

async function accept(lead, scored) {
  const now = new Date().toISOString();
  const id = v5(lead.email, NAMESPACE);
  const event = `form:${v7()}`;
  const fingerprint = createHash("sha256").update(JSON.stringify(lead)).digest("hex");
  const response = { success: true, leadId: id, amandaScore: scored.total, tier: scored.tier };
  const deliveries = SLOTS.map(([destination, slot]) => ({ destination, slot, id: v4() }));
  const put = (item) => ({ Put: { TableName: TABLE_NAME, Item: item, ConditionExpression: "attribute_not_exists(pk)" } });
  const email = digest("email", lead.email);
  await table.send(new TransactWriteItemsCommand({
    TransactItems: [
      put({ ...key(`RECEIPT#lead-submit:${email}#${fingerprint}`, "RECEIPT"), response: { S: JSON.stringify(response) }, expires_at: { N: String(Math.ceil(Date.now() / 1000) + 300) } }),
      {
        Update: {
          TableName: TABLE_NAME,
          Key: key(`LEAD#${id}`, "LEAD"),
          UpdateExpression: "SET lead_name = :name, email = :email, phone = :phone, business = :business, score = :score, utm = :utm, first_at = if_not_exists(first_at, :now), last_at = :now ADD version :one",
          ExpressionAttributeValues: {
            ":name": { S: lead.name }, ":email": { S: lead.email }, ":phone": { S: lead.phone ?? "-" }, ":business": { S: lead.businessType },
            ":score": { N: String(scored.total) }, ":utm": { S: JSON.stringify(lead.utm) }, ":now": { S: now }, ":one": { N: "1" },
          },
        },
      },
      put({ ...key(`LEAD#${id}`, `EVENT#${now}#${event}`), data: { S: JSON.stringify(lead) }, event: { S: "lead_submitted" } }),
      put({ ...key(`LEAD#${id}`, `CONSENT#${now}#${event}`), answers: { S: JSON.stringify(lead.consent) } }),
      { Put: { TableName: TABLE_NAME, Item: { ...key(`ALIAS#email#${email}`, `LEAD#${id}`), at: { S: now } } } },
      { Put: { TableName: TABLE_NAME, Item: { ...key(`ALIAS#phone#${digest("phone", lead.phone ?? "-")}`, `LEAD#${id}`), at: { S: now } } } },
      ...deliveries.map((one) => put({
        ...key(`LEAD#${id}`, `DELIVERY#${one.destination}#${now}#${one.id}`), state: { S: "pending" }, slot: { S: one.slot }, event_id: { S: event },
      })),
    ],
  }));
  return { id, now, event, response, deliveries };
}

const PAYLOADS = {
  crm: (lead, id, scored) => ({ name: lead.name, email: lead.email, phone: lead.phone, tags: ["landing_page_lead"], custom_fields: { lead_id: id, amanda_score: scored.total, tier: scored.tier, business_type: lead.businessType } }),
  mailerlite: (lead, id, scored) => ({ email: lead.email, fields: { name: lead.name, phone: lead.phone, lead_id: id, amanda_score: scored.total }, groups: ["101"] }),
  ga4: (lead, id, scored) => ({ client_id: lead.gaClientId ?? id, events: [{ name: "generate_lead", params: { lead_id: id, value: scored.total, session_id: "1", engagement_time_msec: 1 } }] }),
  segment: (lead, id, scored) => ({ batch: [{ type: "identify", userId: id, traits: { name: lead.name, email: lead.email } }, { type: "track", userId: id, event: "Lead Submitted", properties: { score: scored.total } }] }),
};

async function send(one, lead, id, scored) {
  const response = await fetch(`${PROVIDER}/${one.destination}`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: "Bearer a-key-of-the-provider" },
    body: JSON.stringify(PAYLOADS[one.destination](lead, id, scored)),
    signal: AbortSignal.timeout(10_000),
  });
  await response.text();
  return response;
}

async function deliver(lead, scored, { id, now, deliveries }) {
  await Promise.all(deliveries.map(async (one) => {
    const response = await send(one, lead, id, scored);
    await table.send(new UpdateItemCommand({
      TableName: TABLE_NAME,
      Key: key(`LEAD#${id}`, `DELIVERY#${one.destination}#${now}#${one.id}`),
      UpdateExpression: "SET #state = :state, settled_at = :now",
      ConditionExpression: "attribute_exists(pk)",
      ExpressionAttributeNames: { "#state": "state" },
      ExpressionAttributeValues: { ":state": { S: response.ok ? "delivered" : "dead" }, ":now": { S: new Date().toISOString() } },
    }));
  }));
}

// What is sent as a state has a newer delivery that supersedes it; what cannot be repeated is marked before it is sent.
const STATES = new Set(["crm", "mailerlite"]);
const MARKED = new Set(["ga4"]);
const NEEDS = { crm: [], mailerlite: ["marketing"], ga4: ["analytics"], segment: ["analytics"] };
const LEASE_MS = 60_000;

// A delivery that is not sent ends the process, because a comparison of less work says nothing.
async function deliverLeased(scored, { id, now, event, deliveries }) {
  await Promise.all(deliveries.map(async (one) => {
    const sk = `DELIVERY#${one.destination}#${now}#${one.id}`;
    const lease = v4();
    const claimed = await table.send(new UpdateItemCommand({
      TableName: TABLE_NAME,
      Key: key(`LEAD#${id}`, sk),
      UpdateExpression: "SET #state = :leased, lease_id = :lease, lease_until = :until ADD claims :one",
      ConditionExpression: "#state IN (:pending, :leased) AND (attribute_not_exists(lease_until) OR lease_until < :now)",
      ExpressionAttributeNames: { "#state": "state" },
      ExpressionAttributeValues: {
        ":leased": { S: "leased" }, ":pending": { S: "pending" }, ":lease": { S: lease }, ":one": { N: "1" },
        ":until": { S: new Date(Date.now() + LEASE_MS).toISOString() }, ":now": { S: new Date().toISOString() },
      },
      ReturnValues: "ALL_NEW",
    }));
    if (STATES.has(one.destination)) {
      const siblings = await table.send(new QueryCommand({
        TableName: TABLE_NAME,
        KeyConditionExpression: "pk = :pk AND begins_with(sk, :prefix)",
        ExpressionAttributeValues: { ":pk": { S: `LEAD#${id}` }, ":prefix": { S: `DELIVERY#${one.destination}#` } },
        ScanIndexForward: false, Limit: 25, ConsistentRead: true,
      }));
      const newer = (other) => other.slot.S === claimed.Attributes.slot.S && other.sk.S > sk && other.state.S !== "dead";
      if (siblings.Items.some(newer)) throw new Error("nothing supersedes a delivery here");
    }
    const read = await table.send(new BatchGetItemCommand({
      RequestItems: { [TABLE_NAME]: { Keys: [key(`LEAD#${id}`, "LEAD"), key(`LEAD#${id}`, `EVENT#${now}#${event}`)], ConsistentRead: true } },
    }));
    const kept = read.Responses[TABLE_NAME].find((item) => item.data !== undefined);
    const lead = JSON.parse(kept.data.S);
    if (!NEEDS[one.destination].every((purpose) => lead.consent[purpose] !== false)) throw new Error("everybody agreed here");
    if (MARKED.has(one.destination)) {
      await table.send(new UpdateItemCommand({
        TableName: TABLE_NAME,
        Key: key(`LEAD#${id}`, sk),
        UpdateExpression: "SET sending = :lease",
        ConditionExpression: "lease_id = :lease",
        ExpressionAttributeValues: { ":lease": { S: lease } },
      }));
    }
    const response = await send(one, lead, id, scored);
    await table.send(new UpdateItemCommand({
      TableName: TABLE_NAME,
      Key: key(`LEAD#${id}`, sk),
      UpdateExpression: "SET #state = :state, settled_at = :now REMOVE lease_id, lease_until",
      ConditionExpression: "lease_id = :lease",
      ExpressionAttributeNames: { "#state": "state" },
      ExpressionAttributeValues: { ":state": { S: response.ok ? "delivered" : "dead" }, ":lease": { S: lease }, ":now": { S: new Date().toISOString() } },
    }));
  }));
}

async function handle(event) {
  const body = JSON.parse(event.isBase64Encoded ? Buffer.from(event.body, "base64").toString() : event.body);
  const { lead, errors } = validate(body);
  if (errors.length > 0) return { statusCode: 422, body: JSON.stringify({ errors }) };
  await rate(event.requestContext.http.sourceIp);
  const scored = score(lead);
  const accepted = await accept(lead, scored);
  if (DELIVER === "once") await deliver(lead, scored, accepted);
  if (DELIVER === "leased") await deliverLeased(scored, accepted);
  return { statusCode: 200, headers: { "content-type": "application/json" }, body: JSON.stringify(accepted.response) };
}

// The runtime loop, as Lambda's own for Node has it.
const api = `http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation`;
for (;;) {
  const next = await fetch(`${api}/next`);
  const id = next.headers.get("lambda-runtime-aws-request-id");
  const response = await handle(await next.json());
  await fetch(`${api}/${id}/response`, { method: "POST", body: JSON.stringify(response) });
}
