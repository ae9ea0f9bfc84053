//! Faults at each request to each provider on the way of a form, a booking, a payment, a deal, a CRM's
//! lead and a page's events: the provider breaks, or the worker that sent the request dies.

use std::collections::BTreeSet;

use funil_core::contact::Email;
use funil_core::delivery::{StateKind, WhenUnknown};
use funil_core::destination::{self, Whose};
use funil_core::id::LeadId;
use funil_delivery::Patience;
use funil_dev::simulated::{Behaviour, Person};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::calls::Update;
use super::{arrived_once, everywhere, until_it_dies};
use crate::stripe::paid;
use crate::world::{World, lead, lead_body};

/// A user agent.
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0";

/// How a provider may break at a request.
const BREAKS: [Behaviour; 7] = [
    Behaviour::Status(500),
    Behaviour::Throttle { retry_after_s: 30 },
    Behaviour::Garbage,
    Behaviour::CloseConnection,
    Behaviour::CloseAfterEffect,
    Behaviour::Hang,
    Behaviour::HangAfterEffect,
];

/// The kind of event whose deliveries the test breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    Form,
    Booking,
    Payment,
    Deal,
    CrmLead,
    Visit,
}

impl What {
    const ALL: [Self; 6] =
        [Self::Form, Self::Booking, Self::Payment, Self::Deal, Self::CrmLead, Self::Visit];

    /// Whose deliveries it has.
    const fn whose(self) -> Whose {
        match self {
            Self::Form | Self::Booking | Self::Payment | Self::Deal | Self::CrmLead => Whose::Leads,
            Self::Visit => Whose::Visitors,
        }
    }

    /// A world in which it was just accepted, and everything before it was delivered.
    async fn accepted(self) -> World {
        let plan = everywhere().with("DEAL_PURPOSES", "contact,ads");
        let world = plan.impatient().start().await;
        if self == Self::Visit {
            let event = json!({
                "event": "page_view", "client_id": "123456789.1767225600",
                "consent": {"analytics_storage": "granted"},
            });
            let response = world.post("ga4-collect", &[("user-agent", BROWSER)], &event).await;
            assert_eq!(response.status, 200);
            return world;
        }
        if self == Self::Deal {
            let deal = json!({"data": {"dealId": "D-1", "customer": {"email": "maria@example.com"},
                "dealDetails": {"status": "Committed", "dealValue": 197}}});
            let headers = [("x-api-key", "tests-stage-deal-key")];
            assert_eq!(world.post("deal-webhook", &headers, &deal).await.status, 200);
            return world;
        }
        if self == Self::CrmLead {
            // Nobody has this number, so the e-mail is asked for as well.
            let (name, email) = ("MARIA EXEMPLO".to_owned(), "maria@example.com".to_owned());
            let (phone, cpf) = (String::new(), String::new());
            world.providers.know_person(Person { name, phone, email, cpf });
            let lead = json!({"id": "c1", "hook_action": "on_create_lead", "attributes": {
                "updated_at": "2031-05-05T11:00:00Z",
                "customer": {"name": "Maria Exemplo", "email": "maria@example.com", "phone": "5511987654320"}}});
            let headers = [("x-webhook-token", "tests-stage-c2s-secret")];
            assert_eq!(world.post("c2s-webhook", &headers, &lead).await.status, 200);
            return world;
        }
        let mut form = lead_body();
        form["consent"]["ads"] = Value::Bool(true);
        world.submit(&form).await;
        if self != Self::Form {
            world.drain().await;
            let response = if self == Self::Payment {
                world.stripe(&paid("pi_1", 19_700)).await
            } else {
                Update::Booked("INV").send(&world, &world).await
            };
            assert_eq!(response.status, 200);
        }
        world
    }

    /// How many requests each destination gets for it.
    async fn requests(self) -> Vec<(&'static str, usize)> {
        static COUNTED: OnceCell<[Vec<(&'static str, usize)>; What::ALL.len()]> =
            OnceCell::const_new();
        let count = async |what: Self| {
            let world = what.accepted().await;
            let its = || destination::ALL.iter().filter(|one| one.whose == what.whose());
            let before: Vec<usize> = its().map(|one| world.requests(one.provider).len()).collect();
            world.drain().await;
            let counts = its()
                .zip(before)
                .map(|(one, before)| (one.name, world.requests(one.provider).len() - before));
            let counts = counts.filter(|(_, count)| *count > 0).collect();
            finish(world, what, "nothing breaks").await;
            counts
        };
        let counted = COUNTED.get_or_init(async || {
            let mut counted = [const { Vec::new() }; What::ALL.len()];
            for (what, counts) in Self::ALL.into_iter().zip(&mut counted) {
                *counts = count(what).await;
            }
            let reached: BTreeSet<&str> = counted.iter().flatten().map(|(name, _)| *name).collect();
            let all: BTreeSet<&str> = destination::ALL.iter().map(|one| one.name).collect();
            assert_eq!(reached, all, "a destination that nothing here reaches needs its event");
            counted
        });
        let place = Self::ALL.iter().position(|one| *one == self).unwrap();
        counted.await[place].clone()
    }
}

/// Ends a world, and checks that everything arrived once; returns whether one delivery may have been
/// sent, and nobody knows.
async fn finish(world: World, what: What, title: &str) -> bool {
    match what {
        What::Form => arrived_once(world, title).await,
        What::Booking => booking_arrived_once(world, title).await,
        What::Payment => payment_arrived_once(world, title).await,
        What::Deal => deal_arrived_once(world, title).await,
        What::CrmLead => crm_lead_arrived_once(world, title).await,
        What::Visit => visit_arrived_once(world, title).await,
    }
}

async fn visit_arrived_once(world: World, title: &str) -> bool {
    world.looks_at("ga4");
    world.advance(SignedDuration::from_hours(2)).await;
    let items = world.items("VISITOR#").await;
    let [item] = items.as_slice() else { panic!("{title}: {items:?}") };
    let state = item["state"]["S"].as_str().unwrap();
    assert!(["delivered", "unknown"].contains(&state), "{title}: {state}");
    let sent = world.providers.ga4_events().len();
    assert!(sent <= 1 && (sent == 1 || state == "unknown"), "{title}: {sent} events, {state}");
    let is_unknown = state == "unknown";
    world.finish().await;
    is_unknown
}

/// Every destination of a payment recognises it when it is sent again, GA4's `purchase` by its transaction, so no
/// delivery ends as unknown.
async fn payment_arrived_once(world: World, title: &str) -> bool {
    world.advance(SignedDuration::from_hours(20)).await;
    for destination in destination::ALL {
        world.looks_at(destination.name);
    }
    let deliveries = world.journey(lead()).await.deliveries;
    for delivery in &deliveries {
        assert_eq!(delivery.state.kind(), StateKind::Delivered, "{title}: {delivery:?}");
    }
    let of = |name: &str| deliveries.iter().filter(|one| one.destination == name).count();
    let ga4 = world.providers.ga4_events();
    let purchases = ga4.iter().filter(|event| event.name == "purchase").count();
    assert_eq!((purchases, ga4.len()), (1, of("ga4")), "{title}");
    assert_eq!(world.providers.meta_events().len(), of("meta"), "{title}");
    assert_eq!(world.providers.segment_messages().len(), 2 * of("segment"), "{title}");
    let joins = world.providers.group_joins();
    let groups: BTreeSet<&str> = joins.iter().map(|join| &*join.group).collect();
    assert_eq!(groups.len(), joins.len(), "{title}: a group was joined twice: {groups:?}");
    world.finish().await;
    false
}

async fn deal_arrived_once(world: World, title: &str) -> bool {
    world.advance(SignedDuration::from_hours(20)).await;
    for destination in destination::ALL {
        world.looks_at(destination.name);
    }
    let id = LeadId::from_email(&world.hash, &Email::parse("maria@example.com").unwrap());
    let states = world.states(id).await;
    assert_eq!(world.providers.meta_events().len(), 1, "{title}: {states:?}");
    assert_eq!(states[1], "meta/purchase delivered", "{title}");
    let sent = world.providers.brevo_emails().len();
    let is_unknown = states[0] == "brevo/property_details dead may_have_been_sent";
    let is_delivered = states[0] == "brevo/property_details delivered";
    assert!(is_unknown || is_delivered && sent == 1, "{title}: {sent} e-mails, {states:?}");
    assert!(sent <= 1, "{title}: {sent} e-mails");
    world.finish().await;
    is_unknown
}

async fn crm_lead_arrived_once(world: World, title: &str) -> bool {
    world.advance(SignedDuration::from_hours(20)).await;
    world.looks_at("c2s");
    let id = LeadId::from_email(&world.hash, &Email::parse("maria@example.com").unwrap());
    let states = world.states(id).await;
    let sent = world.providers.c2s_messages().len();
    let is_unknown = states == ["c2s/enrichment dead may_have_been_sent"];
    let is_delivered = states == ["c2s/enrichment delivered"];
    assert!(is_unknown || is_delivered && sent == 1, "{title}: {sent} messages, {states:?}");
    assert!(sent <= 1, "{title}: {sent} messages");
    for (asked, times) in world.providers.c2s_lookups() {
        assert!(times <= 2, "{title}: {asked} was asked {times} times");
    }
    world.finish().await;
    is_unknown
}

async fn booking_arrived_once(world: World, title: &str) -> bool {
    // The call is over then.
    world.advance(SignedDuration::from_hours(80)).await;
    for destination in destination::ALL {
        world.looks_at(destination.name);
    }
    let deliveries = world.journey(lead()).await.deliveries;
    let messages = world.providers.whatsapp_messages();
    let mut unknown = 0;
    for delivery in &deliveries {
        let destination = destination::find(&delivery.destination).unwrap();
        // Where nobody knows whether a message was sent, its delivery is dead in the end, with this
        // reason, whatever it was that left it unknown.
        let is_unknown = delivery.state.kind() == StateKind::Unknown
            || delivery.reason_text().as_deref() == Some("may_have_been_sent");
        let expected = match destination.when_unknown {
            WhenUnknown::Final if is_unknown => StateKind::Unknown,
            WhenUnknown::NeedsPerson if is_unknown => StateKind::Dead,
            WhenUnknown::Final | WhenUnknown::NeedsPerson | WhenUnknown::Never => {
                StateKind::Delivered
            }
        };
        assert_eq!(delivery.state.kind(), expected, "{title}: {delivery:?}");
        unknown += usize::from(is_unknown);
    }
    let whatsapp = deliveries.iter().filter(|one| one.destination == "whatsapp");
    for delivery in whatsapp {
        let name = format!("{}/{}", lead(), delivery.id);
        let sent = messages.iter().filter(|one| one.callback_data.as_ref() == Some(&name)).count();
        let delivered = delivery.state.kind() == StateKind::Delivered;
        assert!(sent <= 1 && (sent == 1 || !delivered), "{title}: {sent} of {}", delivery.slot);
    }
    let of = |name: &str| deliveries.iter().filter(|one| one.destination == name).count();
    assert_eq!(world.providers.meta_events().len(), of("meta"), "{title}");
    assert_eq!(world.providers.segment_messages().len(), 2 * of("segment"), "{title}");
    let ga4 = world.providers.ga4_events().len();
    assert!(ga4 <= of("ga4") && ga4 + unknown >= of("ga4"), "{title}: {ga4} events");
    world.finish().await;
    unknown > 0
}

/// The provider of a destination.
fn provider_of(destination: &str) -> &'static str {
    destination::find(destination).unwrap().provider
}

/// Whether this request to a destination must not be repeated once it may have had an effect. Of a payment none is.
/// Contact2Sale's lead is looked up by requests that may be, and the last one is the message.
fn is_harmful(what: What, destination: &str, at: usize, requests: usize) -> bool {
    let has_harmful =
        destination::find(destination).is_some_and(|one| one.when_unknown != WhenUnknown::Never);
    has_harmful && what != What::Payment && (destination != "c2s" || at + 1 == requests)
}

async fn breaks_once(
    what: What,
    (destination, requests): (&str, usize),
    at: usize,
    behaviour: &Behaviour,
) {
    let title = format!("{what:?}: request {at} to {destination}: {behaviour}");
    let provider = provider_of(destination);
    let world = what.accepted().await;
    let before = world.requests(provider).len();
    world.providers.script(provider, vec![Behaviour::Normal; at]);
    world.providers.script(provider, [behaviour.clone()]);
    world.advance(SignedDuration::from_mins(15)).await;
    let received = world.requests(provider).len() - before;
    assert!(received > at, "{title}: only {received} were received");
    let unknown = finish(world, what, &title).await;
    let refused = match behaviour {
        // An HTML page or a gateway's status says that GA4 never got the request; WhatsApp, Brevo and Contact2Sale
        // may have got it, because the gateway may have passed the message on.
        Behaviour::Status(500..) | Behaviour::Garbage => {
            !["whatsapp", "brevo", "c2s"].contains(&provider)
        }
        Behaviour::Status(_) | Behaviour::Throttle { .. } => true,
        Behaviour::Normal
        | Behaviour::StatusWith { .. }
        | Behaviour::CloseConnection
        | Behaviour::CloseAfterEffect
        | Behaviour::Hang
        | Behaviour::HangAfterEffect => false,
    };
    assert_eq!(unknown, is_harmful(what, destination, at, requests) && !refused, "{title}");
}

#[tokio::test]
async fn every_request_to_every_provider_may_break() {
    for what in What::ALL {
        for (destination, requests) in what.requests().await {
            for at in 0..requests {
                let ways = BREAKS
                    .iter()
                    .map(|behaviour| breaks_once(what, (destination, requests), at, behaviour));
                futures::future::join_all(ways).await;
            }
        }
    }
}

#[tokio::test]
async fn a_worker_may_die_at_any_request_to_a_provider() {
    for what in What::ALL {
        for (destination, requests) in what.requests().await {
            for at in 0..requests {
                for behaviour in [Behaviour::Hang, Behaviour::HangAfterEffect] {
                    let title = format!(
                        "{what:?}: a worker dies at request {at} to {destination}: {behaviour}"
                    );
                    let provider = provider_of(destination);
                    let world = what.accepted().await;
                    world.providers.script(provider, vec![Behaviour::Normal; at]);
                    world.providers.script(provider, [behaviour.clone()]);
                    let worker = world.worker(destination);
                    let work = worker.drain(Patience::None, world.stop_at());
                    let before = world.requests(provider).len();
                    let received = world.providers.until_received(provider, before + at + 1);
                    assert!(until_it_dies(work, received).await.is_none(), "{title}");
                    world.advance(SignedDuration::from_mins(15)).await;
                    let unknown = finish(world, what, &title).await;
                    assert_eq!(unknown, is_harmful(what, destination, at, requests), "{title}");
                }
            }
        }
    }
}
