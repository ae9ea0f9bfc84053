//! What happens in a simulation, as it is drawn: people submit and repeat forms, book and cancel calls,
//! pay, and revoke consent; providers fail, workers drain, rings are lost.
//!
//! Owns the order of events, and what providers, workers and the platform do. What people do is in
//! `forms.rs`, `calendar.rs`, `payments.rs` and `messages.rs`, what tools report in `reports.rs`. It must
//! not know what must hold.

mod calendar;
mod forms;
mod messages;
mod payments;
mod reports;
mod requests;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use funil_core::clock::after;
use funil_core::contact::consent::Purpose;
use funil_core::destination::{self, Destination};
use funil_core::id::LeadId;
use funil_delivery::Patience;
use funil_dev::server::front_door;
use funil_dev::simulated::Behaviour;
use funil_store::{DeliveryKey, key_time};
use http::{HeaderMap, Method};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::system::System;
use crate::world::SERVICE_TOKEN;

pub(super) use calendar::Appointment;
pub(super) use payments::Charge;
pub(super) use reports::sends_samples;
pub(super) use requests::Sent;

/// How many gaps of a day a simulation may have. A delivery to GA4 is given up after 72 h, so outages
/// have to be shorter.
const DAYS_MAX: u64 = 2;
/// How often credentials may expire at one provider. A delivery that meets a third one is given up,
/// as it should be.
const EXPIRIES_MAX: u32 = 2;
/// How many deliveries that are running out of time are worked on in one gap.
const STOPS_MAX: usize = 12;
/// How often the platform's schedule runs.
const SCHEDULE: Duration = Duration::from_mins(1);
/// How often deliveries that are running out of time are looked for, in seconds.
const LOOK_S: i64 = 600;
/// How often everything that was not accepted is sent again once all is well.
const ROUNDS_MAX: usize = 20;
/// In a gap of at least this many milliseconds, the schedule is at work.
const SCHEDULED_FROM_MS: u64 = 60_000;

/// The registry of destinations, in its order.
fn destinations() -> &'static [&'static Destination] {
    destination::ALL
}

/// The run of a seed, under way.
pub(super) struct Life {
    system: Arc<System>,
    tasks: JoinSet<()>,
    days: u64,
    /// How often the credentials of each destination expired.
    expiries: Vec<u32>,
    /// The places of the forms in the outbox.
    forms: Vec<usize>,
    /// The places of the questionnaires in the outbox.
    questionnaires: Vec<usize>,
    /// The sequences that were planned by hand: place in the outbox, lead, booking.
    by_hand: Vec<(usize, String, String)>,
    /// For how many WhatsApp messages the status updates were drawn.
    messages_drawn: usize,
}

impl Life {
    /// A run on this system, in which nothing has happened.
    pub(super) fn of(system: &Arc<System>) -> Self {
        Self {
            system: Arc::clone(system),
            tasks: JoinSet::new(),
            days: 0,
            expiries: vec![0; destinations().len()],
            forms: Vec::new(),
            questionnaires: Vec::new(),
            by_hand: Vec::new(),
            messages_drawn: 0,
        }
    }

    /// Runs the simulation.
    pub(super) async fn run(&mut self, steps: u64) {
        self.send_samples();
        for _ in 0..steps {
            self.step().await;
            self.follow_rings();
            self.send_status_updates();
            self.gap().await;
        }
        self.calm().await;
    }

    async fn step(&mut self) {
        let system = Arc::clone(&self.system);
        match system.chance.below(54) {
            0..=7 => self.submit(),
            8 | 9 => self.answer_questionnaire(),
            10..=12 => self.book(),
            13 => self.shift(),
            14 => self.cancel(),
            15 => self.miss(),
            16 | 17 => self.write(),
            18 => self.plan_by_hand(),
            19..=21 => self.change_a_provider(),
            22..=29 => self.sweep(),
            30 | 31 => self.ring_one(),
            32 => self.stream(),
            33 | 34 => self.schedule(),
            35 => self.revoke().await,
            36 => self.leave(),
            37 | 38 => self.change_the_weather(),
            39 | 40 => self.pay(),
            41 => self.refund(),
            42 => self.dispute(),
            43..=45 => self.write_to_the_site(),
            46 | 47 => self.visit(),
            48 | 49 => self.deal(),
            50..=52 => self.report_crm_leads(),
            _ => self.look(),
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
        self.pass(1 + ms).await;
    }

    /// Lets time pass. A delivery that would be too late at the end is worked on when it is due, as the
    /// schedule would do each minute.
    async fn pass(&mut self, ms: u64) {
        let system = Arc::clone(&self.system);
        let later = |from: Timestamp, ms: u64| {
            let ms = i64::try_from(ms).unwrap();
            Timestamp::from_millisecond(from.as_millisecond() + ms).unwrap()
        };
        let until = later(system.now(), ms);
        let wait = |to: Timestamp| {
            let ms = to.as_millisecond() - system.now().as_millisecond();
            Duration::from_millis(u64::try_from(ms).unwrap_or(0))
        };
        let mut stops = 0;
        while ms >= SCHEDULED_FROM_MS && system.now() < until {
            // What is due now was worked on already, or is within a minute.
            let soon = after(system.now(), 60);
            let next = {
                let watch = system.watch.lock().unwrap();
                watch.last_chance(&key_time(soon), &key_time(until))
            };
            // Deliveries that are planned in the meantime have to be found, too.
            let look = after(system.now(), LOOK_S).min(until);
            let next = next.map(|(at, sk)| (later(at.parse().unwrap(), 1_000), sk));
            let Some((at, sk)) = next.filter(|(at, _)| *at < look && stops < STOPS_MAX) else {
                tokio::time::sleep(wait(look)).await;
                continue;
            };
            tokio::time::sleep(wait(at)).await;
            let name = funil_store::destination_of(&sk).unwrap_or_default();
            let place = destinations().iter().position(|one| one.name == name).unwrap();
            self.drain(place, Patience::None);
            if system.chance.once_in(3) {
                self.cancel_meanwhile(&sk);
            }
            stops += 1;
        }
        tokio::time::sleep(wait(until)).await;
    }

    fn change_a_provider(&mut self) {
        let chance = &self.system.chance;
        let at = chance.index(destinations().len());
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
        let (name, well) = (destinations()[at].name, behaviour == Behaviour::Normal);
        self.system.watch.lock().unwrap().behaves(name, &behaviour.to_string(), well);
        self.system.front.providers.behave(name, behaviour);
    }

    /// One or two processes drain one destination, or every destination.
    fn sweep(&mut self) {
        let chance = self.system.chance.clone();
        let all = chance.once_in(3);
        let only = chance.index(destinations().len());
        for _ in 0..=chance.index(2) {
            for at in 0..destinations().len() {
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
            drop(process.run(process.workers[at].drain(patience, stop_at)).await);
        });
    }

    /// Delivers what a ring names.
    fn deliver_named(&mut self, at: usize, ring: &Value) {
        let system = &self.system;
        let process = Arc::clone(&system.workers[system.chance.index(system.workers.len())]);
        let keys = ring["deliveries"].as_array().unwrap().iter();
        let keys: Vec<DeliveryKey> =
            keys.map(|key| DeliveryKey::from_text(key.as_str().unwrap()).unwrap()).collect();
        self.tasks.spawn(async move {
            let stop_at = process.stop_at();
            drop(process.run(process.workers[at].deliver_named(&keys, stop_at)).await);
        });
    }

    /// Delivers one delivery, due or not.
    fn ring_one(&mut self) {
        let system = Arc::clone(&self.system);
        let stream = system.watch.lock().unwrap().stream.clone();
        if stream.is_empty() {
            return;
        }
        let (pk, sk, ..) = system.chance.of(&stream);
        let name = funil_store::destination_of(&sk).unwrap_or_default();
        let at = destinations().iter().position(|destination| destination.name == name);
        let Some(at) = at else { return };
        let lead_id = LeadId::parse(pk.trim_start_matches("LEAD#")).unwrap();
        let key = DeliveryKey { lead_id, sk };
        for _ in 0..=system.chance.index(2) {
            let process = Arc::clone(&system.workers[system.chance.index(system.workers.len())]);
            let key = key.clone();
            self.tasks.spawn(async move {
                let stop_at = process.stop_at();
                drop(process.run(process.workers[at].deliver_now(&[key], stop_at)).await);
            });
        }
    }

    /// Some records of the stream reach `dispatch`: late, in no order, some twice, some never.
    fn stream(&mut self) {
        let system = Arc::clone(&self.system);
        let stream = system.watch.lock().unwrap().stream.clone();
        if stream.is_empty() {
            return;
        }
        let records = (0..=system.chance.index(5)).map(|_| {
            let (pk, sk, due, at_once) = system.chance.of(&stream);
            let mut image = json!({"type": {"S": "delivery"}, "due_sk": {"S": due}});
            if at_once {
                image["at_once"] = json!({"BOOL": true});
            }
            json!({
                "eventSource": "aws:dynamodb",
                "eventName": "INSERT",
                "dynamodb": {
                    "SequenceNumber": "1",
                    "Keys": {"pk": {"S": pk}, "sk": {"S": sk}},
                    "NewImage": image,
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
            let dispatch = process.function("dispatch");
            drop(process.run(dispatch.invoke(event, process.stop_at())).await);
        });
    }

    /// The rings so far reach their functions: most of them once, some twice, some never.
    fn follow_rings(&mut self) {
        let system = Arc::clone(&self.system);
        let Ok(mut rung) = system.rung.try_lock() else { return };
        while let Ok((function, body)) = rung.try_recv() {
            let times = system.chance.of(&[0, 1, 1, 1, 2]);
            let at = destinations().iter().position(|destination| destination.function == function);
            for _ in 0..times {
                match at {
                    Some(at) if body["deliveries"].is_array() => self.deliver_named(at, &body),
                    Some(at) => self.drain(at, Patience::Waits),
                    // An intake rings `dispatch`, whose own rings are followed later.
                    None if body["deliveries"].is_array() => self.dispatch(body.clone()),
                    None if system.chance.once_in(4) => self.schedule(),
                    None => {}
                }
            }
        }
    }

    /// Somebody revokes, through a provider, what they had agreed to.
    async fn revoke(&mut self) {
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

    /// Somebody unsubscribes at `MailerLite`.
    fn leave(&mut self) {
        let system = Arc::clone(&self.system);
        let email = format!("somebody{}@example.com", system.chance.below(5));
        if system.chance.once_in(2) && system.front.providers.set_status(&email, "unsubscribed") {
            let mut watch = system.watch.lock().unwrap();
            watch.note(&format!("{email} unsubscribes"));
            watch.left.insert(email.clone());
            drop(watch);
            self.subscriber_report("unsubscribed", &email);
        } else {
            let event =
                system.chance.of(&["updated", "added_to_group", "deleted", "spam_reported"]);
            self.subscriber_report(event, &email);
        }
    }

    fn change_the_weather(&mut self) {
        let chance = &self.system.chance;
        let weather = &self.system.front.weather;
        weather.table.store(chance.of(&[0, 0, 300, 60, 15]), Ordering::Relaxed);
        weather.crash.store(chance.of(&[0, 0, 200, 60, 25]), Ordering::Relaxed);
        weather.slow.store(chance.of(&[0, 100, 20]), Ordering::Relaxed);
        weather.deaths_left.store(4, Ordering::Relaxed);
    }

    /// A monitor reads `health` and `metrics`.
    fn look(&mut self) {
        for name in ["health", "metrics"] {
            let system = Arc::clone(&self.system);
            let process = Arc::clone(&system.intakes[0]);
            self.tasks.spawn(async move {
                let caller: IpAddr = "198.51.100.251".parse().unwrap();
                let mut headers = HeaderMap::new();
                let token = format!("Bearer {SERVICE_TOKEN}");
                headers.insert("authorization", token.parse().unwrap());
                let path = format!("/{name}");
                let event = front_door::event(&Method::GET, &path, "", &headers, b"", caller);
                let function = process.function(name);
                let response = process.run(function.invoke(event, process.stop_at())).await;
                let Some(response) = response else { return };
                let (status, _, _) = front_door::response(&response);
                let mut watch = system.watch.lock().unwrap();
                watch.note(&format!("{name} gets {status}"));
                if !matches!(status.as_u16(), 200 | 503) {
                    watch.problem(format!("{name} responded with {status}"));
                }
            });
        }
    }

    /// Everything works again: what is under way ends, what was not accepted is sent again, and the
    /// schedule goes on until nothing is open. Then the last calls are over, and some people did not
    /// come to theirs.
    async fn calm(&mut self) {
        let system = Arc::clone(&self.system);
        system.watch.lock().unwrap().note("everything works again");
        let weather = &system.front.weather;
        for level in [&weather.table, &weather.crash, &weather.slow] {
            level.store(0, Ordering::Relaxed);
        }
        for destination in destinations() {
            system.watch.lock().unwrap().behaves(destination.name, "normal", true);
            system.front.providers.behave(destination.name, Behaviour::Normal);
        }
        system.front.providers.release_hung();
        self.until_everything_is_accepted().await;
        self.until_nothing_is_open().await;
        for _ in 0..3 {
            self.miss();
            self.until_everything_is_accepted().await;
            self.until_nothing_is_open().await;
        }
        self.send_status_updates();
        self.until_everything_is_accepted().await;
        self.until_nothing_is_open().await;
    }

    /// Waits until what is under way ends, and sends what was not accepted until it is.
    async fn until_everything_is_accepted(&mut self) {
        let system = Arc::clone(&self.system);
        for _ in 0..ROUNDS_MAX {
            while !self.tasks.is_empty() {
                match tokio::time::timeout(SCHEDULE, self.tasks.join_next()).await {
                    Ok(ended) => drop(ended.map(Result::unwrap)),
                    Err(_) => self.work_on_what_is_due().await,
                }
            }
            let count = system.outbox.lock().unwrap().len();
            for number in 0..count {
                if !system.outbox.lock().unwrap()[number].accepted {
                    requests::attempt(&system, &system.owner, number).await;
                }
            }
            if system.outbox.lock().unwrap().iter().all(|sent| sent.accepted) {
                return;
            }
            // A status update may be rejected while a worker holds its delivery.
            tokio::time::sleep(Duration::from_secs(20)).await;
            self.work_on_what_is_due().await;
        }
        let outbox = system.outbox.lock().unwrap();
        let mut watch = system.watch.lock().unwrap();
        for (number, sent) in outbox.iter().enumerate().filter(|(_, sent)| !sent.accepted) {
            watch.problem(format!(
                "request {number}, {}, is rejected though everything works",
                sent.what()
            ));
        }
    }

    /// Does what the schedule does each minute: drains whatever is due.
    async fn work_on_what_is_due(&self) {
        let owner = &self.system.owner;
        let due = self.system.watch.lock().unwrap().due_at(&key_time(self.system.now()));
        for name in due {
            let at = destinations().iter().position(|one| one.name == name).unwrap();
            owner.workers[at].drain(Patience::None, owner.stop_at()).await.unwrap();
        }
    }

    async fn until_nothing_is_open(&mut self) {
        let system = Arc::clone(&self.system);
        let end = "9999-01-01T00:00:00Z".parse().unwrap();
        for _ in 0..400 {
            system.store.look_at_shards().await.unwrap();
            let mut next = None;
            for (at, destination) in destinations().iter().enumerate() {
                let due = system.store.due(destination.name, end, 1).await.unwrap();
                let Some(first) = due.first() else { continue };
                if first.due_at <= system.now() {
                    if system.chance.once_in(4) {
                        self.cancel_meanwhile(&first.key.sk);
                    }
                    let worker = &system.owner.workers[at];
                    worker.drain(Patience::None, system.owner.stop_at()).await.unwrap();
                    next = Some(system.now());
                } else {
                    next = Some(next.map_or(first.due_at, |next| first.due_at.min(next)));
                }
            }
            let Some(next) = next else { return };
            // An open breaker, a probe or a rate limit may still delay what is due, so at least 20 s
            // pass.
            let wait = next.duration_since(system.now()).as_millis().max(20_000);
            tokio::time::sleep(Duration::from_millis(u64::try_from(wait).unwrap() + 1)).await;
        }
        system.watch.lock().unwrap().problem("something stays open for ever".to_owned());
    }
}
