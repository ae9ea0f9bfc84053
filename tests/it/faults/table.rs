//! Faults at each request to the table on a form's way: it fails before or after its effect, gets no
//! response, meets a table under load or a conflict, or its process dies.
//!
//! The way has stages that do not touch each other's items: the intake, a minute of `dispatch`, and
//! one worker of each destination. So one walk breaks the n-th request of every stage, and it takes as
//! many walks as the longest stage has requests.

use std::time::Duration;

use funil_core::destination;
use funil_delivery::Patience;
use funil_store::TablePatience;
use futures::StreamExt as _;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{arrived_once, everywhere, until_it_dies};
use crate::proxy::{Break, Proxy};
use crate::world::{Plan, Response, World, lead, lead_body};

/// How often the store tries a transaction that is cancelled because others are at work.
const TRANSACTION_TRIES: usize = 4;
/// How often it tries one that the table has no units for.
const LOAD_TRIES: usize = 6;
/// A short wait, because a walk with a table that hangs waits for it in each stage.
const SHORT: TablePatience = TablePatience {
    attempt: Duration::from_secs(1),
    operation: Duration::from_millis(2_500),
    settlement: Duration::from_millis(600),
    totals: Duration::from_millis(300),
};

/// What goes wrong with requests to the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    how: Break,
    /// This many requests break, one after the other.
    requests: usize,
    /// This many tries of each request break.
    tries: u32,
    /// Whether the process dies at the request.
    dies: bool,
}

impl Fault {
    /// The request breaks once.
    pub(super) const fn once(how: Break) -> Self {
        Self { how, requests: 1, tries: 1, dies: false }
    }

    /// Every request breaks, and works when the client repeats it.
    pub(super) const fn every_first_try(how: Break) -> Self {
        Self { requests: usize::MAX, ..Self::once(how) }
    }

    /// The request breaks for as long as anybody tries.
    pub(super) const fn lasting(how: Break) -> Self {
        let requests = match how {
            Break::Exceeded => LOAD_TRIES,
            Break::Conflict => TRANSACTION_TRIES,
            Break::BeforeEffect
            | Break::AfterEffect
            | Break::HangBefore
            | Break::HangAfter
            | Break::Throttled
            | Break::InProgress => 1,
        };
        Self { requests, tries: u32::MAX, ..Self::once(how) }
    }

    /// The process dies before the request takes effect.
    pub(super) const fn dies_before() -> Self {
        Self { dies: true, ..Self::once(Break::HangBefore) }
    }

    /// The process dies when the request has taken effect.
    pub(super) const fn dies_after() -> Self {
        Self { dies: true, ..Self::once(Break::HangAfter) }
    }

    /// How long the system of a walk waits for the table.
    pub(super) fn patience(self) -> TablePatience {
        let waits = matches!(self.how, Break::HangBefore | Break::HangAfter) && !self.dies;
        if waits { SHORT } else { TablePatience::default() }
    }

    /// How many walks run at once: more where they mostly wait.
    pub(super) fn side_by_side(self) -> usize {
        if self.patience() == SHORT { 8 } else { 4 }
    }

    /// A fault that breaks no request.
    pub(super) const fn none() -> Self {
        Self { requests: 0, ..Self::once(Break::BeforeEffect) }
    }
}

/// Breaks each request to the table in a walk of its own. `walk` has so many stages; it returns how
/// many requests each had, and in how many of them something broke.
pub(super) async fn break_every_request<F>(
    fault: Fault,
    stages: usize,
    walk: impl Fn(usize, Fault) -> F,
) where
    F: Future<Output = (Vec<usize>, usize)>,
{
    let (requests, broken) = walk(0, Fault::none()).await;
    assert_eq!((requests.len(), broken), (stages, 0));
    let most = requests.iter().copied().max().unwrap();
    let walks = (0..most).map(|at| walk(at, fault));
    let ends: Vec<(Vec<usize>, usize)> =
        futures::stream::iter(walks).buffer_unordered(fault.side_by_side()).collect().await;
    let broken: usize = ends.iter().map(|(_, broken)| broken).sum();
    assert!(broken >= requests.iter().sum(), "{fault:?}");
}

/// A walk through stages, with a fault at the request number `at` of each, counted from zero.
pub(super) struct Walk {
    proxy: std::sync::Arc<Proxy>,
    at: usize,
    fault: Fault,
    /// How many requests each stage so far had.
    pub(super) requests: Vec<usize>,
    /// In how many stages something broke.
    pub(super) broken: usize,
}

impl Walk {
    /// Begins a walk in a world whose table is behind a proxy.
    pub(super) async fn begin(at: usize, fault: Fault, plan: Plan) -> (Self, World) {
        let (proxy, url) = Proxy::start().await;
        let plan = plan.with("AWS_ENDPOINT_URL_DYNAMODB", &url);
        let mut world = plan.start().await;
        world.set_table_patience(fault.patience());
        (Self { proxy, at, fault, requests: Vec::new(), broken: 0 }, world)
    }

    /// Runs one stage; returns `None` where its process died.
    pub(super) async fn stage<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let requests = self.at..self.at.saturating_add(self.fault.requests);
        self.proxy.break_requests(requests, self.fault.tries, self.fault.how);
        let done = if self.fault.dies {
            until_it_dies(work, self.proxy.held()).await
        } else {
            Some(work.await)
        };
        self.proxy.mend();
        self.requests.push(self.proxy.seen());
        self.broken += usize::from(self.proxy.broken() > 0);
        done
    }
}

/// The event with which the platform invokes `dispatch` each minute.
pub(super) fn schedule() -> Value {
    json!({"source": "aws.events", "detail-type": "Scheduled Event"})
}

/// A minute of `dispatch`, in a process of its own.
pub(super) async fn a_minute_of_dispatch(world: &World) {
    world.deployment(&[]).invoke("dispatch", schedule()).await;
}

/// Sends the form again until there is a response, as the page does, and once more as a duplicate.
async fn submitted(world: &World, first: Option<Response>, title: &str) {
    let response = match first {
        Some(response) if response.status == 503 => {
            assert_eq!(response.header("retry-after"), Some("5"), "{title}");
            world.pass(5);
            world.submit(&lead_body()).await
        }
        Some(response) => response,
        // No response: another process gets the same form.
        None => world.deployment(&[]).submit(&lead_body()).await,
    };
    assert_eq!(response.lead(), lead(), "{title}");
    let again = world.submit(&lead_body()).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"), "{title}");
    assert_eq!(again.body, response.body, "{title}");
}

/// Walks the whole way of a form. Returns how many requests each stage had, in how many something broke,
/// and whether GA4's delivery ended as unknown.
async fn walk(at: usize, fault: Fault) -> (Vec<usize>, usize, bool) {
    let title = format!("request {at} of each stage, {fault:?}");
    let (mut walk, world) = Walk::begin(at, fault, everywhere()).await;
    let response = walk.stage(world.deployment(&[]).submit(&lead_body())).await;
    submitted(&world, response, &title).await;
    walk.stage(a_minute_of_dispatch(&world)).await;
    // One worker gets its delivery by name; the others look for what is due.
    let by_name = "segment";
    for destination in destination::ALL.iter().filter(|one| one.name != by_name) {
        let worker = world.worker(destination.name);
        walk.stage(worker.drain(Patience::None, world.stop_at())).await;
    }
    let (worker, key) = (world.worker(by_name), world.delivery_key(lead(), by_name).await);
    walk.stage(worker.deliver_now(std::slice::from_ref(&key), world.stop_at())).await;
    world.advance(SignedDuration::from_mins(10)).await;
    (walk.requests, walk.broken, arrived_once(world, &title).await)
}

/// How many requests each stage has when nothing breaks.
async fn stages() -> &'static [usize] {
    static STAGES: OnceCell<Vec<usize>> = OnceCell::const_new();
    let counted = STAGES.get_or_init(|| async {
        let (stages, broken, unknown) = walk(0, Fault::none()).await;
        // The intake, a minute of dispatch, and one worker each.
        assert_eq!((stages.len(), broken, unknown), (2 + destination::ALL.len(), 0, false));
        stages
    });
    counted.await
}

/// Breaks the first `requests` requests of each stage; returns after how many of them GA4's delivery
/// ended as unknown.
async fn first_requests(requests: usize, fault: Fault) -> usize {
    let stages = stages().await;
    let walks = (0..requests).map(|at| async move {
        let (_, broken, unknown) = walk(at, fault).await;
        (broken, unknown)
    });
    let ends: Vec<(usize, bool)> =
        futures::stream::iter(walks).buffer_unordered(fault.side_by_side()).collect().await;
    let broken: usize = ends.iter().map(|(broken, _)| broken).sum();
    assert!(broken >= stages.iter().map(|stage| requests.min(*stage)).sum(), "{fault:?}");
    ends.into_iter().filter(|(_, unknown)| *unknown).count()
}

/// Breaks every request of the way; returns after how many of them GA4's delivery ended as unknown.
async fn every_request(fault: Fault) -> usize {
    first_requests(stages().await.iter().copied().max().unwrap(), fault).await
}

#[tokio::test]
async fn a_table_that_refuses_the_first_try_of_every_request_loses_nothing() {
    let refusals = [Break::BeforeEffect, Break::Exceeded, Break::Throttled, Break::InProgress];
    for how in refusals {
        let (requests, broken, unknown) = walk(0, Fault::every_first_try(how)).await;
        println!("{how:?}: the first try of {requests:?} requests broke");
        assert_eq!((broken, unknown), (requests.len(), false), "{how:?}");
    }
}

#[tokio::test]
async fn one_lost_response_duplicates_nothing() {
    for how in [Break::AfterEffect, Break::HangAfter] {
        assert_eq!(every_request(Fault::once(how)).await, 0, "{how:?}");
    }
}

#[tokio::test]
async fn a_table_that_is_gone_at_any_step_loses_nothing() {
    for how in [Break::BeforeEffect, Break::HangBefore] {
        let unknown = every_request(Fault::lasting(how)).await;
        assert_eq!(unknown, 0, "a settlement that the table did not take is tried again: {how:?}");
    }
}

#[tokio::test]
async fn a_table_whose_responses_are_lost_at_any_step_duplicates_nothing() {
    for how in [Break::AfterEffect, Break::HangAfter] {
        let unknown = every_request(Fault::lasting(how)).await;
        assert_eq!(unknown, 0, "what was not sent is not unknown: {how:?}");
    }
}

#[tokio::test]
async fn a_conflict_at_any_step_loses_nothing() {
    let unknown = every_request(Fault::once(Break::Conflict)).await;
    assert_eq!(unknown, 0, "a write that merely met a transaction is sent again");
    let unknown = every_request(Fault::lasting(Break::Conflict)).await;
    assert_eq!(unknown, 0, "a settlement that the table did not take is tried again");
}

#[tokio::test]
async fn a_table_that_stays_busy_loses_nothing() {
    // To a worker, a busy table is a table that is gone. Only the intake's transaction tells them apart,
    // which is the last of its three requests.
    let intake = stages().await[0];
    for how in [Break::Exceeded, Break::Throttled, Break::InProgress] {
        assert_eq!(first_requests(intake, Fault::lasting(how)).await, 0, "{how:?}");
    }
}

#[tokio::test]
async fn a_process_may_die_at_any_request_to_the_table() {
    let unknown = every_request(Fault::dies_before()).await;
    assert_eq!(unknown, 1, "where GA4 has it and it was not settled");
    let unknown = every_request(Fault::dies_after()).await;
    assert_eq!(unknown, 1, "where it is marked and was not sent");
}
