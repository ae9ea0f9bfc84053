//! What a page reports of a visit: events for analytics, of somebody who is no lead.
//!
//! It is kept for as long as analytics takes it, and belongs to no journey. What is in it was chosen by an
//! allow-list before (`destination/ga4/collect.rs`).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::group::event_group;
use crate::contact::consent::Decision;
use crate::id::LeadId;
use crate::pii::{self, Text};

event_group! {
    /// A page reported something of a visit.
    VisitEvent in EventData::Visit {
        /// Something happened on a page.
        "page_events" => PageEvents(PageEvents),
    }
}

/// What happened on a page, as one request reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageEvents {
    /// GA4's id of the browser: `<number>.<number>`.
    #[serde(with = "pii::stored")]
    pub client_id: Text,
    /// GA4's id of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Whether data may be sent to Google for advertising.
    pub ad_user_data: Decision,
    /// Whether it may be used for personalised advertising.
    pub ad_personalization: Decision,
    /// The events, in their order; at most 25.
    pub events: Vec<PageEvent>,
}

/// One event of a page, with the parameters that may go to GA4.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageEvent {
    /// GA4's name of it.
    pub name: String,
    /// The lead that the page names. Anybody can write any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead_id: Option<LeadId>,
    /// Its parameters: texts, numbers, and the list `items`.
    pub params: Map<String, Value>,
}
