"use strict";
// The page of the simulated CRMs: reports leads and deals. Text that a visitor typed is written to the page only as
// textContent.

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);

async function report(done) {
  let response;
  try {
    response = await fetch("/stage/crm", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(done),
      signal: AbortSignal.timeout(15_000),
    });
  } catch {
    throw new Error("o console não respondeu.");
  }
  if (!response.ok) throw new Error(`o console respondeu ${response.status}.`);
  return response.json();
}

for (const name of ["name", "email", "phone"]) $(name).value = query.get(name) ?? "";
$("report").addEventListener("submit", async (event) => {
  event.preventDefault();
  const data = new FormData(event.target);
  const done = Object.fromEntries(["action", "name", "email", "phone", "cpf"].map((name) => [name, data.get(name).trim()]));
  $("alert").hidden = true;
  $("status").textContent = "Enviando…";
  try {
    const { function: name, status } = await report(done);
    if (status !== 200) throw new Error(`${name} respondeu ${status}.`);
    $("status").textContent = `Pronto: ${name} recebeu. Veja a jornada e os destinos no console.`;
  } catch (error) {
    $("status").textContent = "";
    $("alert").textContent = `Não deu certo: ${error.message}`;
    $("alert").hidden = false;
  }
});
