//! What each destination receives of what Stripe reports, from a signed request to the provider.

use std::fmt::Write as _;

use funil_core::destination;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::stripe::{disputed, event, failed, paid, refunded, subscribed};
use crate::world::{EMAIL, LEAD, World, all_destinations, lead_body};

const GROUPS: &str = r#"{"questionnaire":"101","marketing":"102","customers_vip":"103",
    "customers_premium":"104","customers_standard":"105","sells_mentoria":"106"}"#;

/// A world in which Ana submitted the form and agreed to everything.
async fn with_lead(variables: &[(&str, &str)]) -> World {
    let mut plan = World::plan()
        .with("DESTINATIONS", &all_destinations())
        .with("CRM_KIND", "leads")
        .with("MAILERLITE_GROUPS", GROUPS);
    for (name, value) in variables {
        plan = plan.with(name, value);
    }
    let world = plan.start().await;
    world.looks_at_destinations();
    let mut form = lead_body();
    form["consent"] = json!({"marketing": true, "analytics": true, "ads": true});
    form["gaSessionId"] = json!("1767225600");
    form["utm"] = json!({"source": "instagram", "campaign": "liberdade"});
    world.submit(&form).await;
    world.drain().await;
    world
}

/// Sends a report three times, as Stripe may.
async fn reported(world: &World, body: &Value) {
    for _ in 0..3 {
        let response = world.stripe(body).await;
        assert_eq!(response.status, 200, "{response:?}");
    }
    world.drain().await;
}

/// What the providers hold of payments, in the order in which they received it.
fn received(world: &World) -> String {
    let mut received = String::new();
    let providers = &world.providers;
    for event in providers.ga4_events().iter().filter(|event| event.name != "generate_lead") {
        let params = &event.params;
        let (id, value, currency) =
            (&params["transaction_id"], &params["value"], &params["currency"]);
        writeln!(received, "ga4 {} {id} {value} {currency}", event.name).unwrap();
    }
    for message in providers.segment_messages() {
        let properties = &message["properties"];
        match message["event"].as_str() {
            Some("Lead Submitted") | None => {}
            Some(name) => writeln!(received, "segment {name} {properties}").unwrap(),
        }
    }
    for event in providers.meta_events() {
        writeln!(received, "meta {} {}", event["event_name"], event["custom_data"]).unwrap();
    }
    for purchase in providers.crm_purchases(LEAD) {
        writeln!(received, "crm purchase {purchase}").unwrap();
    }
    let contact = providers.crm_contact(LEAD).unwrap();
    for field in [
        "lifecycle_stage",
        "customer_since",
        "total_spent",
        "total_spent_currency",
        "last_transaction_id",
        "last_transaction_amount",
        "last_transaction_left",
        "last_refund_amount",
        "dispute_status",
        "subscription_plan",
    ] {
        if let Some(value) = contact["custom_fields"].get(field) {
            writeln!(received, "crm {field} {value}").unwrap();
        }
    }
    writeln!(received, "crm note {}", contact["note"]).unwrap();
    writeln!(received, "crm tags {}", contact["tags"]).unwrap();
    let subscriber = providers.subscriber(EMAIL).unwrap();
    let groups = subscriber["groups"].as_array().unwrap().iter();
    let groups: Vec<&str> = groups.filter_map(|group| group["id"].as_str()).collect();
    writeln!(received, "mailerlite groups {}", groups.join(" ")).unwrap();
    for field in ["pricing_tier", "transaction_amount", "purchase_date", "utm_campaign"] {
        writeln!(received, "mailerlite {field} {}", subscriber["fields"][field]).unwrap();
    }
    received
}

/// One payment, as itself, as its checkout and as its invoice.
fn reports_of_one_payment() -> [Value; 3] {
    let checkout = json!({"id": "cs_1", "object": "checkout.session", "payment_status": "paid",
        "payment_intent": "pi_1", "amount_total": 19_700, "currency": "brl", "customer": "cus_1",
        "client_reference_id": LEAD, "customer_details": {"email": EMAIL}});
    let invoice = json!({"id": "in_1", "object": "invoice", "amount_paid": 19_700,
        "currency": "brl", "customer": "cus_1", "customer_email": EMAIL, "payment_intent": "pi_1"});
    [
        paid("pi_1", 19_700),
        event("evt_cs", "checkout.session.completed", &checkout),
        event("evt_in", "invoice.paid", &invoice),
    ]
}

#[tokio::test]
async fn a_payment_is_sent_once_by_whatever_it_is_reported() {
    for order in [[0, 1, 2], [1, 2, 0], [2, 0, 1]] {
        let world = with_lead(&[]).await;
        let reports = reports_of_one_payment();
        for at in order {
            reported(&world, &reports[at]).await;
        }
        let received = received(&world);
        for once in ["ga4 purchase", "segment Order Completed", "meta \"Purchase\"", "crm purchase"]
        {
            assert_eq!(received.matches(once).count(), 1, "{order:?} {once}: {received}");
        }
        assert!(received.contains("crm total_spent 197.0\n"), "{order:?}: {received}");
        if order[0] == 0 {
            assert_snapshot!("payment", received);
        }
        world.finish().await;
    }
}

/// Whatever the order, money that went back is sent in parts, and the parts add up.
#[tokio::test]
async fn refunds_and_disputes_are_sent_by_what_they_change() {
    let reports = [
        paid("pi_1", 200_000),
        refunded("pi_1", 30_000),
        refunded("pi_1", 50_000),
        disputed("pi_1", 150_000, "needs_response"),
        disputed("pi_1", 150_000, "lost"),
    ];
    for (name, order) in [
        ("in_order", [0, 1, 2, 3, 4]),
        ("refund_before_payment", [1, 0, 2, 4, 3]),
        ("dispute_before_payment", [3, 2, 4, 1, 0]),
    ] {
        let world = with_lead(&[]).await;
        for at in order {
            let mut report = reports[at].clone();
            // What comes before its payment has to say itself whose it is.
            report["data"]["object"]["metadata"] =
                json!({"lead_id": LEAD, "service_id": "mentoria"});
            reported(&world, &report).await;
        }
        let received = received(&world);
        let refunds = world.providers.ga4_events();
        let refunds = refunds.iter().filter(|event| event.name == "refund");
        let sum: f64 = refunds.map(|event| event.params["value"].as_f64().unwrap()).sum();
        assert!((sum - 2_000.0).abs() < 0.001, "{name}: {received}");
        assert!(received.contains("crm total_spent 0.0\n"), "{name}: {received}");
        assert_snapshot!(name, received);
        world.finish().await;
    }
}

#[tokio::test]
async fn a_failure_is_a_note_and_a_subscription_a_plan() {
    let world = with_lead(&[]).await;
    reported(&world, &failed("pi_1", 19_700)).await;
    reported(&world, &subscribed("sub_1")).await;
    assert_snapshot!(received(&world));
    world.finish().await;
}

#[tokio::test]
async fn every_class_of_currency_is_sent_in_its_own_units() {
    let world = with_lead(&[("CRM_CURRENCY", "JPY")]).await;
    for (payment, currency, amount) in [
        ("pi_jpy", "jpy", 5_000),
        ("pi_kwd", "kwd", 1_250),
        ("pi_ugx", "ugx", 50_000),
        ("pi_brl", "brl", 19_705),
    ] {
        let mut report = paid(payment, amount);
        report["data"]["object"]["currency"] = json!(currency);
        reported(&world, &report).await;
    }
    assert_snapshot!(received(&world));
    world.finish().await;
}

#[tokio::test]
async fn a_test_reaches_no_destination_unless_it_is_to() {
    for (variables, is_sent) in [(&[][..], false), (&[("STRIPE_TEST_EVENTS", "deliver")], true)] {
        let world = with_lead(variables).await;
        let before = received(&world);
        for mut report in [paid("pi_1", 19_700), refunded("pi_1", 700), failed("pi_2", 100)] {
            report["livemode"] = json!(false);
            reported(&world, &report).await;
        }
        let after = received(&world);
        assert_eq!(after != before, is_sent, "{after}");
        assert_eq!(after.contains("crm total_spent 190.0\n"), is_sent, "{after}");
        let journey = world.journey(crate::world::lead()).await;
        assert_eq!(journey.events.len(), 4, "it stands in the journey");
        world.finish().await;
    }
}

/// An older payment that is reported late does not replace the newer one.
#[tokio::test]
async fn the_newest_payment_counts_whatever_comes_last() {
    let newer = paid("pi_new", 120_000);
    let mut older = paid("pi_old", 100);
    older["created"] = json!(newer["created"].as_i64().unwrap() - 3_600);
    let mut seen = Vec::new();
    for reports in [[&older, &newer], [&newer, &older]] {
        let world = with_lead(&[]).await;
        for report in reports {
            reported(&world, report).await;
        }
        let received = received(&world);
        assert!(received.contains("crm last_transaction_id \"pi_new\""), "{received}");
        let is_state = |line: &&str| line.starts_with("crm ") || line.starts_with("mailerlite ");
        let is_event = |line: &&str| line.starts_with("crm purchase") || line.contains("since");
        let state = received.lines().filter(is_state).filter(|line| !is_event(line));
        seen.push(state.map(str::to_owned).collect::<Vec<_>>());
        world.finish().await;
    }
    assert_eq!(seen[0], seen[1]);
}

/// A person who pays without consent to analytics or ads is sent to no destination that needs it.
#[tokio::test]
async fn a_stranger_who_pays_is_sent_to_the_crm_and_by_contract_alone() {
    let world = World::plan().with("DESTINATIONS", &all_destinations()).start().await;
    world.looks_at_destinations();
    let mut stranger = paid("pi_1", 19_700);
    stranger["data"]["object"]["metadata"] = json!({});
    reported(&world, &stranger).await;
    assert_eq!(world.providers.crm_contact_count(), 1);
    assert!(world.providers.subscriber(EMAIL).is_some());
    assert_eq!(world.providers.ga4_events(), []);
    assert_eq!(world.providers.segment_messages(), Vec::<Value>::new());
    assert_eq!(world.providers.meta_events(), Vec::<Value>::new());
    assert!(destination::ALL.len() >= 6, "a new destination says here what it needs");
    world.finish().await;
}

/// The site writes into the subscription; the payment of its invoice says nothing of what is bought.
#[tokio::test]
async fn a_payment_of_a_subscription_is_of_what_the_subscription_says() {
    let world = with_lead(&[]).await;
    let mut subscription = subscribed("sub_1");
    subscription["data"]["object"]["metadata"]["service_id"] = json!("mentoria");
    let mut payment = paid("pi_1", 9_900);
    payment["data"]["object"]["metadata"] = json!({});
    for report in [&subscription, &payment] {
        reported(&world, report).await;
    }
    let received = received(&world);
    let product = r#""product_id":"mentoria""#;
    assert!(received.contains(product) && received.contains("tier_premium"), "{received}");
    assert!(received.contains("mailerlite groups 101 102 104"), "{received}");
    world.finish().await;
}

/// MailerLite has one subscriber for an e-mail, and another lead of it may have paid.
#[tokio::test]
async fn a_younger_lead_of_an_e_mail_takes_nobody_out_of_a_group_of_customers() {
    let world = with_lead(&[]).await;
    reported(&world, &paid("pi_1", 500_000)).await;
    world.pass(60);
    let younger = "7f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b22";
    let mut form = lead_body();
    form["leadId"] = json!(younger);
    world.submit(&form).await;
    let mut payment = paid("pi_2", 9_700);
    payment["data"]["object"]["metadata"] = json!({"lead_id": younger});
    payment["data"]["object"]["customer"] = Value::Null;
    reported(&world, &payment).await;
    let mut refund = refunded("pi_2", 9_700);
    refund["data"]["object"]["metadata"] = json!({"lead_id": younger});
    reported(&world, &refund).await;
    let received = received(&world);
    assert!(received.contains("mailerlite groups 101 102 103"), "still a VIP: {received}");
    world.finish().await;
}

/// What a payment does not say is emptied, so that nothing of an older one stays beside it.
#[tokio::test]
async fn nothing_of_an_older_payment_stays_beside_the_newest() {
    let world = with_lead(&[]).await;
    reported(&world, &paid("pi_1", 9_700)).await;
    let mut newer = paid("pi_2", 500_000);
    newer["created"] = json!(newer["created"].as_i64().unwrap() + 60);
    newer["data"]["object"]["metadata"] = json!({"lead_id": LEAD});
    newer["data"]["object"]["payment_method_types"] = json!(["card", "pix"]);
    reported(&world, &newer).await;
    let fields = world.providers.subscriber(EMAIL).unwrap()["fields"].clone();
    assert_eq!(
        (&fields["pricing_tier"], &fields["transaction_amount"]),
        (&json!(""), &json!("5000.00"))
    );
    let custom = world.providers.crm_contact(LEAD).unwrap()["custom_fields"].clone();
    assert_eq!((&custom["pricing_tier"], &custom["last_payment_method"]), (&json!(""), &json!("")));
    world.finish().await;
}
