"""The walk of deploy/try-aws: deploys the stack into the emulator, and fails where a promise does not hold.

It must know neither the table's rules nor a provider's API beyond what it sends; what a delivery became is read from the
table, and what a provider received from the dev server, which simulates the providers.
"""

import hashlib
import hmac
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import boto3

VENV = Path(sys.argv[1])
FOLDER = Path("target/try-aws/run")
STACK = "funil"
TOKEN = "service-token-of-the-trial"
TEMPLATE = Path("template.yaml").read_text()
CREDENTIALS = sorted(set(re.findall(r"SecretString:([A-Z0-9_]+)", TEMPLATE)))
SWITCHES = set(re.findall(r'^  (\w+):\n(?:    .*\n)*?    AllowedValues: \["on", "off"\]', TEMPLATE, re.MULTILINE))
SECRETS = {name: f"{name.lower().replace('_', '-')}-of-the-trial" for name in CREDENTIALS}
# The providers whose address the template takes, without the two that get nothing in this walk.
PROVIDERS = set(re.findall(r"^  (\w+)BaseUrl:$", TEMPLATE, re.MULTILINE)) - {"Calendly", "Turnstile"}
# The providers that get something in this walk. Brevo gets nothing, because no deal is committed in it.
DESTINATIONS = ["crm", "mailerlite", "ga4", "segment", "meta", "whatsapp", "c2s"]
SETTLED = {"delivered", "skipped", "dead", "expired"}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


AWS_PORT, DEV_PORT = free_port(), free_port()
AWS = f"http://127.0.0.1:{AWS_PORT}"
DEV = f"http://127.0.0.1:{DEV_PORT}"
os.environ.update(
    AWS_ENDPOINT_URL=AWS,
    AWS_REGION="us-east-1",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_ACCESS_KEY_ID="trial",
    AWS_SECRET_ACCESS_KEY="trial",
    SAM_CLI_TELEMETRY="0",
)
STARTED = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - STARTED:6.1f} s] {text}", flush=True)


def require(holds, text):
    if not holds:
        raise SystemExit(f"FAILED: {text}")


def request(url, body=None, headers=None, method=None):
    """The status and the JSON of the response."""
    data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
    headers = {"content-type": "application/json", **(headers or {})}
    made = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(made, timeout=60) as response:
            status, text = response.status, response.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text.decode(errors="replace")


def until(what, found, seconds=30):
    """Waits until `found` returns something, and returns it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.2)
    raise SystemExit(f"FAILED: {what} within {seconds} s")


def starts(url):
    def found():
        try:
            return request(url)[0]
        except OSError:
            return None

    until(f"{url} responds", found, 60)


class Stack:
    """The deployed stack."""

    def __init__(self):
        simulated = f"{DEV}/simulated"
        self.parameters = {
            # The dev server responds 200 as a provider that it does not know.
            **{f"{name}BaseUrl": f"{simulated}/{name.lower()}" for name in PROVIDERS},
            "SiteUrl": DEV,
            "ServiceToken": TOKEN,
            "HashKey": "hash-key-of-the-trial-0123456789",
            "Architecture": "arm64" if os.uname().machine == "aarch64" else "x86_64",
            "CorsOrigins": DEV,
            "CalendlyEventUrl": f"{DEV}/agenda",
            "BrevoBaseUrl": f"{simulated}/brevo/v3",
            "BrevoSenderEmail": "contato@example.com",
            "C2sBaseUrl": f"{simulated}/c2s/integration",
            "DiretrixBaseUrl": f"{simulated}/c2s/diretrix",
            "DiretrixUsername": "funil",
            "WorkApiBaseUrl": f"{simulated}/c2s/work-api",
            "EnrichmentLegalBasis": "legitimate_interest",
            "MailerliteGroups": json.dumps({"questionnaire": "101", "marketing": "102"}),
            "Ga4MeasurementId": "G-TRIAL",
            "MetaPixelId": "123456",
            "WhatsappPhoneNumberId": "100000000000001",
            "WhatsappBusinessAccountId": "200000000000002",
            "AwsEndpointUrl": AWS,
            **{name: "on" for name in SWITCHES},
        }

    def deploy(self, **changes):
        parameters = {**self.parameters, **changes}
        overrides = [f"{name}='{value}'" for name, value in parameters.items()]
        command = [VENV / "bin/sam", "deploy", "--template-file", "template.yaml", "--stack-name", STACK]
        command += ["--resolve-s3", "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset"]
        command += ["--no-progressbar", "--no-fail-on-empty-changeset", "--parameter-overrides", *overrides]
        done = subprocess.run(command, capture_output=True, text=True)
        require(done.returncode == 0, f"sam deploy\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        described = boto3.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
        self.outputs = {one["OutputKey"]: one["OutputValue"] for one in described["Outputs"]}

    def send(self, output, body=None, headers=None, path="", method=None):
        """Sends a request to a Function URL, which the emulator knows by its host name."""
        host = self.outputs[output].split("//")[1].strip("/")
        return request(f"{AWS}/{path}", body, {"host": host, **(headers or {})}, method)

    def items(self, lead):
        table = boto3.resource("dynamodb").Table(self.outputs["TableName"])
        key = boto3.dynamodb.conditions.Key("pk").eq(f"LEAD#{lead}")
        return table.query(KeyConditionExpression=key, ConsistentRead=True)["Items"]

    def deliveries(self, lead):
        """The deliveries of a lead: their states by destination and slot."""
        found = {}
        for item in self.items(lead):
            if item["type"] == "delivery":
                name = f"{item['destination']}/{item['slot']}"
                found.setdefault(name, []).append(item["state"])
        return found

    def settled(self, lead, destinations, seconds=30):
        """Waits until everything that is due for these destinations is settled, and says it was delivered."""

        def found():
            states = self.deliveries(lead)
            ours = [state for name, some in states.items() for state in some if name.split("/")[0] in destinations]
            return states if ours and all(state in SETTLED for state in ours) else None

        states = until(f"{lead} is settled at {', '.join(destinations)}", found, seconds)
        for name, some in states.items():
            if name.split("/")[0] in destinations:
                require(set(some) <= {"delivered", "skipped"}, f"{name} is {some}")
        return states


def received(provider):
    providers = request(f"{DEV}/stage/providers")[1]["providers"]
    return next(one["received"] for one in providers if one["name"] == provider)


def behave(provider, behaviour):
    status, _ = request(f"{DEV}/stage/providers/{provider}?behaviour={behaviour}", b"", method="POST")
    require(status < 300, f"{provider} could not be set to {behaviour}: {status}")


def form(number):
    return {
        "name": "Ana Exemplo",
        "email": f"ana{number}@example.com",
        "phone": f"(11) 98765-43{20 + number}",
        "businessType": "consultoria",
        "monthlyRevenue": "10000-30000",
        "workHoursDaily": 10,
        "mainStruggle": "tempo",
        "gaClientId": f"{number}.1767225600",
        "consent": {"analytics": True, "marketing": True, "ads": True, "whatsapp": True, "policyVersion": "2026-01"},
    }


def submit(stack, number):
    status, body = stack.send("LeadSubmitUrl", form(number))
    require(status == 200, f"the form got {status} {body}")
    return body["leadId"]


def sample(path):
    return json.loads(json.loads(Path("events", path).read_text())["body"])


def signed_by_calendly(body, key):
    at = str(int(time.time()))
    mac = hmac.new(key.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return {"calendly-webhook-signature": f"t={at},v1={mac.hexdigest()}"}


def signed_by_meta(body):
    mac = hmac.new(SECRETS["WHATSAPP_APP_SECRET"].encode(), body, hashlib.sha256)
    return {"x-hub-signature-256": f"sha256={mac.hexdigest()}"}


def book(stack, lead, number, invitee="", key=SECRETS["CALENDLY_SIGNING_KEY"]):
    body = sample("calendar-webhook/created.json")
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    body["created_at"] = body["payload"]["created_at"] = body["payload"]["updated_at"] = now
    body["payload"]["email"] = form(number)["email"]
    body["payload"]["text_reminder_number"] = f"+55 {form(number)['phone']}"
    body["payload"]["tracking"]["utm_content"] = lead
    body["payload"]["uri"] += invitee
    body = json.dumps(body).encode()
    status, response = stack.send("CalendarWebhookUrl", body, signed_by_calendly(body, key))
    require(status == 200, f"the booking got {status} {response}")


def pay(stack, lead, number):
    body = sample("stripe-webhook/payment-succeeded.json")
    body["created"] = int(time.time())
    body["data"]["object"]["metadata"]["lead_id"] = lead
    body["data"]["object"]["receipt_email"] = form(number)["email"]
    body = json.dumps(body).encode()
    at = str(int(time.time()))
    mac = hmac.new(SECRETS["STRIPE_WEBHOOK_SECRET"].encode(), f"{at}.".encode() + body, hashlib.sha256)
    status, response = stack.send("StripeWebhookUrl", body, {"stripe-signature": f"t={at},v1={mac.hexdigest()}"})
    require(status == 200, f"the payment got {status} {response}")
    paid = [item["spent_BRL"] for item in stack.items(lead) if item["type"] == "lead"]
    require(paid == [199700], f"the lead has paid {paid}")


def opt_out(stack, number):
    digits = "55" + "".join(filter(str.isdigit, form(number)["phone"]))
    body = sample("whatsapp-webhook/opt-out.json")
    value = body["entry"][0]["changes"][0]["value"]
    value["contacts"][0]["wa_id"] = digits
    value["messages"][0].update({"from": digits, "timestamp": str(int(time.time()))})
    body = json.dumps(body).encode()
    status, response = stack.send("WhatsappWebhookUrl", body, signed_by_meta(body))
    require(status == 200, f"the opt-out got {status} {response}")


def stream_mapping(enabled):
    """Turns the stream's mapping of dispatch on or off: while it is off, no ring comes."""
    functions = boto3.client("lambda")
    mappings = functions.list_event_source_mappings(FunctionName=f"{STACK}-dispatch")["EventSourceMappings"]
    require(len(mappings) == 1, f"dispatch has {len(mappings)} mappings")
    functions.update_event_source_mapping(UUID=mappings[0]["UUID"], Enabled=enabled)


def check(stack):
    """Every function checks itself in its deployment: its configuration, its table, its provider."""
    functions = boto3.client("lambda")
    names = [one["FunctionName"] for one in functions.list_functions()["Functions"]]
    names = sorted(name for name in names if name.startswith(f"{STACK}-"))
    made = {path.parent.name for path in Path("functions").glob("*/Cargo.toml")}
    deployed = {name.removeprefix(f"{STACK}-") for name in names}
    require(deployed == made, f"there are {sorted(deployed)} of {sorted(made)}")
    for name in names:
        response = functions.invoke(FunctionName=name, Payload=json.dumps({"check": True}))
        report = json.loads(response["Payload"].read())
        wrong = [one for one in report.get("findings", [{"verdict": "failed"}]) if one["verdict"] == "failed"]
        require(not wrong, f"{name} finds {wrong or report}")
    say(f"{len(names)} functions checked themselves and find nothing that does not work")


def walk(stack):
    of_forms = ["crm", "mailerlite", "ga4", "segment"]
    say("submitting the form to its Function URL")
    lead = submit(stack, 1)
    states = stack.settled(lead, of_forms)
    say("delivered through stream, dispatch and asynchronous invocation: " + ", ".join(sorted(states)))

    status, again = stack.send("LeadSubmitUrl", form(1))
    require((status, again["leadId"]) == (200, lead), "the same form again is the same lead")
    answers = sample("questionnaire-submit/high-score.json")
    answers.update({"leadId": lead, "email": form(1)["email"]})
    status, body = stack.send("QuestionnaireSubmitUrl", answers)
    require(status == 200 and "bookingUrl" in json.dumps(body), f"the questionnaire got {status} {body}")
    stack.settled(lead, of_forms)
    say("the questionnaire is answered and delivered")

    book(stack, lead, 1)
    until("the welcome is sent", lambda: received("whatsapp"))
    stack.settled(lead, [*of_forms, "meta"])
    say("the call is booked, Meta has it, and the welcome went out by WhatsApp")
    waiting = {name: some for name, some in stack.deliveries(lead).items() if "reminder" in name}
    require(set(sum(waiting.values(), [])) == {"pending"}, f"the reminders wait: {waiting}")
    pay(stack, lead, 1)
    pay(stack, lead, 1)
    states = stack.settled(lead, [*of_forms, "meta"])
    require(states["mailerlite/customer"] == ["delivered"], f"MailerLite has one purchase: {states}")
    require(states["meta/purchase"] == ["delivered"], f"Meta has one purchase: {states}")
    say("the payment is kept and every destination has it, and its duplicate counts nothing")
    opt_out(stack, 1)
    left = {name: some for name, some in stack.deliveries(lead).items() if "reminder" in name}
    require(set(sum(left.values(), [])) == {"skipped"}, f"the opt-out withdraws the reminders: {left}")
    say("the opt-out withdrew the reminders before its response")

    report_crm_lead(stack, lead, 1)
    stack.settled(lead, ["c2s"])
    say("Contact2Sale's lead is looked up, and its seller has one message")
    report_bounce(stack, lead, 1)
    say("Brevo's report of a bounce stands in the journey")

    status, health = stack.send("HealthUrl", headers={"authorization": f"Bearer {TOKEN}"})
    require((status, health["status"]) == (200, "ok"), f"health is {status} {health}")
    require(stack.send("MetricsUrl")[0] == 401, "metrics needs the token")

    say("the stream stops: the ring of the next form is lost, and the schedule has to find it (two minutes)")
    stream_mapping(False)
    lost = submit(stack, 2)
    began = time.monotonic()
    stack.settled(lost, of_forms, 200)
    say(f"the schedule delivered it after {time.monotonic() - began:.0f} s")
    stream_mapping(True)

    behave("crm", "fail")
    due = submit(stack, 3)
    until("the CRM was tried", lambda: stack.deliveries(due).get("crm/lead") and len(received("crm")) > 0)
    stack.deploy(DueShards="4", BacklogAlertSeconds="600")
    say("the stack is updated while a delivery is due")
    between = submit(stack, 4)
    # A parameter that is not given keeps its last value.
    stack.deploy(DueShards="1", BacklogAlertSeconds="900")
    say("and rolled back, with deliveries in shards that the old setting does not write to")
    behave("crm", "normal")
    for one in (due, between):
        stack.settled(one, of_forms, 240)
    say("everything that was due before, between and after is delivered")

    replace_secrets(stack, lead)

    say("what each provider received:")
    for destination in DESTINATIONS:
        requests = received(destination)
        require(requests, f"{destination} received nothing")
        first = requests[-1]
        print(f"    {destination:<12}{len(requests):>3} requests, the first {first['method']} {first['path']}: {first['answered']}")
    created = [one for one in received("crm") if "created contact" in (one.get("note") or "")]
    require(len(created) == 5, f"the CRM has {len(created)} contacts for five leads")


def report_crm_lead(stack, lead, number):
    """Contact2Sale reports the lead twice, and writes one message about it."""
    person = form(number)
    customer = {"name": person["name"], "email": person["email"], "phone": "5511987654321"}
    known = {"name": person["name"].upper(), "phone": customer["phone"]}
    status, _ = request(f"{DEV}/simulated/c2s/people", known)
    require(status == 200, f"Diretrix could not be given a person: {status}")
    attributes = {"customer": customer, "updated_at": "2026-01-15T12:00:00Z"}
    body = [{"id": "trial-1", "hook_action": "on_create_lead", "attributes": attributes}]
    token = {"x-webhook-token": SECRETS["C2S_WEBHOOK_SECRET"]}
    for counts in [(1, 0), (0, 1)]:
        status, response = stack.send("C2sWebhookUrl", body, token)
        got = (status, response["processed"], response["duplicates"])
        require(got == (200, *counts), f"Contact2Sale got {status} {response}")
    stack.settled(lead, ["c2s"])
    messages = [one for one in received("c2s") if one["path"].endswith("/create_message")]
    require(len(messages) == 1, f"Contact2Sale has {len(messages)} messages")


def report_bounce(stack, lead, number):
    body = {"event": "soft_bounce", "email": form(number)["email"], "ts_event": 1}
    token = {"authorization": f"Bearer {SECRETS['BREVO_WEBHOOK_SECRET']}"}
    status, response = stack.send("BrevoWebhookUrl", body, token)
    require(status == 200, f"Brevo got {status} {response}")
    noted = [one for one in stack.items(lead) if one.get("event") == "subscriber_noted"]
    require(len(noted) == 1, f"the bounce is noted {len(noted)} times")


def replace_secrets(stack, lead):
    """Replaces two credentials by a secret of another name, as docs/operating.md says."""
    old, new = SECRETS["CALENDLY_SIGNING_KEY"], "calendly-signing-key-that-is-new"
    secrets = {**SECRETS, "CALENDLY_SIGNING_KEY": f"{new},{old}", "CRM_API_KEY": "crm-api-key-that-is-new"}
    boto3.client("secretsmanager").create_secret(Name="funil-2", SecretString=json.dumps(secrets))
    stack.deploy(SecretName="funil-2")
    for number, key in enumerate([old, new]):
        book(stack, lead, 1, f"-{number}", key)
    stack.settled(submit(stack, 5), ["crm"])
    configured = boto3.client("lambda").get_function_configuration(FunctionName=f"{STACK}-crm-sync")
    used = configured["Environment"]["Variables"]["CRM_API_KEY"]
    require(used == secrets["CRM_API_KEY"], "crm-sync has the new key")
    say("two secrets are replaced: bookings signed with the old and with the new key came, and crm-sync has the new one")


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    processes = []

    def start(name, command, **env):
        log = (FOLDER / f"{name}.log").open("w")
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **env}, start_new_session=True)
        processes.append(process)

    try:
        start("aws", [VENV / "bin/ministack"], BIND_HOST="127.0.0.1", GATEWAY_PORT=str(AWS_PORT))
        start("dev", ["target/release/funil", "dev", "--port", str(DEV_PORT), "--data", FOLDER / "dev"])
        starts(f"{AWS}/_localstack/health")
        starts(f"{DEV}/stage/providers")
        secret = json.dumps(SECRETS)
        boto3.client("secretsmanager").create_secret(Name="funil", SecretString=secret)
        stack = Stack()
        stack.deploy()
        say(f"deployed {len(stack.outputs)} outputs by template.yaml")
        check(stack)
        walk(stack)
        say("everything held")
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGTERM)


main()
