"""Sends the same forms to n8n and to Funil, and counts what reaches the simulated providers.

Both run as one process on this machine, with their default database (SQLite) on disk, and deliver to the providers that a
dev server simulates. n8n answers at once and works afterwards, as its webhook does by default, and tries each request
three times.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path("target/n8n").absolute()
LEADS = int(sys.argv[1]) if len(sys.argv) > 1 else 300
PER_SECOND = int(sys.argv[2]) if len(sys.argv) > 2 else 20
REPEATED = 30
STARTED = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - STARTED:6.1f} s] {text}", flush=True)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def send(url, body=None, timeout=30):
    """The status of the response, 0 where there was none, and its body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


def until(what, found, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.2)
    raise SystemExit(f"FAILED: {what} within {seconds} s")


class DevServer:
    """A dev server: the whole of Funil, and the providers for both."""

    name = "Funil"

    def __init__(self, folder):
        self.port, self.folder = free_port(), FOLDER / folder
        shutil.rmtree(self.folder, ignore_errors=True)
        self.form = f"http://127.0.0.1:{self.port}/api/lead-submit"
        self.providers = self

    def start(self):
        rates = {"RATE_LEAD_FORMS": "1000000/60", "MAILERLITE_REQUESTS_PER_MINUTE": "1000000"}
        env = {**os.environ, **rates, "LOG_LEVEL": "error"}
        command = ["target/release/funil", "dev", "--port", str(self.port), "--data", self.folder]
        self.folder.mkdir(parents=True, exist_ok=True)
        log = (self.folder / "log").open("a")
        self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
        until("the dev server starts", lambda: send(f"http://127.0.0.1:{self.port}/openapi.json")[0] == 200, 30)

    def received(self):
        """What each provider received so far, by the dev server's record of it."""
        received = {}
        for line in (self.folder / "providers.jsonl").read_text().splitlines():
            # A kill may have cut the last line.
            call = json.loads(line).get("call") if line.endswith("}") else None
            if call:
                one = call["received"]
                received.setdefault(one["provider"], []).append(one)
        return received


class N8n:
    """n8n with the workflow of this folder."""

    name = "n8n"

    def __init__(self, providers):
        self.port, self.providers = free_port(), providers
        self.form = f"http://127.0.0.1:{self.port}/webhook/lead"
        self.folder = FOLDER / "n8n-data"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        workflow = Path("tests/benches/n8n/workflow.json").read_text()
        workflow = workflow.replace("PROVIDERS", f"http://127.0.0.1:{providers.port}/simulated")
        (self.folder / "workflow.json").write_text(workflow)
        self.env = {
            **os.environ,
            "N8N_USER_FOLDER": str(self.folder),
            "N8N_PORT": str(self.port),
            "N8N_DIAGNOSTICS_ENABLED": "false",
            "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
            "N8N_TEMPLATES_ENABLED": "false",
            "N8N_RUNNERS_BROKER_PORT": str(free_port()),
            "EXECUTIONS_MODE": "regular",
        }
        self.cli("import:workflow", f"--input={self.folder / 'workflow.json'}")
        self.cli("publish:workflow", "--id=funilcompare0001")

    def cli(self, *arguments):
        command = [FOLDER / "node_modules/.bin/n8n", *arguments]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise SystemExit(f"FAILED: n8n {arguments}: {done.stdout[-2000:]} {done.stderr[-2000:]}")

    def start(self):
        log = (self.folder / "log").open("a")
        command = [FOLDER / "node_modules/.bin/n8n", "start"]
        self.process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log, start_new_session=True)
        # The webhook responds to a GET with 404 and a word about POST once it is there.
        ready = lambda: b"POST" in send(self.form)[1]
        until("n8n starts", ready, 180)


def kill(system):
    os.killpg(system.process.pid, signal.SIGKILL)
    system.process.wait()


def form(number, kind):
    return {
        "name": "Ana Exemplo",
        "email": f"{kind}{number}@example.com",
        "phone": "(11) 98765-4321",
        "businessType": "consultoria",
        "gaClientId": f"{number}.1767225600",
        "consent": {"marketing": True, "analytics": True},
    }


def submit(system, number, kind):
    """When the response came, its status, and how long it took."""
    began = time.monotonic()
    status, _ = send(system.form, form(number, kind))
    return number, status, time.monotonic() - began


def crowd(system, kind, leads):
    """Sends so many forms a second, whatever becomes of the ones before."""
    with ThreadPoolExecutor(200) as people:
        sent = []
        for number in range(leads):
            sent.append(people.submit(submit, system, number, kind))
            time.sleep(1 / PER_SECOND)
        return [one.result() for one in sent]


def at_crm(system, kind):
    """The e-mails of this kind that the CRM created a contact for."""
    created = [one for one in system.providers.received().get("crm", []) if "created" in (one.get("note") or "")]
    emails = [(one.get("body") or {}).get("email") or "" for one in created]
    return {email for email in emails if email.startswith(kind)}


def count(system, provider, word):
    return sum(word in (one.get("note") or "") for one in system.providers.received().get(provider, []))


def behave(system, provider, behaviour):
    port = system.providers.port
    url = f"http://127.0.0.1:{port}/stage/providers/{provider}?behaviour={behaviour}"
    urllib.request.urlopen(urllib.request.Request(url, data=b""), timeout=10).close()


def settle(system):
    """Waits until no provider got anything for 15 s."""
    before, quiet = None, 0
    while quiet < 15:
        now = {name: len(requests) for name, requests in system.providers.received().items()}
        quiet = quiet + 1 if now == before else 0
        before = now
        time.sleep(1)


def compare(system):
    system.start()
    crowd(system, "warm", 20)
    settle(system)

    answers = crowd(system, "time", LEADS)
    took = sorted(1000 * seconds for _, status, seconds in answers if status == 200)
    settle(system)
    p50, p99 = took[len(took) // 2], took[len(took) * 99 // 100]
    say(f"{system.name}: {len(took)} of {LEADS} forms at {PER_SECOND} a second got 200; p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    say(f"{system.name}: the CRM has {len(at_crm(system, 'time'))} of them")

    ga4, segment = count(system, "ga4", "kept"), count(system, "segment", "kept track")
    for number in range(REPEATED):
        for _ in range(2):
            submit(system, number, "twice")
    settle(system)
    ga4, segment = count(system, "ga4", "kept") - ga4, count(system, "segment", "kept track") - segment
    say(f"{system.name}: {REPEATED} people pressed the button twice: GA4 counts {ga4} leads, Segment {segment}")

    behave(system, "crm", "fail")
    recovers = threading.Timer(20, behave, [system, "crm", "normal"])
    recovers.start()
    answers = crowd(system, "down", 100)
    recovers.join()
    settle(system)
    time.sleep(90)
    settle(system)
    answered = {f"down{number}@example.com" for number, status, _ in answers if status == 200}
    missing = answered - at_crm(system, "down")
    say(
        f"{system.name}: the CRM was down for 20 s while 100 forms came: {len(answered)} got 200, and {len(missing)} "
        "of these never came to the CRM"
    )

    def restart():
        kill(system)
        system.start()

    killer = threading.Timer(LEADS / PER_SECOND / 2, restart)
    killer.start()
    answers = crowd(system, "kill", LEADS)
    killer.join()
    answered = {f"kill{number}@example.com" for number, status, _ in answers if status == 200}
    settle(system)
    time.sleep(60)
    settle(system)
    lost = answered - at_crm(system, "kill")
    say(
        f"{system.name}: killed with -9 in the middle of {LEADS} forms and started again: {len(answered)} got 200, "
        f"and {len(lost)} of these never came to the CRM"
    )
    kill(system)


def main():
    providers = DevServer("providers")
    providers.start()
    n8n = N8n(providers)
    try:
        compare(n8n)
    finally:
        kill(providers)
    compare(DevServer("funil"))


main()
