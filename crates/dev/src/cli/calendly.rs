//! Calendly's API with a person's token: event types, and the subscriptions to its webhook.
//!
//! `docs/providers.md` ("Calendly"). Must not know what any function does with an event type.

use std::collections::BTreeSet;

use funil_core::delivery::exchange::{Method, Request, Response, endpoint};
use funil_core::settings::{Secret, Settings};
use funil_store::Platform;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use url::Url;

use crate::cli::{Failure, provider};

/// How many items one page has; Calendly allows at most this many.
const PAGE: &str = "100";
/// How many pages are read.
const PAGES_MAX: usize = 50;

/// The events that `calendar-webhook` reads.
pub(super) const EVENTS: [&str; 4] =
    ["invitee.created", "invitee.canceled", "invitee_no_show.created", "invitee_no_show.deleted"];

/// Calendly's API, with a person's token.
pub(super) struct Calendly<'a> {
    base: Url,
    token: Secret,
    platform: &'a Platform,
}

/// Whose token it is: `GET /users/me`,
/// <https://developer.calendly.com/how-to-find-the-organization-or-user-uri>.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct User {
    uri: String,
    current_organization: String,
}

/// An event type: `GET /event_types`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct EventTypeListed {
    /// Its address in the API, by which webhooks name it.
    pub(super) uri: String,
    /// The last part of its page's address. Some event types have none.
    pub(super) slug: Option<String>,
    /// Whether calls can be booked.
    pub(super) active: bool,
}

/// A subscription to the webhook: `GET /webhook_subscriptions`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Subscription {
    /// Its address in the API.
    pub(super) uri: String,
    /// Where the webhook goes.
    pub(super) callback_url: String,
    /// `active` or `disabled`.
    pub(super) state: String,
    /// The events that it has.
    #[serde(default)]
    pub(super) events: BTreeSet<String>,
    /// Since when Calendly tries again, if it does.
    pub(super) retry_started_at: Option<String>,
}

impl Subscription {
    /// Whether Calendly sends it anything.
    pub(super) fn is_active(&self) -> bool {
        self.state == "active"
    }

    /// Whether it sends to `webhook`, whatever stands after its path.
    pub(super) fn goes_to(&self, webhook: &Url) -> bool {
        provider::path(&self.callback_url) == provider::path(webhook.as_str())
    }

    /// Whether it sends to a function of this kind, at whatever address.
    pub(super) fn goes_to_one(&self) -> bool {
        provider::path(&self.callback_url).ends_with("/calendar-webhook")
    }

    /// The events that it lacks.
    pub(super) fn lacks(&self) -> Vec<&'static str> {
        EVENTS.into_iter().filter(|event| !self.events.contains(*event)).collect()
    }
}

#[derive(Deserialize)]
struct Resource<T> {
    resource: T,
}

#[derive(Deserialize)]
struct Page<T> {
    collection: Vec<T>,
    pagination: Pagination,
}

#[derive(Deserialize)]
struct Pagination {
    next_page_token: Option<String>,
}

/// Whose subscriptions or event types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Those of everybody in the organization.
    Organization,
    /// The token's user's own.
    User,
}

/// The token may not see what was asked for.
struct NotAllowed;

impl<'a> Calendly<'a> {
    pub(super) fn read(settings: &mut Settings<'_>, platform: &'a Platform) -> Option<Self> {
        let base = settings.url("CALENDLY_BASE_URL", Some("https://api.calendly.com"));
        let token = settings.required("CALENDLY_API_TOKEN").map(Secret::new);
        Some(Self { base: base?, token: token?, platform })
    }

    /// The token's user.
    pub(super) async fn me(&self) -> Result<User, Failure> {
        match self.get::<Resource<User>>(&endpoint(&self.base, &["users", "me"])).await? {
            Ok(me) => Ok(me.resource),
            Err(NotAllowed) => Err("CALENDLY_API_TOKEN may not read its own user.".into()),
        }
    }

    /// The event types of the organization, or of the token's user where it may not see those.
    pub(super) async fn event_types(&self, me: &User) -> Result<Vec<EventTypeListed>, Failure> {
        let list = |scope| self.list("event_types", me, scope);
        if let Ok(found) = list(Scope::Organization).await? {
            return Ok(found);
        }
        let refused = "CALENDLY_API_TOKEN may not read event types; make one that may.";
        list(Scope::User).await?.map_err(|NotAllowed| refused.into())
    }

    /// The subscriptions of the organization and those of the token's user, as far as it may see them; and
    /// the widest scope in which it may make one.
    pub(super) async fn subscriptions(
        &self,
        me: &User,
    ) -> Result<(Scope, Vec<Subscription>), Failure> {
        let (mut widest, mut all) = (None, Vec::<Subscription>::new());
        for scope in [Scope::Organization, Scope::User] {
            if let Ok(found) = self.list::<Subscription>("webhook_subscriptions", me, scope).await?
            {
                widest = widest.or(Some(scope));
                let new =
                    found.into_iter().filter(|one| all.iter().all(|known| known.uri != one.uri));
                all.extend(new.collect::<Vec<_>>());
            }
        }
        let refused = "CALENDLY_API_TOKEN may not read webhook subscriptions; make one that may. Calendly \
                       has them in paid plans only.";
        Ok((widest.ok_or(refused)?, all))
    }

    /// Makes a subscription that signs with `key`.
    pub(super) async fn subscribe(
        &self,
        me: &User,
        scope: Scope,
        to: &Url,
        key: &Secret,
    ) -> Result<(), Failure> {
        let mut body = json!({
            "url": to.as_str(),
            "events": EVENTS,
            "organization": me.current_organization,
            "scope": scope.name(),
            "signing_key": key.expose(),
        });
        if scope == Scope::User {
            body["user"] = json!(me.uri);
        }
        let url = endpoint(&self.base, &["webhook_subscriptions"]);
        self.changed(Request::harmful(Method::Post, url, Some(body))).await
    }

    /// Removes a subscription.
    pub(super) async fn remove(&self, subscription: &Subscription) -> Result<(), Failure> {
        // Only the id is taken from what Calendly says, so that the token goes nowhere else.
        let id = subscription.uri.rsplit('/').next().unwrap_or_default();
        let url = endpoint(&self.base, &["webhook_subscriptions", id]);
        self.changed(Request::safe(Method::Delete, url, None)).await
    }

    /// Sends a request that changes something.
    async fn changed(&self, request: Request) -> Result<(), Failure> {
        let response = self.send(request).await?;
        if response.succeeded() {
            return Ok(());
        }
        let body = response.json();
        let says = body["message"].as_str().or_else(|| body["title"].as_str()).unwrap_or_default();
        Err(format!("Calendly responded {}. {says}", response.status).trim_end().into())
    }

    async fn send(&self, request: Request) -> Result<Response, Failure> {
        let bearer = format!("Bearer {}", self.token.expose());
        provider::send(self.platform, &request.header("authorization", bearer)).await
    }

    /// All pages of a list.
    async fn list<T: DeserializeOwned>(
        &self,
        what: &str,
        me: &User,
        scope: Scope,
    ) -> Result<Result<Vec<T>, NotAllowed>, Failure> {
        let mut found = Vec::new();
        let mut page_token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut url = endpoint(&self.base, &[what]);
            let mut query = url.query_pairs_mut();
            query.append_pair("count", PAGE);
            let of_subscriptions = what == "webhook_subscriptions";
            if scope == Scope::Organization || of_subscriptions {
                query.append_pair("organization", &me.current_organization);
            }
            if scope == Scope::User {
                query.append_pair("user", &me.uri);
            }
            if of_subscriptions {
                query.append_pair("scope", scope.name());
            }
            if let Some(token) = &page_token {
                query.append_pair("page_token", token);
            }
            drop(query);
            let Ok(page) = self.get::<Page<T>>(&url).await? else { return Ok(Err(NotAllowed)) };
            found.extend(page.collection);
            page_token = page.pagination.next_page_token;
            if page_token.is_none() {
                return Ok(Ok(found));
            }
        }
        Err(format!("Calendly has more than {PAGES_MAX} pages of {what}.").into())
    }

    async fn get<T: DeserializeOwned>(&self, url: &Url) -> Result<Result<T, NotAllowed>, Failure> {
        let response = self.send(Request::safe(Method::Get, url.clone(), None)).await?;
        let status = response.status;
        match status {
            401 => Err("Calendly does not accept CALENDLY_API_TOKEN; make a new one.".into()),
            403 => Ok(Err(NotAllowed)),
            _ if !response.succeeded() => {
                Err(format!("Calendly responded {status}; try again.").into())
            }
            _ => match serde_json::from_value(response.json()) {
                Ok(read) => Ok(Ok(read)),
                Err(_) => Err("CALENDLY_BASE_URL does not respond as Calendly does.".into()),
            },
        }
    }
}

impl Scope {
    /// Its name in the API.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::User => "user",
        }
    }
}
