//! Rings that name deliveries, and the shards in which deliveries stand.

use std::collections::BTreeSet;
use std::time::Duration;

use funil_core::clock::after;
use funil_core::delivery::{LEASE_S, RING_S, Reason, StateKind};
use funil_core::id::{LeadId, LeaseId};
use funil_delivery::Patience;
use funil_lambda::operate::replay::{Candidates, Selection};
use funil_store::{Claimed, Claiming, DeliveryKey};
use serde_json::{Value, json};

use super::only;
use crate::proxy::{Break, Proxy};
use crate::world::{World, lead, lead_body};

/// A world whose rings name deliveries.
async fn named(destination: &str) -> World {
    only(destination).with("RINGS", "stream").start().await
}

/// The forms of so many people.
async fn submit(world: &World, people: usize) -> Vec<LeadId> {
    let mut leads = Vec::new();
    for number in 0..people {
        let mut body = lead_body();
        body["leadId"] = Value::Null;
        body["email"] = json!(format!("somebody{number}@example.com"));
        let caller = format!("198.51.{}.{}", number / 200, number % 200);
        leads.push(world.submit_from(&caller, &body).await.lead());
    }
    leads
}

async fn keys_of(world: &World, destination: &str, leads: &[LeadId]) -> Vec<DeliveryKey> {
    let mut keys = Vec::new();
    for lead in leads {
        keys.push(world.delivery_key(*lead, destination).await);
    }
    keys
}

async fn item(world: &World, key: &DeliveryKey) -> Value {
    let items = world.items(&format!("LEAD#{}", key.lead_id)).await;
    items.into_iter().find(|item| item["sk"]["S"] == json!(key.sk)).unwrap()
}

#[tokio::test]
async fn a_delivery_that_a_ring_names_is_sent_at_once_without_a_query() {
    let world = named("segment").await;
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    let key = world.delivery_key(lead(), "segment").await;
    assert_eq!(world.delivery(lead(), "segment").await.due_at(), Some(world.now()));
    let (proxy, url) = Proxy::start().await;
    let worker = world.worker_with("segment", &[("AWS_ENDPOINT_URL_DYNAMODB", &url)]);
    let drained = worker.deliver_named(std::slice::from_ref(&key), world.stop_at()).await.unwrap();
    assert_eq!(drained.settled, 1);
    assert!(!proxy.take().requests.contains_key("Query"));
    assert_eq!(worker.deliver_named(&[key], world.stop_at()).await.unwrap().settled, 0);
    world.finish().await;
}

#[tokio::test]
async fn a_lost_ring_costs_its_wait_and_no_delivery() {
    let world = named("segment").await;
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    // A sweep leaves alone what fell due less than ten seconds ago.
    world.pass(RING_S + 9);
    assert_eq!(world.drain().await, 0);
    world.pass(1);
    assert_eq!(world.drain().await, 1);
    world.finish().await;
}

#[tokio::test]
async fn rings_leave_their_deliveries_to_the_sweep_while_the_table_has_too_much_to_do() {
    let world = named("segment").await;
    world.expect_requests("segment", 3);
    let leads = submit(&world, 3).await;
    let keys = keys_of(&world, "segment", &leads).await;
    let (proxy, url) = Proxy::start().await;
    let worker = world.worker_with("segment", &[("AWS_ENDPOINT_URL_DYNAMODB", &url)]);
    let ring = async |keys: &[DeliveryKey]| {
        worker.deliver_named(keys, world.stop_at()).await.unwrap().settled
    };
    assert_eq!(ring(&keys[..1]).await, 1);
    // The claim of the second one is refused, in all of the client's tries.
    proxy.break_requests(1..2, 9, Break::Throttled);
    assert_eq!(ring(&keys[1..2]).await, 0);
    assert_eq!(proxy.broken(), 1);
    proxy.mend();
    proxy.take();
    assert_eq!(ring(&keys[2..]).await, 0, "the next ring starts nothing");
    assert_eq!(proxy.take().requests.len(), 0);
    world.pass(RING_S + 10);
    assert_eq!(world.drain().await, 2);
    world.finish().await;
}

#[tokio::test]
async fn a_sweep_tries_a_claim_again_that_the_table_refused_for_its_load() {
    let world = only("segment").start().await;
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    let (proxy, url) = Proxy::start().await;
    let worker = world.worker_with("segment", &[("AWS_ENDPOINT_URL_DYNAMODB", &url)]);
    // Two reads of the table's identity, the breaker and the query come before the claim.
    proxy.break_requests(4..5, 9, Break::Exceeded);
    let drained = worker.drain(Patience::None, world.stop_at()).await.unwrap();
    assert_eq!((proxy.broken(), drained.settled), (1, 1));
    world.finish().await;
}

#[tokio::test]
async fn a_claim_whose_response_was_lost_is_still_its_workers() {
    let world = named("segment").await;
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    let key = world.delivery_key(lead(), "segment").await;
    let (proxy, url) = Proxy::start().await;
    let worker = world.worker_with("segment", &[("AWS_ENDPOINT_URL_DYNAMODB", &url)]);
    // The table's identity and the breaker come before the claim.
    proxy.break_requests(2..3, 1, Break::AfterEffect);
    let drained = worker.deliver_named(&[key], world.stop_at()).await.unwrap();
    assert_eq!((proxy.broken(), drained.settled), (1, 1));
    world.finish().await;
}

#[tokio::test]
async fn a_delivery_whose_inputs_cannot_be_read_does_not_count_as_one_that_ends_its_worker() {
    let world = named("segment").await;
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    let key = world.delivery_key(lead(), "segment").await;
    let (proxy, url) = Proxy::start().await;
    let worker = world.worker_with("segment", &[("AWS_ENDPOINT_URL_DYNAMODB", &url)]);
    proxy.break_requests(3..4, 9, Break::Throttled);
    let drained = worker.deliver_named(&[key], world.stop_at()).await.unwrap();
    assert_eq!((proxy.broken(), drained.settled), (1, 0));
    let delivery = world.delivery(lead(), "segment").await;
    assert_eq!((delivery.state.kind(), delivery.claims), (StateKind::Pending, 0));
    world.pass(RING_S + 10);
    assert_eq!(world.drain().await, 1);
    world.finish().await;
}

#[tokio::test]
async fn a_ring_that_comes_twice_or_late_or_for_something_else_claims_nothing_twice() {
    let world = named("segment").await;
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    let key = world.delivery_key(lead(), "segment").await;
    let workers: Vec<_> = (0..6).map(|_| world.worker("segment")).collect();
    let keys = [key.clone(), key.clone()];
    let rings = workers.iter().map(|worker| worker.deliver_named(&keys, world.stop_at()));
    let ended = futures::future::join_all(rings).await;
    assert_eq!(ended.into_iter().map(|ended| ended.unwrap().settled).sum::<usize>(), 1);
    // What waits for a retry or was withdrawn is not claimed by name.
    for (state, mark) in [("skipped", true), ("pending", false)] {
        let set = if mark { "SET #s = :s, at_once = :m" } else { "SET #s = :s REMOVE at_once" };
        let mut values = json!({":s": {"S": state}});
        if mark {
            values[":m"] = json!({"BOOL": true});
        }
        let change = json!({
            "Key": {"pk": {"S": format!("LEAD#{}", key.lead_id)}, "sk": {"S": key.sk}},
            "UpdateExpression": set,
            "ExpressionAttributeNames": {"#s": "state"},
            "ExpressionAttributeValues": values,
        });
        world.ask_table("UpdateItem", change).await;
        let drained = workers[0].deliver_named(&keys, world.stop_at()).await.unwrap();
        assert_eq!(drained.settled, 0, "{state}");
    }
    world.finish().await;
}

#[tokio::test]
async fn a_worker_that_dies_with_a_named_delivery_is_replaced_after_its_lease() {
    let world = named("segment").await;
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    let key = world.delivery_key(lead(), "segment").await;
    let stands_at = item(&world, &key).await["due_sk"].clone();
    let lease = LeaseId::random(world.entropy());
    let claimed = world.store.claim(&key, Claiming::Named, lease, world.now()).await.unwrap();
    assert!(matches!(claimed, Claimed::Ours(_)));
    let found = item(&world, &key).await;
    assert_eq!(found["due_sk"], stands_at, "the first claim leaves it in the index");
    assert_eq!(found.get("at_once"), None);
    let until = world.delivery(lead(), "segment").await.due_at();
    assert_eq!(until, Some(after(world.now(), LEASE_S)), "the lease's end");
    world.pass(RING_S + 10);
    assert_eq!(world.drain().await, 1);
    world.finish().await;
}

#[tokio::test]
async fn what_a_late_ring_leased_does_not_stand_among_what_is_due() {
    let world = named("segment").await;
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    let key = world.delivery_key(lead(), "segment").await;
    world.pass(20);
    let lease = LeaseId::random(world.entropy());
    world.store.claim(&key, Claiming::Named, lease, world.now()).await.unwrap();
    let end = after(world.now(), LEASE_S);
    assert!(world.store.due("segment", after(end, -1), 1).await.unwrap().is_empty());
    assert_eq!(world.store.due("segment", end, 1).await.unwrap().len(), 1);
    world.pass(LEASE_S + 10);
    assert_eq!(world.drain().await, 1);
    world.finish().await;
}

#[tokio::test]
async fn a_message_that_a_ring_names_can_be_withdrawn_and_hurried() {
    let world = named("segment").await;
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    let first = world.delivery_key(lead(), "segment").await;
    let (reason, now, entropy) = (Reason::Off, world.now(), world.entropy());
    assert!(world.store.withdraw(&first, reason, now, entropy).await.unwrap());
    let worker = world.worker("segment");
    let drained = worker.deliver_named(&[first], world.stop_at()).await.unwrap();
    assert_eq!(drained.settled, 0);
    world.pass(1);
    let mut again = lead_body();
    again["mainStruggle"] = json!("vendas");
    world.submit(&again).await;
    // An authorised request delivers at once, whatever the rings.
    let response = world.authorised("segment-sync", &json!({"leadId": lead()})).await;
    assert_eq!(response.json()["deliveries"][0]["state"], "delivered", "{response:?}");
    world.finish().await;
}

#[tokio::test]
async fn the_function_that_had_the_first_try_makes_a_retry_that_falls_due_soon() {
    let world = named("segment").await;
    world.expect_requests("segment", 2);
    world.providers.script("segment", [funil_dev::simulated::Behaviour::Status(503)]);
    world.submit(&lead_body()).await;
    let keys = [world.delivery_key(lead(), "segment").await];
    let worker = world.worker("segment");
    let ring = worker.deliver_named(&keys, world.stop_at());
    let time_passes = async {
        while world.delivery(lead(), "segment").await.state.kind() != StateKind::Pending
            || world.requests("segment").is_empty()
        {
            tokio::task::yield_now().await;
        }
        let delivery = world.delivery(lead(), "segment").await;
        assert!(delivery.due_at().is_some_and(|due_at| due_at <= after(world.now(), 6)));
        world.pass(6);
    };
    let both = futures::future::join(ring, time_passes);
    let (drained, ()) = tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
    assert_eq!(drained.unwrap().settled, 2);
    assert_eq!(world.delivery(lead(), "segment").await.attempts, 2);
    world.finish().await;
}

/// The partitions of the index in which deliveries stand.
async fn partitions(world: &World) -> BTreeSet<String> {
    let items = world.items("LEAD#").await;
    items.iter().filter_map(|item| Some(item.get("due_pk")?["S"].as_str()?.to_owned())).collect()
}

/// How many deliveries to Segment are open, as `health` says.
async fn pending(world: &World) -> u64 {
    let health = world.health().await;
    let destinations = health["destinations"].as_array().unwrap();
    let segment = destinations.iter().find(|one| one["name"] == "segment").unwrap();
    segment["pending"]["count"].as_u64().unwrap_or_else(|| panic!("{segment}"))
}

#[tokio::test]
async fn deliveries_are_spread_over_shards_and_found_whatever_the_number_is_later() {
    let world = only("segment").start().await;
    world.looks_at("segment");
    // These processes have looked at the table before more shards were used.
    let worker = world.worker("segment");
    assert_eq!(worker.drain(Patience::None, world.stop_at()).await.unwrap().settled, 0);
    assert_eq!(pending(&world).await, 0);
    let spread = world.deployment(&[("DUE_SHARDS", "16")]);
    for number in 0..40 {
        let mut body = lead_body();
        body["leadId"] = Value::Null;
        body["email"] = json!(format!("somebody{number}@example.com"));
        spread.submit_from(&format!("198.51.100.{number}"), &body).await.lead();
    }
    assert!(partitions(&world).await.len() > 8);
    // Lowered again: what stands in the other shards is still found.
    world.submit(&lead_body()).await;
    assert_eq!(pending(&world).await, 41);
    assert_eq!(worker.drain(Patience::None, world.stop_at()).await.unwrap().settled, 41);
    assert_eq!(partitions(&world).await, BTreeSet::new());
    world.finish().await;
}

#[tokio::test]
async fn dead_deliveries_of_every_shard_are_listed_in_their_order_page_by_page() {
    let world = only("segment").with("DUE_SHARDS", "16").start().await;
    world.looks_at("segment");
    world.providers.behave("segment", funil_dev::simulated::Behaviour::Status(400));
    let leads = submit(&world, 60).await;
    let keys = keys_of(&world, "segment", &leads).await;
    let (one_by_one, at_once) = keys.split_at(20);
    for key in one_by_one {
        let key = std::slice::from_ref(key);
        world.worker("segment").deliver_now(key, world.stop_at()).await.unwrap();
        world.pass(1);
    }
    // These die in one moment, several in each shard, where pages are cut among them.
    world.worker("segment").deliver_now(at_once, world.stop_at()).await.unwrap();
    world.store.look_at_shards().await.unwrap();
    let mut listed = Vec::new();
    let mut range = funil_store::DeadRange::default();
    loop {
        let page = world.store.dead_within("segment", &range, 3).await.unwrap();
        let Some(last) = page.last().cloned() else { break };
        assert!(page.len() <= 3);
        listed.extend(page);
        range.after = Some(last);
    }
    let order: Vec<LeadId> = listed.iter().map(|dead| dead.key.lead_id).collect();
    assert_eq!(order[..20], leads[..20]);
    let all = |leads: &[LeadId]| leads.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!((all(&order), order.len()), (all(&leads), 60));
    assert_eq!(world.store.dead_count("segment", 100).await.unwrap().count, 60);
    let newest = world.store.newest_dead("segment").await.unwrap().unwrap();
    assert!(leads[20..].contains(&newest.key.lead_id));
    // A person who lists or replays them has looked at no shard before.
    let mut candidates = Candidates::of(&world.store, Selection::default(), world.now());
    let mut found = 0;
    while candidates.next().await.unwrap().is_some() {
        found += 1;
    }
    assert_eq!(found, 60);
    world.finish().await;
}

#[tokio::test]
async fn workers_that_are_rung_at_once_refuse_each_other_no_claim_on_a_backlog() {
    let world = only("segment").start().await;
    world.expect_requests("segment", 120);
    submit(&world, 120).await;
    let (proxy, url) = Proxy::start().await;
    let table = [("AWS_ENDPOINT_URL_DYNAMODB", &*url)];
    let workers: Vec<_> = (0..5).map(|_| world.worker_with("segment", &table)).collect();
    let rings = workers.iter().map(|worker| worker.drain(Patience::None, world.stop_at()));
    let ended = futures::future::join_all(rings).await;
    assert_eq!(ended.into_iter().map(|ended| ended.unwrap().settled).sum::<usize>(), 120);
    let refused = proxy.take().refused;
    assert!(refused <= 8, "{refused} refused writes");
    world.finish().await;
}

#[tokio::test]
async fn one_sweep_goes_through_the_backlog_of_every_shard_though_the_index_lags() {
    let world = only("segment").with("DUE_SHARDS", "16").start().await;
    world.expect_requests("segment", 400);
    submit(&world, 400).await;
    assert_eq!(partitions(&world).await.len(), 16);
    let (proxy, url) = Proxy::start().await;
    let worker = world.worker_with("segment", &[("AWS_ENDPOINT_URL_DYNAMODB", &*url)]);
    proxy.hold_index_still();
    let drained = worker.drain(Patience::None, world.stop_at()).await.unwrap();
    assert_eq!(drained.settled, 400);
    world.finish().await;
}

#[tokio::test]
async fn a_slow_provider_holds_up_only_its_own_deliveries() {
    let world = only("segment").start().await;
    world.looks_at("segment");
    submit(&world, 150).await;
    let hang = funil_dev::simulated::Behaviour::HangAfterEffect;
    world.providers.script("segment", std::iter::repeat_n(hang, 60));
    let worker = world.worker("segment");
    let drain = worker.drain(Patience::None, world.stop_at());
    let others = async {
        // More than go side by side hang, and everybody else's arrives all the same.
        let arrived = world.providers.until_received("segment", 150);
        tokio::time::timeout(Duration::from_secs(20), arrived).await.expect("they are held up");
        world.providers.release_hung();
    };
    let (drained, ()) = futures::join!(drain, others);
    assert_eq!(drained.unwrap().settled, 150);
    world.finish().await;
}

#[tokio::test]
async fn a_ring_that_finds_the_breaker_open_ends_at_once() {
    let world = only("crm").start().await;
    world.looks_at("crm");
    submit(&world, 3).await;
    world.store.open_breaker("crm", (5, "http_503"), 60, world.now()).await.unwrap();
    let worker = world.worker("crm");
    let (proxy, url) = Proxy::start().await;
    let counted = world.worker_with("crm", &[("AWS_ENDPOINT_URL_DYNAMODB", &url)]);
    for worker in [&worker, &counted] {
        let drain = worker.drain(Patience::Waits, world.stop_at());
        // The clock stands still: a worker that waited for something would never return.
        let drained = tokio::time::timeout(Duration::from_secs(5), drain).await.expect("it waits");
        assert_eq!(drained.unwrap().settled, 0);
    }
    assert!(!proxy.take().requests.contains_key("UpdateItem"), "nothing is claimed");
    world.pass(60);
    world.drain().await;
    world.finish().await;
}
