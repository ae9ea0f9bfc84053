//! What a payment costs at DynamoDB, whatever the customer has paid before.

use crate::proxy::{Bill, Proxy};
use crate::stripe::paid;
use crate::world::{World, all_destinations, lead_body};

/// What a payment and its deliveries cost.
async fn bill(world: &World, proxy: &Proxy, number: usize) -> Bill {
    proxy.take();
    let response = world.stripe(&paid(&format!("pi_{number}"), 100)).await;
    assert_eq!(response.status, 200, "{response:?}");
    world.drain().await;
    proxy.take()
}

/// The newest deliveries that a claim looks at.
const SIBLINGS: usize = 25;

/// One customer pays so many times. What the second payment costs, the one after [`SIBLINGS`], and the last.
#[expect(clippy::print_stderr, reason = "the figures stand in docs/benchmarks.md")]
async fn bills(payments: usize) -> [Bill; 3] {
    let (proxy, url) = Proxy::start().await;
    let world = World::plan()
        .with("DESTINATIONS", &all_destinations())
        .with("MAILERLITE_REQUESTS_PER_MINUTE", "100000")
        .with("AWS_ENDPOINT_URL_DYNAMODB", &url)
        .start()
        .await;
    world.looks_at_destinations();
    world.submit(&lead_body()).await;
    world.drain().await;
    let mut bills = Vec::new();
    for number in 1..=payments {
        let bill = bill(&world, &proxy, number).await;
        if [2, SIBLINGS + 2, payments].contains(&number) {
            bills.push(bill);
        }
    }
    world.finish().await;
    let bills: [Bill; 3] = bills.try_into().unwrap();
    for bill in &bills {
        eprintln!("{} units written, {} read", bill.write_units, bill.read_units);
    }
    bills
}

fn as_much(bills: &[Bill; 3]) {
    let [second, later, last] = bills;
    assert_eq!(later, last, "whatever was paid before");
    assert_eq!(second.requests, last.requests);
    assert!(last.read_units < second.read_units * 1.2, "a claim reads up to {SIBLINGS} deliveries");
}

#[tokio::test]
async fn a_hundredth_payment_costs_as_much_as_the_first_ones() {
    as_much(&bills(100).await);
}

#[tokio::test]
#[ignore = "takes minutes; a hundred are in the default run"]
async fn a_thousandth_payment_costs_as_much_as_the_first_ones() {
    as_much(&bills(1_000).await);
}
