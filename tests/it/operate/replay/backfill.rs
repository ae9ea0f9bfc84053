//! Backfilling: what was accepted while a destination was off.

use clap::Parser as _;
use funil_core::clock::after;
use funil_dev::cli::backfill::{self, Backfilled};

use super::{CommandLine, only};
use crate::world::{World, lead, lead_body};

/// Runs `funil backfill …`.
async fn backfilled(world: &World, arguments: &str) -> Backfilled {
    let words = ["funil", "backfill"].into_iter().chain(arguments.split_whitespace());
    let CommandLine::Backfill(arguments) = CommandLine::try_parse_from(words).unwrap() else {
        panic!("another command")
    };
    let (hash, mut out) = (&world.hash, Vec::new());
    backfill::run(&arguments, hash, &world.store, world.platform(), &mut out).await.unwrap()
}

#[tokio::test]
async fn what_was_accepted_while_a_destination_was_off_is_backfilled_once() {
    let world = only("crm").start().await;
    world.expect_requests("crm", 2);
    world.expect_requests("ga4", 1);
    world.submit(&lead_body()).await;
    world.drain().await;
    assert_eq!(world.states(lead()).await, ["crm/lead delivered"]);
    world.pass(3600);
    let nothing = Backfilled { events: 1, ..Backfilled::default() };
    let missing = Backfilled { missing: 1, ..nothing };
    let there = Backfilled { there: 1, ..nothing };
    assert_eq!(backfilled(&world, "--destination ga4").await, missing);
    assert_eq!(world.states(lead()).await, ["crm/lead delivered"], "a dry run plans nothing");
    let late = format!("--destination ga4 --yes --since {}", world.now());
    assert_eq!(backfilled(&world, &late).await, Backfilled::default());
    let early = format!("--destination ga4 --yes --until {}", after(world.now(), -3601));
    assert_eq!(backfilled(&world, &early).await, Backfilled::default());
    assert_eq!(backfilled(&world, "--destination ga4 --yes").await, missing);
    for arguments in ["--destination crm", "--destination crm --yes"] {
        assert_eq!(backfilled(&world, arguments).await, there, "{arguments}");
    }
    let planned = world.delivery(lead(), "ga4").await;
    let event = &world.journey(lead()).await.events[0];
    assert_eq!(planned.accepted_at, event.accepted_at);
    assert_eq!(planned.deadline, after(event.occurred_at, 72 * 3600));
    assert!(planned.email_digest.is_some() && planned.phone_digest.is_some());
    // The destination is on again.
    let platform = world.platform();
    let worker = world.worker_with("ga4", &[("DESTINATIONS", "crm,ga4")]);
    assert!(platform.clock.now() >= planned.due_at().unwrap());
    worker.drain(funil_delivery::Patience::None, world.stop_at()).await.unwrap();
    assert_eq!(world.states(lead()).await, ["crm/lead delivered", "ga4/event delivered"]);
    assert_eq!(backfilled(&world, "--destination ga4 --yes").await, there);
    assert!(
        !world.store.plan_missing(&planned, world.entropy()).await.unwrap(),
        "another backfill may have planned it meanwhile"
    );
    worker.drain(funil_delivery::Patience::None, world.stop_at()).await.unwrap();
    world.finish().await;
}

#[tokio::test]
async fn a_backfill_counts_what_is_past_its_deadline_and_plans_nothing() {
    let world = only("crm").start().await;
    world.expect_requests("crm", 2);
    world.submit(&lead_body()).await;
    world.drain().await;
    world.pass(72 * 3600);
    let found = backfilled(&world, "--destination ga4 --yes").await;
    assert_eq!(found, Backfilled { events: 1, too_late: 1, ..Backfilled::default() });
    assert_eq!(world.states(lead()).await, ["crm/lead delivered"]);
    world.finish().await;
}
