//! What happens in a simulation, as drawn: people submit and repeat, words are taken back, providers
//! fail, workers drain, rings are lost.
//!
//! It must not know what must hold.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use funil_core::contact::consent::Purpose;
use funil_core::id::LeadId;
use funil_delivery::Patience;
use funil_dev::server::front_door;
use funil_dev::simulated::Behaviour;
use funil_store::DeliveryKey;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::system::{DESTINATIONS, Process, System};
use super::watch::{NAME, Submission};

/// How many people there are.
const PEOPLE: u64 = 7;
/// How often a person tries again while the site answers errors.
const PATIENCE: u32 = 4;
/// How long all outages of a simulation may take: GA4's events live for 72 h.
const DAYS_MAX: u64 = 2;
/// How often credentials may expire at one provider; at the third time a delivery that met all of
/// them is given up, rightly.
const EXPIRIES_MAX: u32 = 2;

/// A seed's life, under way.
pub(super) struct Life {
    system: Arc<System>,
    tasks: JoinSet<()>,
    days: u64,
    expiries: [u32; 4],
}

impl Life {
    /// Begins one.
    pub(super) fn of(system: &Arc<System>) -> Self {
        Self { system: Arc::clone(system), tasks: JoinSet::new(), days: 0, expiries: [0; 4] }
    }

    /// Lives it.
    pub(super) async fn live(&mut self, steps: u64) {
        for _ in 0..steps {
            self.step().await;
            self.answer_rings();
            self.gap().await;
        }
        self.calm().await;
    }

    async fn step(&mut self) {
        let system = Arc::clone(&self.system);
        match system.chance.below(20) {
            0..=6 => self.submit(),
            7 | 8 => self.change_a_provider(),
            9..=13 => self.sweep(),
            14 => self.ring_one(),
            15 => self.stream(),
            16 => self.schedule(),
            17 => self.take_back().await,
            18 => self.leave(),
            _ => self.change_the_weather(),
        }
    }

    async fn gap(&mut self) {
        let chance = &self.system.chance;
        let ms = match chance.below(40) {
            0..=13 => chance.below(40),
            14..=25 => chance.below(3_000),
            26..=33 => chance.below(70_000),
            34..=37 => chance.below(600_000),
            38 => chance.below(7_200_000),
            _ if self.days < DAYS_MAX => {
                self.days += 1;
                86_400_000
            }
            _ => 1,
        };
        tokio::time::sleep(Duration::from_millis(1 + ms)).await;
    }

    /// Somebody submits: new, again, changed, twice at once, or from two devices.
    fn submit(&mut self) {
        let system = Arc::clone(&self.system);
        let chance = &system.chance;
        let mut watch = system.watch.lock().unwrap();
        let known = watch.submissions.len();
        let number = if known > 0 && chance.once_in(4) {
            chance.index(known)
        } else {
            let person = chance.below(PEOPLE);
            // The last two share an address with the first: one e-mail, several leads.
            let email = format!("somebody{}@example.com", if person < 5 { person } else { 0 });
            let digest = system.hash.digest("email", &email);
            watch.digests.insert(digest.as_str().to_owned(), email.clone());
            let consent = match chance.below(6) {
                0 => None,
                1 => Some((false, true)),
                2 => Some((true, false)),
                3 => Some((false, false)),
                _ => Some((true, true)),
            };
            watch.submissions.push(Submission {
                email,
                consent,
                answered: None,
                body: Value::Null,
            });
            let body = body(known, person, &watch.submissions[known], chance.once_in(3));
            watch.submissions[known].body = body;
            known
        };
        let body = watch.submissions[number].body.clone();
        drop(watch);
        let times = if chance.once_in(4) { 2 } else { 1 };
        for _ in 0..times {
            let intake = Arc::clone(&system.intakes[chance.index(system.intakes.len())]);
            let system = Arc::clone(&system);
            let body = body.clone();
            self.tasks.spawn(async move {
                for _ in 0..PATIENCE {
                    if send(&system, &intake, number, &body).await {
                        return;
                    }
                    let pause = 1 + system.chance.below(20_000);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
            });
        }
    }

    fn change_a_provider(&mut self) {
        let chance = &self.system.chance;
        let at = chance.index(DESTINATIONS.len());
        let garbage = json!({"success": false, "error": "try again"}).to_string();
        let mut behaviour = chance.of(&[
            Behaviour::Normal,
            Behaviour::Normal,
            Behaviour::Normal,
            Behaviour::Status(500),
            Behaviour::Status(503),
            Behaviour::Status(401),
            Behaviour::Status(403),
            Behaviour::Throttle { retry_after_s: 90 },
            Behaviour::Throttle { retry_after_s: 5 },
            Behaviour::CloseConnection,
            Behaviour::CloseAfterEffect,
            Behaviour::Hang,
            Behaviour::HangAfterEffect,
            Behaviour::Garbage,
            Behaviour::StatusWith { status: 200, headers: Vec::new(), body: garbage },
        ]);
        if matches!(behaviour, Behaviour::Status(401 | 403)) {
            self.expiries[at] += 1;
            if self.expiries[at] > EXPIRIES_MAX {
                behaviour = Behaviour::Normal;
            }
        }
        let mut watch = self.system.watch.lock().unwrap();
        watch.note(&format!("{} is told: {behaviour}", DESTINATIONS[at]));
        watch.counts.outages += u64::from(behaviour != Behaviour::Normal);
        drop(watch);
        self.system.front.providers.behave(DESTINATIONS[at], behaviour);
    }

    /// One to three processes drain a destination, or all of them.
    fn sweep(&mut self) {
        let chance = self.system.chance.clone();
        let all = chance.once_in(3);
        let only = chance.index(DESTINATIONS.len());
        for _ in 0..=chance.index(3) {
            for at in 0..DESTINATIONS.len() {
                if all || at == only {
                    let patience = if chance.once_in(6) { Patience::Waits } else { Patience::None };
                    self.drain(at, patience);
                }
            }
        }
    }

    fn drain(&mut self, at: usize, patience: Patience) {
        let system = &self.system;
        let process = Arc::clone(&system.workers[system.chance.index(system.workers.len())]);
        self.tasks.spawn(async move {
            let stop_at = process.stop_at();
            drop(process.live(process.workers[at].drain(patience, stop_at)).await);
        });
    }

    /// Delivers one delivery, due or not.
    fn ring_one(&mut self) {
        let system = Arc::clone(&self.system);
        let stream = system.watch.lock().unwrap().stream.clone();
        if stream.is_empty() {
            return;
        }
        let (pk, sk, _) = system.chance.of(&stream);
        let at = DESTINATIONS.iter().position(|name| sk.starts_with(&format!("DELIVERY#{name}#")));
        let Some(at) = at else { return };
        let lead_id = LeadId::parse(pk.trim_start_matches("LEAD#")).unwrap();
        let key = DeliveryKey { lead_id, sk };
        for _ in 0..=system.chance.index(2) {
            let process = Arc::clone(&system.workers[system.chance.index(system.workers.len())]);
            let key = key.clone();
            self.tasks.spawn(async move {
                let stop_at = process.stop_at();
                drop(process.live(process.workers[at].deliver(&key, stop_at)).await);
            });
        }
    }

    /// Records of the stream reach `dispatch`: some late, some twice, in no order, some never.
    fn stream(&mut self) {
        let system = Arc::clone(&self.system);
        let stream = system.watch.lock().unwrap().stream.clone();
        if stream.is_empty() {
            return;
        }
        let records = (0..=system.chance.index(5)).map(|_| {
            let (pk, sk, due) = system.chance.of(&stream);
            json!({
                "eventSource": "aws:dynamodb",
                "eventName": "INSERT",
                "dynamodb": {
                    "SequenceNumber": "1",
                    "Keys": {"pk": {"S": pk}, "sk": {"S": sk}},
                    "NewImage": {"type": {"S": "delivery"}, "due_sk": {"S": due}},
                },
            })
        });
        let event = json!({"Records": records.collect::<Vec<_>>()});
        self.dispatch(event);
    }

    fn schedule(&mut self) {
        self.dispatch(json!({
            "source": "aws.events", "detail-type": "Scheduled Event", "detail": {},
        }));
    }

    fn dispatch(&mut self, event: Value) {
        let process = Arc::clone(&self.system.dispatcher);
        self.tasks.spawn(async move {
            let dispatch = process.dispatch.as_ref().unwrap();
            drop(process.live(dispatch.invoke(event, process.stop_at())).await);
        });
    }

    /// What `dispatch` rang: most of it is heard, some twice, some never.
    fn answer_rings(&mut self) {
        let system = Arc::clone(&self.system);
        let Ok(mut rung) = system.rung.try_lock() else { return };
        while let Ok(function) = rung.try_recv() {
            let at = DESTINATIONS.iter().position(|name| function.starts_with(name));
            let Some(at) = at else { continue };
            let times = system.chance.of(&[0, 1, 1, 1, 2]);
            for _ in 0..times {
                self.drain(at, Patience::Waits);
            }
        }
    }

    /// Somebody takes back, through a provider, what they had agreed to.
    async fn take_back(&mut self) {
        let system = Arc::clone(&self.system);
        let emails: Vec<String> = {
            let watch = system.watch.lock().unwrap();
            watch.leads.values().map(|known| known.email.clone()).collect()
        };
        if emails.is_empty() {
            return;
        }
        let email = system.chance.of(&emails);
        let purpose = system.chance.of(&[Purpose::MarketingEmail, Purpose::Analytics]);
        let digest = system.hash.digest("email", &email);
        system.store.revoke("email", &digest, purpose, system.now()).await.unwrap();
    }

    /// Somebody leaves `MailerLite`.
    fn leave(&mut self) {
        let system = Arc::clone(&self.system);
        let email = format!("somebody{}@example.com", system.chance.below(5));
        if system.chance.once_in(2) && system.front.providers.set_status(&email, "unsubscribed") {
            let mut watch = system.watch.lock().unwrap();
            watch.note(&format!("{email} unsubscribes"));
            watch.left.insert(email);
        }
    }

    fn change_the_weather(&mut self) {
        let chance = &self.system.chance;
        let weather = &self.system.front.weather;
        weather.table.store(chance.of(&[0, 0, 300, 60, 15]), Ordering::Relaxed);
        weather.crash.store(chance.of(&[0, 0, 200, 60, 25]), Ordering::Relaxed);
        weather.slow.store(chance.of(&[0, 100, 20]), Ordering::Relaxed);
        weather.lives.store(4, Ordering::Relaxed);
    }

    /// Everything is well again: what is under way ends, those who got no answer ask once more, and
    /// the schedule goes on until nothing is open.
    async fn calm(&mut self) {
        let system = Arc::clone(&self.system);
        system.watch.lock().unwrap().note("everything is well again");
        let weather = &system.front.weather;
        for level in [&weather.table, &weather.crash, &weather.slow] {
            level.store(0, Ordering::Relaxed);
        }
        for name in DESTINATIONS {
            system.front.providers.behave(name, Behaviour::Normal);
        }
        system.front.providers.release_hung();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        let unanswered: Vec<(usize, Value)> = {
            let watch = system.watch.lock().unwrap();
            let numbered = watch.submissions.iter().enumerate();
            let open = numbered.filter(|(_, submission)| submission.answered.is_none());
            open.map(|(number, submission)| (number, submission.body.clone())).collect()
        };
        for (number, body) in unanswered {
            if !send(&system, &system.intakes[0], number, &body).await {
                let problem = format!("submission {number} is refused though all is well");
                system.watch.lock().unwrap().problem(problem);
            }
        }
        self.until_nothing_is_open().await;
    }

    async fn until_nothing_is_open(&mut self) {
        let system = Arc::clone(&self.system);
        let end = "9999-01-01T00:00:00Z".parse().unwrap();
        for _ in 0..400 {
            let mut next = None;
            for (at, name) in DESTINATIONS.iter().enumerate() {
                let due = system.store.due(name, end, 1).await.unwrap();
                let Some(first) = due.first() else { continue };
                if first.due_at <= system.now() {
                    let worker = &system.owner.workers[at];
                    worker.drain(Patience::None, system.owner.stop_at()).await.unwrap();
                    next = Some(system.now());
                } else {
                    next = Some(next.map_or(first.due_at, |next| first.due_at.min(next)));
                }
            }
            let Some(next) = next else { return };
            // A closed door, a probe or a minute's tokens are waited for as the schedule does.
            let wait = next.duration_since(system.now()).as_millis().max(20_000);
            tokio::time::sleep(Duration::from_millis(u64::try_from(wait).unwrap() + 1)).await;
        }
        system.watch.lock().unwrap().problem("something stays open for ever".to_owned());
    }
}

/// Sends a form once; whether it was answered with a yes.
async fn send(system: &System, intake: &Process, number: usize, body: &Value) -> bool {
    let caller: IpAddr = format!("198.51.100.{}", system.chance.below(250)).parse().unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let bytes = body.to_string();
    let event =
        front_door::event(&Method::POST, "/lead-submit", "", &headers, bytes.as_bytes(), caller);
    system.watch.lock().unwrap().note(&format!("submission {number} is sent: {body}"));
    let function = intake.intake.as_ref().unwrap();
    let answer = intake.live(function.invoke(event, intake.stop_at())).await;
    let mut watch = system.watch.lock().unwrap();
    let Some(answer) = answer else {
        watch.note(&format!("submission {number} gets no answer"));
        return false;
    };
    let (status, _, told) = front_door::answer(&answer);
    watch.note(&format!("submission {number} gets {status}"));
    if status != 200 {
        if !matches!(status.as_u16(), 429 | 503) {
            watch.problem(format!("submission {number} was answered {status}"));
        }
        return false;
    }
    let told: Value = serde_json::from_slice(&told).unwrap();
    let lead = told["leadId"].as_str().unwrap_or_default().to_owned();
    if !watch.leads.contains_key(&lead) {
        watch.problem(format!("submission {number} got a yes, and {lead} was not kept"));
    }
    let before = watch.submissions[number].answered.replace(lead.clone());
    if before.is_some_and(|before| before != lead) {
        watch.problem(format!("submission {number} was answered with another lead"));
    }
    true
}

fn body(number: usize, person: u64, submission: &Submission, own_id: bool) -> Value {
    let mut body = crate::world::lead_body();
    body["name"] = json!(format!("{NAME}{number}"));
    body["email"] = json!(submission.email);
    body["leadId"] = if own_id {
        json!(format!("6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b{person:02x}"))
    } else {
        Value::Null
    };
    match submission.consent {
        None => drop(body.as_object_mut().unwrap().remove("consent")),
        Some((marketing, analytics)) => {
            body["consent"] =
                json!({"marketing": marketing, "analytics": analytics, "policyVersion": "1"});
        }
    }
    body
}
