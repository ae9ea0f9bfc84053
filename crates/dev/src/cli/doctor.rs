//! `funil doctor`: asks Calendly for its event types, so that a person can fill in
//! `CALENDLY_EVENT_TYPES`.
//!
//! It only reads. It must not know what any function does with an event type.

use std::collections::BTreeSet;
use std::io::Write;

use funil_core::delivery::exchange::endpoint;
use funil_core::provider::calendly::EventType;
use funil_core::settings::{Env, Secret};
use funil_store::Platform;
use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::cli::dead::Failure;

/// How many event types one page has; Calendly allows at most this many.
const PAGE: &str = "100";
/// How many pages are read.
const PAGES_MAX: usize = 50;
/// The variable with the event types that are sales calls.
const EVENT_TYPES: &str = "CALENDLY_EVENT_TYPES";

/// `GET /users/me`, <https://developer.calendly.com/how-to-find-the-organization-or-user-uri>.
#[derive(Deserialize)]
struct Me {
    resource: User,
}

#[derive(Deserialize)]
struct User {
    uri: String,
    current_organization: String,
}

/// `GET /event_types`, a page of them.
#[derive(Deserialize)]
struct EventTypes {
    collection: Vec<Listed>,
    pagination: Pagination,
}

#[derive(Deserialize)]
struct Listed {
    uri: String,
    /// The last part of its page's address. Some event types have none.
    slug: Option<String>,
    active: bool,
}

#[derive(Deserialize)]
struct Pagination {
    next_page_token: Option<String>,
}

/// Prints each event type of the account behind `CALENDLY_API_TOKEN`: its URI, its slug, and whether
/// its bookings are sales calls by `CALENDLY_EVENT_TYPES`. Event types that this variable names and the
/// account does not have are an error.
pub async fn run(env: &Env, platform: &Platform, out: &mut impl Write) -> Result<(), Failure> {
    let mut settings = env.settings();
    let named: BTreeSet<&str> = settings.list(EVENT_TYPES).into_iter().collect();
    if let Some(wrong) = named.iter().find(|uri| EventType::parse(uri).is_none()) {
        let needed = "an address such as https://api.calendly.com/event_types/AAAA";
        return Err(format!("{EVENT_TYPES} has {wrong}; give {needed} instead.").into());
    }
    let base = settings.url("CALENDLY_BASE_URL", Some("https://api.calendly.com"));
    let token = settings.required("CALENDLY_API_TOKEN").map(Secret::new);
    let calendly = base.zip(token).map(|(base, token)| Calendly { base, token, platform });
    let calendly = settings.finish(calendly)?;

    let found = calendly.event_types().await?;
    let mut unknown: BTreeSet<EventType> = named.into_iter().filter_map(EventType::parse).collect();
    let all = unknown.is_empty();
    for one in &found {
        let known = EventType::parse(&one.uri).is_some_and(|uri| unknown.remove(&uri));
        let calls = if all || known { "sales call" } else { "ignored" };
        let off = if one.active { "" } else { ", switched off at Calendly" };
        writeln!(out, "{}  {}  {calls}{off}", one.uri, one.slug.as_deref().unwrap_or("-"))?;
    }
    if found.is_empty() {
        writeln!(out, "Calendly has no event types for this token.")?;
    }
    if all {
        writeln!(
            out,
            "{EVENT_TYPES} is not set, so bookings of every event type are sales calls."
        )?;
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let how_many = unknown.len();
    Err(format!(
        "{how_many} of the event types in {EVENT_TYPES} are not in the list above, so their bookings \
         never come or this token cannot see them. Compare the addresses."
    )
    .into())
}

/// Calendly's API, with a person's token.
struct Calendly<'a> {
    base: Url,
    token: Secret,
    platform: &'a Platform,
}

impl Calendly<'_> {
    /// The event types of the organization, or of the token's user where it may not see those.
    async fn event_types(&self) -> Result<Vec<Listed>, Failure> {
        let me = self.get::<Me>(&endpoint(&self.base, &["users", "me"])).await?;
        let Ok(me) = me else { return Err("CALENDLY_API_TOKEN may not read its own user.".into()) };
        match self.of("organization", &me.resource.current_organization).await? {
            Ok(found) => Ok(found),
            Err(NotAllowed) => match self.of("user", &me.resource.uri).await? {
                Ok(found) => Ok(found),
                Err(NotAllowed) => {
                    Err("CALENDLY_API_TOKEN may not read event types; make one that may.".into())
                }
            },
        }
    }

    async fn of(&self, owner: &str, uri: &str) -> Result<Result<Vec<Listed>, NotAllowed>, Failure> {
        let mut found = Vec::new();
        let mut page_token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut url = endpoint(&self.base, &["event_types"]);
            url.query_pairs_mut().append_pair(owner, uri).append_pair("count", PAGE);
            if let Some(token) = &page_token {
                url.query_pairs_mut().append_pair("page_token", token);
            }
            let Ok(page) = self.get::<EventTypes>(&url).await? else { return Ok(Err(NotAllowed)) };
            found.extend(page.collection);
            page_token = page.pagination.next_page_token;
            if page_token.is_none() {
                return Ok(Ok(found));
            }
        }
        Err(format!("Calendly has more than {PAGES_MAX} pages of event types.").into())
    }

    async fn get<T: DeserializeOwned>(&self, url: &Url) -> Result<Result<T, NotAllowed>, Failure> {
        let request = self.platform.http.get(url.clone()).bearer_auth(self.token.expose());
        let host = url.authority();
        let no_response = |_| format!("Calendly at {host} does not respond; try again.");
        let response = request.send().await.map_err(no_response)?;
        let status = response.status();
        let body = response.bytes().await.map_err(no_response)?;
        if status == StatusCode::UNAUTHORIZED {
            return Err("Calendly does not accept CALENDLY_API_TOKEN; make a new one.".into());
        }
        if status == StatusCode::FORBIDDEN {
            return Ok(Err(NotAllowed));
        }
        if !status.is_success() {
            return Err(format!("Calendly at {host} responded {status}; try again.").into());
        }
        let read = serde_json::from_slice(&body)
            .map_err(|_| format!("Calendly at {host} responded {status} with what is no list."))?;
        Ok(Ok(read))
    }
}

/// The token may not see what was asked for.
struct NotAllowed;
