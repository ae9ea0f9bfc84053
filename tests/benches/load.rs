//! What one destination's workers do under load: a backlog, a provider with a slow tail, a closed gate,
//! and many rings at once. In real time, with the real store, worker and HTTP client.
//!
//! `cargo bench --profile dist -p funil-tests --bench load [-- <name>]`

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::future::IntoFuture as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::post;
use funil_core::clock::after;
use funil_core::id::LeadId;
use funil_delivery::{Patience, Worker};
use funil_dev::functions;
use funil_dev::server::front_door;
use funil_lambda::Function;
use funil_store::{DeliveryKey, Platform};
use funil_tests::proxy::Proxy;
use funil_tests::table_limits::Limits;
use funil_tests::world::{World, lead_body};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::{HeaderMap, HeaderValue, Method};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// How long the provider usually takes for a response.
const USUAL: Duration = Duration::from_millis(50);
/// How long it takes for those of its tail.
const TAIL: Duration = Duration::from_secs(9);

#[tokio::main]
async fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let is_wanted = |name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
    if is_wanted("closed") {
        closed_gate().await;
    }
    if is_wanted("throughput") {
        for (destination, requests, due) in [("segment", 1, 2_000), ("crm", 2, 2_000)] {
            throughput(destination, requests, due, None).await;
        }
    }
    if is_wanted("tail") {
        for one_in in [None, Some(500), Some(100)] {
            throughput("crm", 2, 4_000, one_in).await;
        }
    }
    if is_wanted("rings") {
        for rings in [1, 4, 10] {
            many_rings(rings).await;
        }
    }
    if is_wanted("healthy") {
        for rings in ["none", "http", "stream"] {
            healthy(rings).await;
        }
    }
    if is_wanted("pressure") {
        for shards in ["1", "16"] {
            pressure(shards).await;
        }
    }
    if is_wanted("limiter") {
        Box::pin(limiter()).await;
    }
    if is_wanted("mailerlite") {
        mailerlite().await;
    }
    if is_wanted("visits") {
        visits().await;
    }
    if is_wanted("history") {
        for earlier in [0, 400] {
            history(earlier).await;
        }
    }
}

/// A system in real time: its table, and functions and workers with the real clock.
struct Live {
    world: World,
    platform: Platform,
    functions: Vec<Function>,
    overrides: Vec<(String, String)>,
}

impl Live {
    async fn start(variables: &[(&str, &str)]) -> Self {
        let mut plan = World::plan();
        for (name, value) in variables {
            plan = plan.with(name, value);
        }
        let world = plan.start().await;
        let platform = funil_lambda::platform();
        let functions = functions::all(&world.env(&[]), &platform).unwrap();
        Self { world, platform, functions, overrides: Vec::new() }
    }

    fn now(&self) -> Timestamp {
        self.platform.clock.now()
    }

    fn worker(&self, destination: &str) -> Worker {
        let overrides: Vec<(&str, &str)> =
            self.overrides.iter().map(|(name, value)| (&**name, &**value)).collect();
        let connector = funil_core::destination::connector(destination).unwrap();
        Worker::connect(connector, &self.world.env(&overrides), &self.platform).unwrap()
    }

    /// Accepts the form of another person for each number.
    async fn submit(&self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            let mut body = lead_body();
            body["leadId"] = Value::Null;
            body["email"] = json!(format!("somebody{number}@example.com"));
            self.post(number, &body).await;
        }
    }

    async fn post(&self, number: usize, body: &Value) {
        assert_eq!(self.status_of(number, body).await, 200);
    }

    /// The status of the response to a form.
    async fn status_of(&self, number: usize, body: &Value) -> i64 {
        let caller = format!("10.{}.{}.{}", number / 65_536, number / 256 % 256, number % 256);
        let caller: IpAddr = caller.parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        let body = body.to_string();
        let path = "/lead-submit";
        let event = front_door::event(&Method::POST, path, "", &headers, body.as_bytes(), caller);
        let function = self.functions.iter().find(|one| one.name == "lead-submit").unwrap();
        let response = function.invoke(event, after(self.now(), 60)).await;
        response["statusCode"].as_i64().unwrap()
    }

    /// Reports an event of a page: one in four comes from a robot, the others from a thousand addresses.
    async fn visit(&self, number: usize) {
        let caller: IpAddr =
            format!("10.0.{}.{}", number % 1000 / 250, number % 250).parse().unwrap();
        let agent = if number.is_multiple_of(4) {
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
        } else {
            "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"
        };
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("text/plain"));
        headers.insert("user-agent", HeaderValue::from_static(agent));
        let body = json!({
            "event": "page_view", "client_id": format!("{number}.1767225600"), "session_id": "1767225600",
            "page_location": "https://www.example.com/lp?utm_source=instagram", "page_title": "Seja Livre",
            "consent": {"analytics_storage": "granted", "ad_user_data": "denied"},
        });
        let body = body.to_string();
        let event =
            front_door::event(&Method::POST, "/ga4-collect", "", &headers, body.as_bytes(), caller);
        let function = self.functions.iter().find(|one| one.name == "ga4-collect").unwrap();
        let response = function.invoke(event, after(self.now(), 60)).await;
        assert_eq!(response["statusCode"], 200, "{response}");
    }

    /// Drains as a function does that was rung, and returns what was settled and how long it took.
    async fn ring(&self, destination: &str) -> (usize, Duration) {
        let worker = self.worker(destination);
        let started = Instant::now();
        let drained = worker.drain(Patience::Waits, after(self.now(), 60)).await.unwrap();
        (drained.settled, started.elapsed())
    }

    /// Ends without looking at what is left.
    fn forget(self) {
        std::mem::forget(self.world);
    }
}

/// A provider that accepts everything, after 50 ms or, one request in `one_in`, after 9 s.
async fn provider(one_in: Option<usize>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (received, responded) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&responded);
    let response = move || {
        let number = received.fetch_add(1, Ordering::Relaxed);
        let responded = Arc::clone(&responded);
        async move {
            let is_slow = one_in.is_some_and(|one_in| number % one_in == one_in / 2);
            tokio::time::sleep(if is_slow { TAIL } else { USUAL }).await;
            responded.fetch_add(1, Ordering::Relaxed);
            r#"{"success":true,"id":"1"}"#
        }
    };
    tokio::spawn(axum::serve(listener, Router::new().fallback(response)).into_future());
    (url, counted)
}

/// How long a ring takes that finds the breaker open, or the rate used up.
async fn closed_gate() {
    let live = Live::start(&[("DESTINATIONS", "crm")]).await;
    live.submit(0..50).await;
    live.world.store.open_breaker("crm", (0, "http_503"), 600, live.now()).await.unwrap();
    let (settled, took) = live.ring("crm").await;
    println!("closed: the breaker is open, 50 due: {settled} settled in {took:.2?}");
    live.forget();

    let (url, _) = provider(None).await;
    let variables =
        [("DESTINATIONS", "crm"), ("CRM_BASE_URL", &*url), ("CRM_REQUESTS_PER_MINUTE", "10")];
    let live = Live::start(&variables).await;
    live.submit(0..20).await;
    let (settled, took) = live.ring("crm").await;
    println!("closed: 10 requests a minute, 20 due, first ring: {settled} settled in {took:.2?}");
    let (settled, took) = live.ring("crm").await;
    println!("closed: 10 requests a minute, used up, second ring: {settled} settled in {took:.2?}");
    live.forget();
}

/// How many deliveries one worker makes in a second, until nearly all are made.
async fn throughput(destination: &str, requests: usize, due: usize, one_in: Option<usize>) {
    let (url, responded) = provider(one_in).await;
    let base = format!("{}_BASE_URL", destination.to_uppercase());
    let live = Live::start(&[("DESTINATIONS", destination), (&base, &url)]).await;
    live.submit(0..due).await;
    let worker = live.worker(destination);
    let stop_at = after(live.now(), 600);
    let started = Instant::now();
    let drain = tokio::spawn(async move { worker.drain(Patience::None, stop_at).await });
    let nearly_all = due * requests * 95 / 100;
    while responded.load(Ordering::Relaxed) < nearly_all {
        assert!(!drain.is_finished(), "the drain ended early");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let took = started.elapsed();
    let made = f64::from(u32::try_from(due * 95 / 100).unwrap());
    let tail = one_in
        .map_or("no tail".to_owned(), |one_in| format!("one request in {one_in} takes {TAIL:?}"));
    println!(
        "throughput: one worker, {requests} requests of {USUAL:?} a delivery, {tail}: {:.0} deliveries a second",
        made / took.as_secs_f64()
    );
    drop(drain.await);
    live.forget();
}

/// How often workers that were rung at once refuse each other a claim.
async fn many_rings(rings: usize) {
    const DUE: usize = 1_000;
    let (url, _) = provider(None).await;
    let (proxy, table) = Proxy::start().await;
    let mut live = Live::start(&[("DESTINATIONS", "segment"), ("SEGMENT_BASE_URL", &url)]).await;
    live.submit(0..DUE).await;
    live.overrides.push(("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), table));
    proxy.take();
    let all = (0..rings).map(|_| live.ring("segment"));
    let started = Instant::now();
    let ended = futures::future::join_all(all).await;
    let took = started.elapsed();
    let settled: usize = ended.iter().map(|(settled, _)| settled).sum();
    let losers: Vec<String> = ended
        .iter()
        .filter(|(settled, _)| *settled == 0)
        .map(|(_, took)| format!("{took:.2?}"))
        .collect();
    let bill = proxy.take();
    println!(
        "rings: {rings} on {DUE} due: {settled} settled in {took:.2?}, {:.2} refused writes a delivery; \
         rings that settled nothing took {losers:?}",
        f64::from(bill.refused) / f64::from(u32::try_from(DUE).unwrap())
    );
    live.forget();
}

/// What forms and deliveries get of a table whose keys take 200 units a second: 150 forms a second for ten
/// seconds, with rings that name the deliveries.
async fn pressure(shards: &str) {
    const FORMS: usize = 1_500;
    const UNITS: f64 = 200.0;
    let (url, _) = provider(None).await;
    let (proxy, table) = Proxy::start().await;
    let variables = [
        ("DESTINATIONS", "segment"),
        ("SEGMENT_BASE_URL", &*url),
        ("RINGS", "stream"),
        ("DUE_SHARDS", shards),
        ("AWS_ENDPOINT_URL_DYNAMODB", &*table),
    ];
    let live = Live::start(&variables).await;
    proxy.limit(Limits::of_keys(UNITS));
    let started = Instant::now();
    let (worker, mut refused, mut slowest) = (live.worker("segment"), 0, Duration::ZERO);
    let accepted = AtomicUsize::new(0);
    let forms = async {
        let posts = (0..FORMS).map(|number| {
            let (live, accepted) = (&live, &accepted);
            async move {
                let at = Duration::from_secs(10) * u32::try_from(number).unwrap()
                    / u32::try_from(FORMS).unwrap();
                tokio::time::sleep(at.saturating_sub(started.elapsed())).await;
                let begun = Instant::now();
                let mut body = lead_body();
                body["leadId"] = json!(format!("6f1c2f5e-0b0a-4d3e-9a53-{number:012x}"));
                body["email"] = json!(format!("somebody{number}@example.com"));
                // One number of all would be one key of the table.
                body["phone"] = json!(format!("(11) 98765-{number:04}"));
                let status = live.status_of(number, &body).await;
                if status == 200 {
                    accepted.fetch_add(1, Ordering::Relaxed);
                    let lead = LeadId::parse(body["leadId"].as_str().unwrap()).unwrap();
                    let named = live.world.store.deliveries_of(lead, "segment").await.unwrap();
                    let key = DeliveryKey::from(&named[0]);
                    return (status, begun.elapsed(), Some(key));
                }
                (status, begun.elapsed(), None)
            }
        });
        let mut ended: FuturesUnordered<_> = posts.collect();
        let mut rings = FuturesUnordered::new();
        let mut keys = Vec::new();
        loop {
            tokio::select! {
                Some((status, took, key)) = ended.next() => {
                    refused += usize::from(status != 200);
                    slowest = slowest.max(took);
                    keys.extend(key);
                    if keys.len() == 20 || ended.is_empty() {
                        let named = std::mem::take(&mut keys);
                        let (live, worker) = (&live, &worker);
                        rings.push(async move {
                            worker.deliver_named(&named, after(live.now(), 60)).await
                        });
                    }
                }
                Some(_) = rings.next() => {}
                else => break,
            }
        }
    };
    forms.await;
    let took = started.elapsed();
    let refused_writes: u32 = proxy.refused_by_key().values().sum();
    let open = live.world.store.pending_count("segment", 10_000).await.unwrap().count;
    println!(
        "pressure: DUE_SHARDS={shards}, {FORMS} forms at 150 a second, {UNITS} units a second for each key: {} accepted, \
         {refused} got 503, slowest {slowest:.1?}; {open} deliveries open after {took:.1?}; {refused_writes} writes refused",
        accepted.into_inner()
    );
    // As the schedule does each minute, until the sweep has done what the rings left.
    while live.world.store.pending_count("segment", 1).await.unwrap().count > 0 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        worker.drain(Patience::None, after(live.now(), 60)).await.unwrap();
    }
    println!("pressure: DUE_SHARDS={shards}: all settled after {:.1?}", started.elapsed());
    live.forget();
}

/// The functions behind a doorbell.
type Rung = Arc<OnceLock<Vec<Function>>>;

/// A doorbell that invokes the function that it is rung for, and responds before its work.
async fn doorbell(functions: Rung) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let ring = move |Path(function): Path<String>, body: Bytes| {
        let functions = Arc::clone(&functions);
        async move {
            let body = serde_json::from_slice(&body).unwrap_or_else(|_| json!({"ring": true}));
            let functions = functions.get().unwrap();
            let function = functions.iter().find(|one| one.name == function).unwrap().clone();
            tokio::spawn(async move {
                let stop_at = after(funil_lambda::platform().clock.now(), 60);
                function.invoke(body, stop_at).await
            });
        }
    };
    let router = Router::new().route("/{function}", post(ring));
    tokio::spawn(axum::serve(listener, router).into_future());
    url
}

/// How long it takes from a form's response until all of its deliveries are settled, in a set-up.
async fn healthy(rings: &str) {
    let rung = Rung::default();
    let url = doorbell(Arc::clone(&rung)).await;
    let variables = [("RINGS", rings), ("DOORBELL_URL", &*url)];
    let mut live = Live::start(&variables).await;
    rung.set(live.functions.clone()).unwrap();
    if rings == "stream" {
        // Where there is a stream, intake rings nobody.
        let quiet = live.world.env(&[("DOORBELL_URL", ""), ("DOORBELL_FUNCTION_PREFIX", "x")]);
        live.functions = functions::all(&quiet, &live.platform).unwrap();
    }
    let mut took = Vec::new();
    for number in 0..20 {
        let mut body = lead_body();
        body["leadId"] = json!(format!("6f1c2f5e-0b0a-4d3e-9a53-{number:012x}"));
        body["email"] = json!(format!("somebody{number}@example.com"));
        live.post(number, &body).await;
        let started = Instant::now();
        let lead = LeadId::parse(body["leadId"].as_str().unwrap()).unwrap();
        if rings == "stream" {
            let journey = live.world.store.journey(lead).await.unwrap().unwrap();
            let records = journey.deliveries.iter().map(|delivery| {
                let key = DeliveryKey::from(delivery);
                json!({
                    "eventSource": "aws:dynamodb",
                    "eventName": "INSERT",
                    "dynamodb": {
                        "Keys": {"pk": {"S": format!("LEAD#{lead}")}, "sk": {"S": key.sk}},
                        "NewImage": {"at_once": {"BOOL": true}},
                    },
                })
            });
            let records = json!({"Records": records.collect::<Vec<_>>()});
            let functions = rung.get().unwrap();
            let dispatch = functions.iter().find(|one| one.name == "dispatch").unwrap();
            dispatch.invoke(records, after(live.now(), 60)).await;
        }
        loop {
            let journey = live.world.store.journey(lead).await.unwrap().unwrap();
            let open = journey.deliveries.iter().filter(|one| one.due_at().is_some()).count();
            if open == 0 {
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(90), "{rings}: {open} stay open");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        took.push(started.elapsed());
    }
    took.sort();
    println!(
        "healthy: RINGS={rings}, 20 forms, all five deliveries settled after: median {:.1?}, worst {:.1?}",
        took[took.len() / 2],
        took[took.len() - 1]
    );
    live.forget();
}

/// How much of a small rate is used, and whether more than that is sent in any minute.
async fn limiter() {
    const FOR: Duration = Duration::from_secs(130);
    let (url, responded) = provider(None).await;
    let variables =
        [("DESTINATIONS", "crm"), ("CRM_BASE_URL", &*url), ("CRM_REQUESTS_PER_MINUTE", "10")];
    let live = Live::start(&variables).await;
    live.submit(0..40).await;
    let started = Instant::now();
    let mut times = Vec::new();
    let seen = async {
        let mut counted = 0;
        while started.elapsed() < FOR {
            let now = responded.load(Ordering::Relaxed);
            times.extend(std::iter::repeat_n(started.elapsed().as_secs_f64(), now - counted));
            counted = now;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let rings = async {
        // As often as the schedule rings.
        while started.elapsed() < FOR {
            live.ring("crm").await;
            let minute = Duration::from_secs(started.elapsed().as_secs() / 60 * 60 + 60);
            tokio::time::sleep(minute.saturating_sub(started.elapsed())).await;
        }
    };
    futures::join!(seen, async {
        drop(tokio::time::timeout(FOR, rings).await);
    });
    let within = |from: f64| times.iter().filter(|at| (from..from + 60.0).contains(*at)).count();
    let most = times.iter().map(|from| within(*from)).max().unwrap_or(0);
    println!(
        "limiter: 10 requests a minute, rung each minute: {} and {} in the first two minutes, at most {most} in any 60 s",
        within(0.0),
        within(60.0)
    );
    live.forget();
}

/// How many requests MailerLite gets for a lead.
async fn mailerlite() {
    let live = Live::start(&[("DESTINATIONS", "mailerlite")]).await;
    live.submit(0..10).await;
    live.ring("mailerlite").await;
    let requests = live.world.requests("mailerlite").len();
    println!("mailerlite: {requests} requests for 10 leads");
    live.forget();
}

/// What 100,000 events of one page cost, a quarter of them sent by robots, and what leads notice of them.
async fn visits() {
    const EVENTS: usize = 100_000;
    const SIDE_BY_SIDE: usize = 16;
    const LEADS: usize = 100;
    let (url, responded) = provider(None).await;
    let (proxy, table) = Proxy::start().await;
    let variables =
        [("DESTINATIONS", "crm,ga4_visits"), ("CRM_BASE_URL", &*url), ("GA4_BASE_URL", &*url)];
    let mut live = Live::start(&variables).await;
    let metered = [("AWS_ENDPOINT_URL_DYNAMODB", &*table)];
    live.functions = functions::all(&live.world.env(&metered), &live.platform).unwrap();
    live.overrides.push(("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), table));
    let live = Arc::new(live);

    let alone = leads(&live, 0..LEADS).await;
    println!("visits: {LEADS} leads alone: {alone}");
    let reported = Arc::new(AtomicUsize::new(0));
    proxy.take();
    let started = Instant::now();
    let pages = (0..SIDE_BY_SIDE).map(|_| {
        let (live, reported) = (Arc::clone(&live), Arc::clone(&reported));
        tokio::spawn(async move {
            loop {
                let number = reported.fetch_add(1, Ordering::Relaxed);
                if number >= EVENTS {
                    return;
                }
                live.visit(number).await;
            }
        })
    });
    let pages: Vec<_> = pages.collect();
    let during = leads(&live, LEADS..2 * LEADS).await;
    println!("visits: {LEADS} leads meanwhile: {during}");
    futures::future::join_all(pages).await;
    let took = started.elapsed();
    let bill = proxy.take();
    let events = f64::from(u32::try_from(EVENTS).unwrap());
    println!(
        "visits: {EVENTS} requests with an event each in {took:.0?}: {:.2} write units and {:.2} read units an event, \
         leads included",
        bill.write_units / events,
        bill.read_units / events
    );
    let before = responded.load(Ordering::Relaxed);
    let started = Instant::now();
    let mut settled = 0;
    loop {
        let (more, _) = live.ring("ga4_visits").await;
        settled += more;
        if more == 0 {
            break;
        }
    }
    let took = started.elapsed();
    let bill = proxy.take();
    let deliveries = f64::from(u32::try_from(settled).unwrap());
    println!(
        "visits: {settled} deliveries of one worker, {} requests, in {took:.0?}: {:.2} write units and {:.2} read \
         units each, {:.0} a second",
        responded.load(Ordering::Relaxed) - before,
        bill.write_units / deliveries,
        bill.read_units / deliveries,
        deliveries / took.as_secs_f64()
    );
    std::mem::forget(live);
}

/// Submits leads one after the other, each delivered to the CRM by a ring, and tells how long the middle one and the
/// slowest took until the response, and until the CRM had it.
async fn leads(live: &Live, numbers: std::ops::Range<usize>) -> String {
    let (mut responded, mut delivered) = (Vec::new(), Vec::new());
    for number in numbers {
        let started = Instant::now();
        live.submit(number..number + 1).await;
        responded.push(started.elapsed());
        let worker = live.worker("crm");
        worker.drain(Patience::None, after(live.now(), 60)).await.unwrap();
        delivered.push(started.elapsed());
    }
    let shown = |mut times: Vec<Duration>| {
        times.sort();
        format!("{:.1?}, at most {:.1?}", times[times.len() / 2], times[times.len() - 1])
    };
    format!("response after {}; in the CRM after {}", shown(responded), shown(delivered))
}

/// What a claim costs whose lead has so many earlier deliveries.
async fn history(earlier: usize) {
    let (proxy, table) = Proxy::start().await;
    let mut live = Live::start(&[("DESTINATIONS", "crm")]).await;
    let again = |number: usize| {
        let mut body = lead_body();
        body["mainStruggle"] = json!(format!("struggle {number}"));
        body
    };
    for number in 0..earlier {
        live.post(number, &again(number)).await;
        if number % 50 == 49 {
            live.ring("crm").await;
        }
    }
    live.ring("crm").await;
    live.post(earlier, &again(earlier)).await;
    live.overrides.push(("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), table));
    let worker = live.worker("crm");
    proxy.take();
    let settled = worker.drain(Patience::None, after(live.now(), 60)).await.unwrap().settled;
    let bill = proxy.take();
    println!(
        "history: a claim of a lead with {earlier} earlier deliveries ({settled} settled): {} read units",
        bill.read_units
    );
    live.forget();
}
