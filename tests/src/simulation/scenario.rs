//! Scenarios: a campaign's spike, a provider's bad hour, and both at once, in simulated time, under the
//! limits of AWS scaled down.
//!
//! Owns what each scenario is. The table's limits are in `table_limits.rs`, what else AWS limits in
//! `lambda.rs`, the providers' troubles in `front.rs`. Nothing here is drawn but delays: what goes wrong is
//! what the scenario says. It must not know how anything is delivered.

mod front;
mod lambda;
mod people;
mod report;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use funil_core::destination::{self, Destination};
use funil_core::hash::HashKey;
use funil_core::settings::Env;
use funil_dev::emulator::Embedded;
use funil_store::{AwsConfig, Platform, Store, Stream, TablePatience};
use http::HeaderValue;
use tokio::net::UnixListener;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::chance::Chance;
use super::quiet::Quiet;
use super::system::{SkewedClock, client, providers, region_of_its_own};
use crate::table_limits::Limits;
use crate::world::{HASH_KEY, destinations_of_forms, environment};
use front::Front;
use lambda::Lambda;

pub use report::Report;

/// What AWS gives: the table's limits, and the account's.
mod aws {
    use std::time::Duration;

    /// Write units a second under one key (DynamoDB Developer Guide, "Best practices for partition keys").
    pub(super) const KEY_WRITES: f64 = 1_000.0;
    /// Read units a second under one key, from the same page.
    pub(super) const KEY_READS: f64 = 3_000.0;
    /// Write units a second of a new on-demand table (Developer Guide, "On-demand capacity mode").
    pub(super) const NEW_TABLE_WRITES: f64 = 4_000.0;
    /// The default quota of a table (Developer Guide, "Quotas").
    pub(super) const TABLE_WRITES: f64 = 40_000.0;
    /// Executions side by side of an account (Lambda Developer Guide, "Lambda quotas").
    pub(super) const CONCURRENCY: f64 = 1_000.0;
    /// How far an index lags behind; AWS only says "within a fraction of a second".
    pub(super) const INDEX_LAGS: Duration = Duration::from_millis(100);
}

/// Executions side by side that we reserve for each delivery function that is deployed, and at most give it.
const RESERVED: f64 = 80.0;
/// Write units a second of a table whose quota was raised.
const RAISED_TABLE_WRITES: f64 = 200_000.0;
/// The most simulated time after the last form.
const HORIZON: Duration = Duration::from_hours(15 * 24);

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// 1,000 leads a second for ten minutes, on a table with the default quota.
    Campaign,
    /// The same on a table that nobody warmed.
    CampaignOnNewTable,
    /// 2,000 leads a second for a minute, on a table whose quota was raised so far that only its keys limit.
    CampaignOnRaisedTable,
    /// 50 leads a second for 70 minutes. The CRM is down for 60 of them, and one request to Segment in a
    /// hundred takes 9 s.
    BadHour,
    /// The campaign, with the CRM down from the first minute on for ten, Segment's tail, and MailerLite at
    /// its own rate.
    BlackFriday,
}

impl Scenario {
    /// Every scenario.
    pub const ALL: [Self; 5] = [
        Self::BlackFriday,
        Self::Campaign,
        Self::CampaignOnNewTable,
        Self::CampaignOnRaisedTable,
        Self::BadHour,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Campaign => "campaign",
            Self::CampaignOnNewTable => "campaign-on-new-table",
            Self::CampaignOnRaisedTable => "campaign-on-raised-table",
            Self::BadHour => "bad-hour",
            Self::BlackFriday => "black-friday",
        }
    }
}

/// How much smaller a run is than the scenario.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// The share of AWS's limits, of the leads and of MailerLite's rate.
    pub scale: f64,
    /// The share of the time that it lasts.
    pub lasts: f64,
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// How many people have sent their form.
    pub sent: usize,
    /// How many people will send one in the whole run.
    pub people: usize,
    /// How many deliveries are open.
    pub open: usize,
    /// The simulated time so far.
    pub time: Duration,
}

/// What a run does.
#[derive(Clone, Debug)]
struct Plan {
    leads_a_second: f64,
    lasts: Duration,
    limits: Limits,
    concurrency: usize,
    reserved: usize,
    stream_shards: usize,
    /// A destination that is down, with from when and until when.
    down: Option<(&'static str, Duration, Duration)>,
    /// A destination of which one request in a hundred takes 9 s.
    tail: Option<&'static str>,
    mailerlite_per_minute: f64,
}

impl Plan {
    fn of(scenario: Scenario, size: Size) -> Self {
        let Size { scale, lasts } = size;
        let minutes = |minutes: f64| Duration::from_secs_f64(minutes * 60.0 * lasts);
        let table_writes = match scenario {
            Scenario::CampaignOnNewTable => aws::NEW_TABLE_WRITES,
            Scenario::CampaignOnRaisedTable => RAISED_TABLE_WRITES,
            Scenario::Campaign | Scenario::BadHour | Scenario::BlackFriday => aws::TABLE_WRITES,
        };
        let (leads_a_second, of_minutes) = match scenario {
            Scenario::BadHour => (50.0, 70.0),
            Scenario::CampaignOnRaisedTable => (2_000.0, 1.0),
            Scenario::Campaign | Scenario::CampaignOnNewTable | Scenario::BlackFriday => {
                (1_000.0, 10.0)
            }
        };
        let down = match scenario {
            Scenario::BadHour => Some(("crm", minutes(5.0), minutes(65.0))),
            Scenario::BlackFriday => Some(("crm", minutes(1.0), minutes(11.0))),
            Scenario::Campaign | Scenario::CampaignOnNewTable | Scenario::CampaignOnRaisedTable => {
                None
            }
        };
        let tail = down.map(|_| "segment");
        // Far above what the scenario needs, where MailerLite's rate is not what it is about.
        let mailerlite_per_minute =
            if scenario == Scenario::BlackFriday { 120.0 * scale } else { 1_000_000.0 };
        let whole = |count: f64| format!("{:.0}", count.max(4.0)).parse().unwrap();
        Self {
            leads_a_second: leads_a_second * scale,
            lasts: minutes(of_minutes),
            limits: Limits {
                key_writes: aws::KEY_WRITES * scale,
                key_reads: aws::KEY_READS * scale,
                table_writes: table_writes * scale,
                index_lags: aws::INDEX_LAGS,
            },
            concurrency: whole(aws::CONCURRENCY * scale),
            reserved: whole(RESERVED * scale),
            // A stream has a shard for each partition of the table, which takes 1,000 units a second.
            stream_shards: whole(table_writes / aws::KEY_WRITES * scale),
            down,
            tail,
            mailerlite_per_minute,
        }
    }

    fn people(&self) -> usize {
        format!("{:.0}", self.leads_a_second * self.lasts.as_secs_f64()).parse().unwrap()
    }

    /// When everything is as it should be again: the last form was sent and the outage is over.
    fn is_over(&self) -> Duration {
        self.down.map_or(self.lasts, |(.., until)| until.max(self.lasts))
    }
}

/// The destinations that get something of a form.
fn destinations() -> impl Iterator<Item = &'static Destination> {
    let names = destinations_of_forms();
    let all = destination::ALL.iter().copied();
    all.filter(move |one| names.split(',').any(|name| name == one.name))
}

/// Runs a scenario. `pause` has to start the runtime with its time paused, which only tests and examples
/// may; `progress` is called every ten seconds of simulated time.
pub fn run(
    scenario: Scenario,
    size: Size,
    pause: &dyn Fn(&mut Builder),
    progress: &dyn Fn(Progress),
) -> Report {
    let quiet = Quiet::default();
    let runtime = quiet.runtime(pause);
    runtime.block_on(Box::pin(play(scenario, Plan::of(scenario, size), quiet, progress)))
}

async fn play(scenario: Scenario, plan: Plan, quiet: Quiet, progress: &dyn Fn(Progress)) -> Report {
    let really = std::time::Instant::now();
    // The SDK draws its retries' delays from the thread's generator.
    fastrand::seed(1);
    let (chance, begun) = (Chance::of_seed(1), Instant::now());
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let (queue, queued) = mpsc::unbounded_channel();
    let emulator = Embedded::memory().unwrap();
    let front =
        Front::new(emulator, providers(begun), chance.clone(), quiet, plan.clone(), begun, queue);
    Arc::clone(&front).listen(UnixListener::bind(&socket).unwrap());

    let variables = variables(&plan);
    let platform = move |function: &'static str| Platform {
        clock: Arc::new(SkewedClock { begun, skew_ms: 0 }),
        entropy: Arc::new(Chance::of_seed(chance.next())),
        http: client(&socket, HeaderValue::from_static(function)),
        table_patience: TablePatience::default(),
        totals: Arc::default(),
    };
    let env: Env = variables.clone().into_iter().collect();
    let aws = AwsConfig::read(&mut env.settings()).unwrap();
    let store = Store::connect(&aws, "funil", &platform(front::OF_CHECKER));
    store.create_table(&HashKey::new(HASH_KEY).unwrap(), Stream::Off).await.unwrap();

    let make = move |name: &'static str| {
        let mut variables = variables.clone();
        // The SDK keeps one budget of retries for each region in a real process.
        variables.insert("AWS_REGION".to_owned(), region_of_its_own());
        (platform(name), variables.into_iter().collect())
    };
    let lambda = Lambda::new(&plan, Box::new(make));
    lambda.follow(&front, queued);
    let people = people::send_forms(&lambda, &plan, begun);
    tokio::pin!(people);
    let sent = loop {
        tokio::select! {
            biased;
            sent = &mut people => break sent,
            () = tokio::time::sleep(Duration::from_secs(10)) => {
                let sent = begun.elapsed().div_duration_f64(plan.lasts).min(1.0);
                let sent = sent * f64::from(u32::try_from(plan.people()).unwrap());
                progress(Progress {
                    sent: format!("{sent:.0}").parse().unwrap(),
                    people: plan.people(),
                    open: front.open_deliveries(),
                    time: begun.elapsed(),
                });
            }
        }
    };
    while front.open_deliveries() > 0 && begun.elapsed() < plan.is_over() + HORIZON {
        tokio::time::sleep(Duration::from_secs(10)).await;
        progress(Progress {
            sent: sent.len(),
            people: sent.len(),
            open: front.open_deliveries(),
            time: begun.elapsed(),
        });
    }
    report::of(scenario, &plan, &sent, (&front, &lambda, &store), begun, really.elapsed()).await
}

/// The variables of every function.
fn variables(plan: &Plan) -> BTreeMap<String, String> {
    let address = "127.0.0.1:80".parse().unwrap();
    let mut variables = environment("funil", "http://127.0.0.1:80", address);
    variables.remove("DOORBELL_URL");
    let destinations = destinations_of_forms();
    let per_minute = format!("{:.0}", plan.mailerlite_per_minute.max(6.0));
    for (name, value) in [
        ("DESTINATIONS", &*destinations),
        ("DOORBELL_FUNCTION_PREFIX", lambda::PREFIX),
        ("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:80"),
        ("RINGS", "stream"),
        ("DUE_SHARDS", "16"),
        ("MAILERLITE_REQUESTS_PER_MINUTE", &per_minute),
    ] {
        variables.insert(name.to_owned(), value.to_owned());
    }
    variables
}
