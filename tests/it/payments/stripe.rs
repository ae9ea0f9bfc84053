//! `stripe-webhook` from a signed request to what the table holds.

use funil_core::id::LeadId;
use funil_core::money::Currency;
use serde_json::{Value, json};

use crate::stripe::{disputed, event, paid, refunded};
use crate::world::{EMAIL, World, lead, lead_body};

/// What a lead has paid in reais, in minor units.
async fn spent(world: &World, lead: LeadId) -> i64 {
    let lead = world.store.lead(lead).await.unwrap().unwrap();
    lead.spent.get(&Currency::BRL).copied().unwrap_or_default()
}

async fn with_lead() -> World {
    let world = World::plan().with("DESTINATIONS", "crm").start().await;
    world.looks_at_destinations();
    world.submit(&lead_body()).await;
    world.drain().await;
    world
}

/// Delivers what is planned, and ends the world.
async fn end(world: World) {
    world.drain().await;
    for destination in funil_core::destination::ALL {
        world.looks_at(destination.name);
    }
    world.finish().await;
}

async fn accepted(world: &World, body: &Value) {
    let response = world.stripe(body).await;
    assert_eq!(response.status, 200, "{response:?}");
}

#[tokio::test]
async fn a_payment_is_kept_with_its_lead_and_its_duplicate_changes_nothing() {
    let world = with_lead().await;
    for _ in 0..3 {
        accepted(&world, &paid("pi_1", 19_700)).await;
    }
    // Another event of Stripe's about the same change.
    let mut again = paid("pi_1", 19_700);
    again["id"] = json!("evt_other");
    accepted(&world, &again).await;
    let journey = world.journey(lead()).await;
    let names: Vec<&str> = journey.events.iter().map(|event| event.data.name()).collect();
    assert_eq!(names, ["lead_submitted", "payment_succeeded"]);
    let [transaction] = &*journey.transactions else { panic!("{:?}", journey.transactions) };
    assert_eq!(transaction.net(), 19_700);
    assert_eq!(spent(&world, lead()).await, 19_700);
    assert_eq!(journey.lead.stage().name(), "customer");
    end(world).await;
}

#[tokio::test]
async fn the_sum_is_right_in_every_order_and_no_further_report_needs_the_lead_id() {
    let reports = [
        paid("pi_1", 19_700),
        refunded("pi_1", 1_000),
        refunded("pi_1", 3_000),
        disputed("pi_1", 5_000, "needs_response"),
        disputed("pi_1", 5_000, "lost"),
        paid("pi_2", 10_000),
    ];
    // Whoever comes first has to say whose it is; the others are found by their payment.
    for order in [[0, 1, 2, 3, 4, 5], [0, 5, 4, 3, 2, 1], [0, 2, 1, 4, 5, 3], [5, 0, 3, 2, 4, 1]] {
        let world = with_lead().await;
        for at in order {
            accepted(&world, &reports[at]).await;
        }
        assert_eq!(spent(&world, lead()).await, 19_700 - 3_000 - 5_000 + 10_000, "{order:?}");
        end(world).await;
    }
}

#[tokio::test]
async fn a_refund_or_a_dispute_may_come_before_its_payment() {
    let world = with_lead().await;
    let mut refund = refunded("pi_1", 5_000);
    refund["data"]["object"]["billing_details"] = json!({"email": EMAIL});
    accepted(&world, &refund).await;
    assert_eq!(spent(&world, lead()).await, 0, "nothing is known to be paid");
    accepted(&world, &disputed("pi_1", 1_000, "lost")).await;
    accepted(&world, &paid("pi_1", 19_700)).await;
    assert_eq!(spent(&world, lead()).await, 13_700);
    end(world).await;
}

#[tokio::test]
async fn reports_at_once_are_all_counted() {
    let world = with_lead().await;
    accepted(&world, &paid("pi_1", 19_700)).await;
    let reports: Vec<Value> =
        (1..=6).map(|n| refunded("pi_1", n * 1_000)).chain([paid("pi_2", 500)]).collect();
    let sent = futures::future::join_all(reports.iter().map(|report| world.stripe(report))).await;
    for (response, report) in sent.iter().zip(&reports) {
        // One that met others each time is sent again by Stripe.
        if response.status != 200 {
            assert_eq!(response.status, 503);
            accepted(&world, report).await;
        }
    }
    assert_eq!(spent(&world, lead()).await, 19_700 - 6_000 + 500);
    end(world).await;
}

#[tokio::test]
async fn one_payment_that_is_reported_as_itself_and_as_an_invoice_counts_once() {
    let invoice = |kind: &str, elsewhere: bool| {
        let object = json!({"id": "in_1", "object": "invoice", "amount_paid": 9_900,
            "currency": "brl", "customer": "cus_1", "customer_email": EMAIL,
            "paid_out_of_band": elsewhere, "metadata": {}});
        event(&format!("evt_{kind}"), kind, &object)
    };
    for (revenue, elsewhere, expected) in
        [("payments", false, 9_900), ("invoices", false, 9_900), ("payments", true, 19_800)]
    {
        let world =
            World::plan().with("DESTINATIONS", "crm").with("STRIPE_REVENUE", revenue).start().await;
        world.looks_at_destinations();
        world.submit(&lead_body()).await;
        world.drain().await;
        let mut of_invoice = paid("pi_1", 9_900);
        of_invoice["data"]["object"]["invoice"] = json!("in_1");
        for report in [
            of_invoice,
            invoice("invoice.paid", elsewhere),
            invoice("invoice.payment_succeeded", elsewhere),
        ] {
            accepted(&world, &report).await;
        }
        assert_eq!(spent(&world, lead()).await, expected, "{revenue} {elsewhere}");
        end(world).await;
    }
}

#[tokio::test]
async fn who_paid_and_is_no_lead_becomes_one_and_nothing_is_quarantined() {
    let world = World::new().await;
    let mut stranger = paid("pi_1", 19_700);
    stranger["data"]["object"]["metadata"] = json!({});
    stranger["data"]["object"]["receipt_email"] = json!("bia@example.com");
    accepted(&world, &stranger).await;
    let email = funil_core::contact::Email::parse("bia@example.com").unwrap();
    let made = LeadId::from_email(&world.hash, &email);
    let lead = world.store.lead(made).await.unwrap().unwrap();
    assert_eq!(lead.latest.traffic_source.unwrap().expose(), "stripe");
    assert_eq!(spent(&world, made).await, 19_700);
    // The customer is theirs from now on.
    let mut later = paid("pi_2", 100);
    later["data"]["object"]["metadata"] = json!({});
    later["data"]["object"]["receipt_email"] = Value::Null;
    accepted(&world, &later).await;
    assert_eq!(spent(&world, made).await, 19_800);
    let mut nobody = paid("pi_3", 100);
    nobody["data"]["object"] = json!({"id": "pi_3", "amount_received": 1, "currency": "brl"});
    nobody["created"] = json!(world.now().as_second());
    // The report that names them may be on its way, so Stripe is asked to repeat it for an hour.
    assert_eq!(world.stripe(&nobody).await.status, 503);
    world.pass(2 * 3600);
    accepted(&world, &nobody).await;
    let listed = world.quarantine("stripe-webhook", &json!({"action": "list"})).await.json();
    assert_eq!(listed["requests"][0]["reason"], "of_nobody_known", "{listed}");
    let id = listed["requests"][0]["id"].clone();
    let whose = json!({"data.object.receipt_email": "bia@example.com"});
    let release = json!({"action": "release", "id": id, "set": whose});
    assert_eq!(world.quarantine("stripe-webhook", &release).await.status, 200);
    assert_eq!(spent(&world, made).await, 19_801);
    end(world).await;
}

/// Stripe's own format of a payment has no e-mail where the site asked for no receipt, so the id is all there is.
#[tokio::test]
async fn a_derived_id_counts_unless_the_payer_has_another_email() {
    let world = World::plan().with("DESTINATIONS", "crm").start().await;
    world.looks_at_destinations();
    let mut form = lead_body();
    form["leadId"] = Value::Null;
    let derived = world.submit(&form).await.json()["leadId"].clone();
    world.drain().await;
    let named = |id: &str, email: Value| {
        let mut body = paid(id, 100);
        let intent = &mut body["data"]["object"];
        intent["metadata"]["lead_id"] = derived.clone();
        intent["receipt_email"] = email;
        intent["customer"] = Value::Null;
        body
    };
    let lead = LeadId::parse(derived.as_str().unwrap()).unwrap();
    accepted(&world, &named("pi_1", Value::Null)).await;
    accepted(&world, &named("pi_2", json!(EMAIL))).await;
    assert_eq!(spent(&world, lead).await, 200);
    accepted(&world, &named("pi_3", json!("bia@example.com"))).await;
    assert_eq!(spent(&world, lead).await, 200);
    end(world).await;
}

/// A payment link: only the checkout knows who paid, and the money is reported twice, in either order.
#[tokio::test]
async fn a_checkout_says_whose_payment_it_was_and_counts_once() {
    for intent_first in [true, false] {
        let world = with_lead().await;
        let mut intent = paid("pi_1", 19_700);
        for name in ["metadata", "receipt_email", "customer"] {
            intent["data"]["object"][name] = Value::Null;
        }
        let session = json!({"id": "cs_1", "object": "checkout.session", "payment_status": "paid",
            "payment_intent": "pi_1", "amount_total": 19_700, "currency": "brl",
            "client_reference_id": crate::world::LEAD, "customer_details": {"email": EMAIL}});
        let session = event("evt_cs", "checkout.session.async_payment_succeeded", &session);
        if intent_first {
            assert_eq!(world.stripe(&intent).await.status, 503);
        }
        accepted(&world, &session).await;
        assert_eq!(spent(&world, lead()).await, 19_700);
        accepted(&world, &intent).await;
        assert_eq!(spent(&world, lead()).await, 19_700);
        end(world).await;
    }
}

#[tokio::test]
async fn who_only_tried_to_pay_agreed_to_nothing() {
    let world = World::new().await;
    let intent = json!({"id": "pi_1", "object": "payment_intent", "amount": 100, "currency": "brl",
        "last_payment_error": {"charge": "ch_1", "code": "card_declined",
            "payment_method": {"billing_details": {"email": "bia@example.com", "name": "Bia"}}}});
    accepted(&world, &event("evt_1", "payment_intent.payment_failed", &intent)).await;
    let trial = json!({"id": "in_1", "object": "invoice", "amount_paid": 0, "currency": "brl",
        "customer_email": "bia@example.com"});
    accepted(&world, &event("evt_2", "invoice.paid", &trial)).await;
    let email = funil_core::contact::Email::parse("bia@example.com").unwrap();
    let made = LeadId::from_email(&world.hash, &email);
    let made = world.store.lead(made).await.unwrap().unwrap();
    assert_eq!(made.consents.contact, None);
    assert_eq!((made.latest.name.is_none(), made.facts.paid_at), (true, None));
    end(world).await;
}

#[tokio::test]
async fn a_refund_of_an_invoice_is_taken_from_it() {
    let world =
        World::plan().with("DESTINATIONS", "crm").with("STRIPE_REVENUE", "invoices").start().await;
    world.looks_at_destinations();
    world.submit(&lead_body()).await;
    world.drain().await;
    let invoice = json!({"id": "in_1", "object": "invoice", "amount_paid": 9_900,
        "currency": "brl", "payment_intent": "pi_1", "customer_email": EMAIL});
    accepted(&world, &event("evt_in", "invoice.paid", &invoice)).await;
    accepted(&world, &refunded("pi_1", 900)).await;
    assert_eq!(spent(&world, lead()).await, 9_000);
    end(world).await;
}

#[tokio::test]
async fn a_test_counts_nothing_and_another_currency_has_a_sum_of_its_own() {
    let world = with_lead().await;
    let mut test = paid("pi_1", 19_700);
    test["livemode"] = json!(false);
    accepted(&world, &test).await;
    let known = world.store.lead(lead()).await.unwrap().unwrap();
    assert!(known.spent.is_empty() && known.facts.paid_at.is_none());
    let mut yen = paid("pi_2", 5_000);
    yen["data"]["object"]["currency"] = json!("jpy");
    accepted(&world, &yen).await;
    let known = world.store.lead(lead()).await.unwrap().unwrap();
    assert_eq!(known.spent.get(&Currency::parse("JPY").unwrap()), Some(&5_000));
    // A refund in another currency than its payment's is none that anybody understands.
    accepted(&world, &refunded("pi_2", 100)).await;
    let listed = world.quarantine("stripe-webhook", &json!({"action": "list"})).await.json();
    assert_eq!(listed["requests"][0]["reason"], "of_another_currency", "{listed}");
    end(world).await;
}

#[tokio::test]
async fn a_wrong_signature_is_a_bad_request_and_leaves_nothing() {
    let world = World::new().await;
    let body = paid("pi_1", 19_700).to_string();
    for signature in ["", "t=1,v1=00", "v1=00"] {
        let response = world.stripe_signed(signature, body.as_bytes()).await;
        assert_eq!(response.status, 400, "{signature}");
        assert_eq!(response.json()["code"], "not_signed");
    }
    assert_eq!(world.store.lead(lead()).await.unwrap(), None);
    let other = event("evt_1", "customer.created", &json!({"id": "cus_1"}));
    accepted(&world, &other).await;
    end(world).await;
}

#[tokio::test]
async fn a_lead_id_that_is_none_is_dropped_and_noted() {
    let world = with_lead().await;
    let mut report = paid("pi_1", 19_700);
    report["data"]["object"]["metadata"]["lead_id"] = json!("order 17");
    accepted(&world, &report).await;
    let journey = world.journey(lead()).await;
    assert_eq!(journey.events[1].data.dropped(), ["metadata.lead_id"], "found by the e-mail");
    end(world).await;
}

/// A checkout whose money comes later, or by a subscription, says whose it is by the id in its address.
#[tokio::test]
async fn a_checkout_without_a_payment_says_whose_the_later_ones_are() {
    let session = |objects: Value| {
        let mut session = json!({"id": "cs_1", "object": "checkout.session",
            "payment_status": "unpaid", "client_reference_id": crate::world::LEAD,
            "customer": "cus_9", "currency": "brl", "amount_total": 9_900});
        session.as_object_mut().unwrap().extend(objects.as_object().unwrap().clone());
        event("evt_cs", "checkout.session.completed", &session)
    };
    let of_another = |mut report: Value| {
        let intent = &mut report["data"]["object"];
        intent["metadata"] = json!({});
        intent["receipt_email"] = json!("pai@example.com");
        intent["customer"] = json!("cus_9");
        report
    };
    for objects in [json!({"payment_intent": "pi_1"}), json!({"subscription": "sub_1"})] {
        let world = with_lead().await;
        accepted(&world, &session(objects)).await;
        accepted(&world, &of_another(paid("pi_1", 9_900))).await;
        assert_eq!(spent(&world, lead()).await, 9_900);
        let journey = world.journey(lead()).await;
        let names: Vec<&str> = journey.events.iter().map(|event| event.data.name()).collect();
        assert_eq!(names, ["lead_submitted", "checkout_completed", "payment_succeeded"]);
        end(world).await;
    }
}

/// Nobody becomes a lead by a test, nor by a checkout that was not paid.
#[tokio::test]
async fn a_test_and_an_unpaid_checkout_of_a_stranger_make_no_lead() {
    let world = World::new().await;
    for email in [json!(EMAIL), Value::Null] {
        let mut test = paid("pi_1", 100);
        test["livemode"] = json!(false);
        test["created"] = json!(world.now().as_second());
        test["data"]["object"]["receipt_email"] = email;
        accepted(&world, &test).await;
    }
    let session = json!({"id": "cs_1", "object": "checkout.session", "payment_status": "unpaid",
        "customer_details": {"email": EMAIL}, "currency": "brl", "amount_total": 100});
    accepted(&world, &event("evt_cs", "checkout.session.completed", &session)).await;
    let email = funil_core::contact::Email::parse(EMAIL).unwrap();
    for id in [lead(), LeadId::from_email(&world.hash, &email)] {
        assert_eq!(world.store.lead(id).await.unwrap(), None);
    }
    end(world).await;
}

/// The form that the page made the id for may come after the payment.
#[tokio::test]
async fn a_payment_makes_the_lead_under_the_id_that_the_site_wrote() {
    let world = World::plan().with("DESTINATIONS", "crm").start().await;
    accepted(&world, &paid("pi_1", 19_700)).await;
    assert_eq!(spent(&world, lead()).await, 19_700);
    assert_eq!(world.submit(&lead_body()).await.lead(), lead());
    let known = world.store.lead(lead()).await.unwrap().unwrap();
    assert_eq!(known.stage().name(), "customer", "{:?}", known.facts);
    assert_eq!(known.latest.name.unwrap().expose(), "Ana Exemplo");
    end(world).await;
}

/// A derived id counts only with its own e-mail; the customer is known all the same.
#[tokio::test]
async fn an_id_that_counts_for_nothing_hides_no_customer_and_is_noted() {
    let world = with_lead().await;
    accepted(&world, &paid("pi_1", 100)).await;
    let other = funil_core::contact::Email::parse("bia@example.com").unwrap();
    let derived = LeadId::from_email(&world.hash, &other);
    let mut report = paid("pi_2", 100);
    report["data"]["object"]["metadata"]["lead_id"] = json!(derived);
    accepted(&world, &report).await;
    assert_eq!(spent(&world, lead()).await, 200, "the customer is the lead's");
    let journey = world.journey(lead()).await;
    let last = journey.events.iter().find(|event| event.supplied_lead_id.is_some()).unwrap();
    assert_eq!(last.supplied_lead_id, Some(derived));
    end(world).await;
}

/// Strangers try cards by the thousand.
#[tokio::test]
async fn only_so_many_failures_of_one_lead_are_kept_in_a_day() {
    let world = with_lead().await;
    for number in 0..30 {
        accepted(&world, &crate::stripe::failed(&format!("pi_{number}"), 100)).await;
    }
    let failed = |journey: &funil_store::Journey| {
        journey.events.iter().filter(|event| event.data.name() == "payment_failed").count()
    };
    assert_eq!(failed(&world.journey(lead()).await), 20);
    accepted(&world, &paid("pi_1", 19_700)).await;
    world.pass(24 * 3600);
    accepted(&world, &crate::stripe::failed("pi_later", 100)).await;
    assert_eq!(failed(&world.journey(lead()).await), 21);
    end(world).await;
}

/// An invoice alone, where payments count, makes no customer; and nothing of zero is a purchase.
#[tokio::test]
async fn what_does_not_count_makes_no_customer_and_replaces_no_purchase() {
    let invoice = |id: &str, minor: i64| {
        let object = json!({"id": id, "object": "invoice", "amount_paid": minor, "currency": "brl",
            "customer": "cus_1", "customer_email": EMAIL, "metadata": {}});
        event(&format!("evt_{id}"), "invoice.paid", &object)
    };
    let world = with_lead().await;
    accepted(&world, &invoice("in_1", 9_900)).await;
    let known = world.store.lead(lead()).await.unwrap().unwrap();
    assert_eq!((known.stage().name(), known.facts.paid_at), ("lead", None));
    end(world).await;

    let world =
        World::plan().with("DESTINATIONS", "crm").with("STRIPE_REVENUE", "invoices").start().await;
    world.submit(&lead_body()).await;
    accepted(&world, &invoice("in_1", 500_000)).await;
    accepted(&world, &invoice("in_2", 0)).await;
    let known = world.store.lead(lead()).await.unwrap().unwrap();
    assert_eq!(known.payments.purchase.unwrap().amount.minor, 500_000);
    end(world).await;
}

#[tokio::test]
async fn a_customer_is_one_since_the_earliest_payment() {
    let world = with_lead().await;
    let newer = paid("pi_2", 100);
    let mut older = paid("pi_1", 100);
    older["created"] = json!(newer["created"].as_i64().unwrap() - 20 * 24 * 3600);
    accepted(&world, &newer).await;
    accepted(&world, &older).await;
    let known = world.store.lead(lead()).await.unwrap().unwrap();
    assert_eq!(known.customer_since().unwrap().as_second(), older["created"].as_i64().unwrap());
    assert_eq!(known.payments.purchase.unwrap().transaction.as_str(), "pi_2");
    end(world).await;
}
