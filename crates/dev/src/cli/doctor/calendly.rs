//! What the doctor finds at Calendly: the subscription to its webhook, and the event types that are sales
//! calls. It only reads.
//!
//! A person's token is needed for this, which no function but `whatsapp-automation` holds.

use std::collections::BTreeSet;

use funil_core::check::Finding;
use funil_core::provider::calendly::EventType;
use funil_core::settings::Env;
use funil_store::Platform;
use url::Url;

use crate::cli::Failure;
use crate::cli::calendly::{Calendly, EventTypeListed, Subscription};

/// The variable with the event types that are sales calls.
const EVENT_TYPES: &str = "CALENDLY_EVENT_TYPES";
const SUBSCRIPTION: &str = "subscription";
const LISTED: &str = "event type";

/// Looks at Calendly. `webhook` is where its webhook has to go, if that is known.
pub(super) async fn findings(
    env: &Env,
    platform: &Platform,
    webhook: Option<&Url>,
) -> Vec<Finding> {
    let mut settings = env.settings();
    if settings.optional("CALENDLY_API_TOKEN").is_none() {
        let says = "set CALENDLY_API_TOKEN, a personal access token, and the doctor looks at the \
                    subscription and at the event types. Only you need it.";
        return vec![Finding::unchecked(SUBSCRIPTION, says)];
    }
    let calendly = Calendly::read(&mut settings, platform);
    let calendly = match settings.finish(calendly) {
        Ok(calendly) => calendly,
        Err(error) => return vec![Finding::failed(SUBSCRIPTION, error.0.join(" "))],
    };
    match look(&calendly, env, webhook).await {
        Ok(findings) => findings,
        Err(error) => vec![Finding::failed(SUBSCRIPTION, error.to_string())],
    }
}

async fn look(
    calendly: &Calendly<'_>,
    env: &Env,
    webhook: Option<&Url>,
) -> Result<Vec<Finding>, Failure> {
    let me = calendly.me().await?;
    let mut findings = vec![match calendly.subscriptions(&me).await {
        Ok((_, found)) => of_subscriptions(&found, webhook),
        Err(error) => Finding::failed(SUBSCRIPTION, error.to_string()),
    }];
    match calendly.event_types(&me).await {
        // Which of them are sales calls is the deployment's to say, and it is not this environment.
        Ok(found) if webhook.is_some() => findings.extend(found.iter().map(listed)),
        Ok(found) => findings.extend(of_event_types(&found, env)),
        Err(error) => findings.push(Finding::failed(LISTED, error.to_string())),
    }
    Ok(findings)
}

/// What the subscriptions are worth. Of several, the best counts.
fn of_subscriptions(found: &[Subscription], webhook: Option<&Url>) -> Finding {
    let is_ours = |one: &&Subscription| match webhook {
        Some(url) => one.goes_to(url),
        None => one.goes_to_one(),
    };
    let where_to = webhook.map_or("an address that ends in /calendar-webhook", Url::as_str);
    let ours: Vec<&Subscription> = found.iter().filter(is_ours).collect();
    let Some(best) = ours.iter().find(|one| one.is_active()).or_else(|| ours.first()) else {
        if let Some(other) = found.iter().find(|one| one.goes_to_one()) {
            return Finding::warning(
                SUBSCRIPTION,
                format!(
                    "there is one of {}, and none of {where_to}. That is right if both are the same \
                     function.",
                    other.callback_url
                ),
            );
        }
        return Finding::failed(
            SUBSCRIPTION,
            format!(
                "none of the {} subscriptions goes to {where_to}, so no booking comes. `funil setup \
                 calendly --webhook …/calendar-webhook` makes one.",
                found.len()
            ),
        );
    };
    let address = &best.callback_url;
    if !best.is_active() {
        return Finding::failed(
            SUBSCRIPTION,
            format!(
                "that of {address} is {}: for a day Calendly got no success from it. Mend what it \
                 responds, then make it anew by `funil setup calendly`, and look in Calendly for what was \
                 booked meanwhile.",
                best.state
            ),
        );
    }
    let lacks = best.lacks();
    if !lacks.is_empty() {
        let lacks = lacks.join(", ");
        return Finding::failed(
            SUBSCRIPTION,
            format!("that of {address} lacks {lacks}. `funil setup calendly` makes it anew."),
        );
    }
    if let Some(since) = &best.retry_started_at {
        return Finding::warning(
            SUBSCRIPTION,
            format!(
                "Calendly gets no success from {address} since {since}, and ends the subscription after a \
                 day. Look at the log of calendar-webhook, and at CALENDLY_SIGNING_KEY."
            ),
        );
    }
    Finding::ok(SUBSCRIPTION, format!("Calendly sends every event to {address}"))
}

/// An event type, as it is listed.
fn listed(one: &EventTypeListed) -> Finding {
    let off = if one.active { "" } else { "; it is switched off at Calendly" };
    let slug = one.slug.as_deref().unwrap_or("-");
    Finding::ok(LISTED, format!("{slug} ({}){off}", one.uri))
}

/// A finding for each event type, and for each that `CALENDLY_EVENT_TYPES` names in vain.
fn of_event_types(found: &[EventTypeListed], env: &Env) -> Vec<Finding> {
    let named = env.settings().list(EVENT_TYPES);
    let mut unknown: BTreeSet<&str> = named.iter().copied().collect();
    let mut findings = Vec::new();
    for one in found {
        let uri = EventType::parse(&one.uri);
        let known: Vec<&str> =
            unknown.iter().copied().filter(|name| EventType::parse(name) == uri).collect();
        for name in &known {
            unknown.remove(name);
        }
        let calls = if named.is_empty() || !known.is_empty() {
            "its bookings are sales calls"
        } else {
            "its bookings are ignored"
        };
        let mut finding = listed(one);
        finding.says = format!("{}; {calls}", finding.says);
        findings.push(finding);
    }
    if found.is_empty() {
        findings.push(Finding::warning(LISTED, "Calendly has no event types for this token."));
    }
    for name in unknown {
        let says = if EventType::parse(name).is_none() {
            format!(
                "{EVENT_TYPES} has {name}; give an address such as \
                 https://api.calendly.com/event_types/AAAA instead."
            )
        } else {
            format!(
                "{EVENT_TYPES} has {name}, which is none of these: its bookings never come, or this \
                 token cannot see it."
            )
        };
        findings.push(Finding::failed(LISTED, says));
    }
    findings
}
