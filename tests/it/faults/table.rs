//! The table breaks at each of its calls on a lead's way: before and after their effect, without an
//! answer, under load, in conflict, and with the process that asked.
//!
//! The way has stages that do not touch each other's items: the intake, a minute of `dispatch`, and
//! one worker of each destination. So one walk breaks the n-th call of every stage, and as many walks
//! as the longest stage has calls break them all.

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
use crate::world::{Response, World, lead, lead_body};

/// We make a transaction that was cancelled because others were at work four times in all.
const TRANSACTION_TRIES: usize = 4;
/// Short, because every walk with a table that hangs waits for it in each stage.
const SHORT: TablePatience =
    TablePatience { attempt: Duration::from_secs(1), operation: Duration::from_millis(2_500) };

/// What goes wrong at a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    how: Break,
    /// So many calls break, one after the other.
    calls: usize,
    /// So many of the SDK's tries of each.
    tries: u32,
    dies: bool,
}

impl Fault {
    /// The call breaks once.
    pub(super) const fn once(how: Break) -> Self {
        Self { how, calls: 1, tries: 1, dies: false }
    }

    /// Every call breaks, and works when the SDK makes it again.
    pub(super) const fn every_first_try(how: Break) -> Self {
        Self { calls: usize::MAX, ..Self::once(how) }
    }

    /// The call breaks for as long as anybody tries.
    pub(super) const fn lasting(how: Break) -> Self {
        let calls = match how {
            Break::Exceeded | Break::Conflict => TRANSACTION_TRIES,
            Break::BeforeEffect
            | Break::AfterEffect
            | Break::HangBefore
            | Break::HangAfter
            | Break::Throttled
            | Break::InProgress => 1,
        };
        Self { calls, tries: u32::MAX, ..Self::once(how) }
    }

    /// The process dies before the call takes effect.
    pub(super) const fn dies_before() -> Self {
        Self { dies: true, ..Self::once(Break::HangBefore) }
    }

    /// The process dies when the call has taken effect.
    pub(super) const fn dies_after() -> Self {
        Self { dies: true, ..Self::once(Break::HangAfter) }
    }

    /// How long a stage waits for the table.
    pub(super) fn patience(self) -> TablePatience {
        let waits = matches!(self.how, Break::HangBefore | Break::HangAfter) && !self.dies;
        if waits { SHORT } else { TablePatience::default() }
    }

    /// How many walks at once: those that wait cost nothing.
    pub(super) fn side_by_side(self) -> usize {
        if self.patience() == SHORT { 8 } else { 4 }
    }

    /// A way on which nothing breaks.
    pub(super) const fn none() -> Self {
        Self { calls: 0, ..Self::once(Break::BeforeEffect) }
    }
}

/// A walk over stages, each broken at its `at`-th call.
pub(super) struct Walk {
    proxy: std::sync::Arc<Proxy>,
    at: usize,
    fault: Fault,
    /// The calls of each stage so far.
    pub(super) calls: Vec<usize>,
    /// The stages in which something broke.
    pub(super) broken: usize,
}

impl Walk {
    /// Begins one; answers where its table is, and a region of its own, because the SDK rations
    /// retries by region.
    pub(super) async fn begin(at: usize, fault: Fault) -> (Self, String, String) {
        let (proxy, url) = Proxy::start().await;
        let region = url.replace("http://127.0.0.1:", "test-");
        (Self { proxy, at, fault, calls: Vec::new(), broken: 0 }, url, region)
    }

    /// One stage; answers nothing where its process died.
    pub(super) async fn stage<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let calls = self.at..self.at.saturating_add(self.fault.calls);
        self.proxy.break_requests(calls, self.fault.tries, self.fault.how);
        let done = if self.fault.dies {
            until_it_dies(work, self.proxy.held()).await
        } else {
            Some(work.await)
        };
        self.proxy.mend();
        self.calls.push(self.proxy.seen());
        self.broken += usize::from(self.proxy.broken() > 0);
        done
    }
}

/// What the platform sends `dispatch` each minute.
pub(super) fn schedule() -> Value {
    json!({"source": "aws.events", "detail-type": "Scheduled Event"})
}

/// A minute of `dispatch`, in a process of its own.
pub(super) async fn a_minute_of_dispatch(world: &World) {
    world.deployment(&[]).invoke("dispatch", schedule()).await;
}

/// The person sends the form again until it is answered, as the page does.
async fn submitted(world: &World, first: Option<Response>, title: &str) {
    let response = match first {
        Some(response) if response.status == 503 => {
            assert_eq!(response.header("retry-after"), Some("5"), "{title}");
            world.pass(5);
            world.submit(&lead_body()).await
        }
        Some(response) => response,
        // No answer: another process gets the same form.
        None => world.deployment(&[]).submit(&lead_body()).await,
    };
    assert_eq!(response.lead(), lead(), "{title}");
    let again = world.submit(&lead_body()).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"), "{title}");
    assert_eq!(again.body, response.body, "{title}");
}

/// A lead's whole way. Answers how many calls each stage had, in how many something broke, and
/// whether GA4 stayed unknown.
async fn walk(at: usize, fault: Fault) -> (Vec<usize>, usize, bool) {
    let title = format!("call {at} of each stage, {fault:?}");
    let (mut walk, url, region) = Walk::begin(at, fault).await;
    let mut world = everywhere()
        .with("AWS_ENDPOINT_URL_DYNAMODB", &url)
        .with("AWS_REGION", &region)
        .start()
        .await;
    world.set_table_patience(fault.patience());
    let response = walk.stage(world.deployment(&[]).submit(&lead_body())).await;
    submitted(&world, response, &title).await;
    walk.stage(a_minute_of_dispatch(&world)).await;
    // One of them is told of its delivery by name; the others look for what is due.
    let by_name = "segment";
    for destination in destination::ALL.iter().filter(|one| one.name != by_name) {
        let worker = world.worker(destination.name);
        walk.stage(worker.drain(Patience::None, world.stop_at())).await;
    }
    let (worker, key) = (world.worker(by_name), world.delivery_key(lead(), by_name).await);
    walk.stage(worker.deliver(&key, world.stop_at())).await;
    world.advance(SignedDuration::from_mins(10)).await;
    (walk.calls, walk.broken, arrived_once(world, &title).await)
}

/// How many calls each stage has when nothing breaks.
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

/// Breaks the first `calls` calls of each stage; answers after how many of them GA4 stayed unknown.
async fn first_calls(calls: usize, fault: Fault) -> usize {
    let stages = stages().await;
    let walks = (0..calls).map(|at| async move {
        let (_, broken, unknown) = walk(at, fault).await;
        (broken, unknown)
    });
    let ends: Vec<(usize, bool)> =
        futures::stream::iter(walks).buffer_unordered(fault.side_by_side()).collect().await;
    let broken: usize = ends.iter().map(|(broken, _)| broken).sum();
    assert!(broken >= stages.iter().map(|stage| calls.min(*stage)).sum(), "{fault:?}");
    ends.into_iter().filter(|(_, unknown)| *unknown).count()
}

/// Breaks every call of the way; answers after how many of them GA4 stayed unknown.
async fn every_call(fault: Fault) -> usize {
    first_calls(stages().await.iter().copied().max().unwrap(), fault).await
}

#[tokio::test]
async fn a_table_that_refuses_the_first_try_of_every_call_loses_nothing() {
    let refusals = [Break::BeforeEffect, Break::Exceeded, Break::Throttled, Break::InProgress];
    for how in refusals {
        let (calls, broken, unknown) = walk(0, Fault::every_first_try(how)).await;
        println!("{how:?}: the first try of {calls:?} calls broken");
        assert_eq!((broken, unknown), (calls.len(), false), "{how:?}");
    }
}

#[tokio::test]
async fn one_lost_answer_doubles_nothing() {
    for how in [Break::AfterEffect, Break::HangAfter] {
        assert_eq!(every_call(Fault::once(how)).await, 0, "{how:?}");
    }
}

#[tokio::test]
async fn a_table_that_is_gone_at_any_step_loses_nothing() {
    for how in [Break::BeforeEffect, Break::HangBefore] {
        let unknown = every_call(Fault::lasting(how)).await;
        assert_eq!(unknown, 1, "where GA4 has it and the settlement fails: {how:?}");
    }
}

#[tokio::test]
async fn a_table_whose_answers_are_lost_at_any_step_doubles_nothing() {
    for how in [Break::AfterEffect, Break::HangAfter] {
        let unknown = every_call(Fault::lasting(how)).await;
        assert_eq!(unknown, 1, "where the mark stands and nobody knows of it: {how:?}");
    }
}

#[tokio::test]
async fn a_conflict_at_any_step_loses_nothing() {
    let unknown = every_call(Fault::once(Break::Conflict)).await;
    assert_eq!(unknown, 1, "the SDK tries no single write again that met a transaction");
    let unknown = every_call(Fault::lasting(Break::Conflict)).await;
    assert_eq!(unknown, 1, "where GA4 has it and the settlement fails");
}

#[tokio::test]
async fn a_table_that_stays_busy_loses_nothing() {
    // To a worker they are what a table that is gone is; only the intake's transaction tells them
    // apart, and that is the last of its three calls.
    let intake = stages().await[0];
    for how in [Break::Exceeded, Break::Throttled, Break::InProgress] {
        assert_eq!(first_calls(intake, Fault::lasting(how)).await, 0, "{how:?}");
    }
}

#[tokio::test]
async fn a_process_may_die_at_any_call_of_the_table() {
    let unknown = every_call(Fault::dies_before()).await;
    assert_eq!(unknown, 1, "where GA4 has it and the settlement never comes");
    let unknown = every_call(Fault::dies_after()).await;
    assert_eq!(unknown, 1, "where the mark stands and nothing was sent");
}
