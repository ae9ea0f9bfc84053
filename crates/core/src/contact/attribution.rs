//! Where a lead came from: campaign, page, and the browser's ids for analytics and ads.
//!
//! All of it comes from the browser, which can send anything. It is stored as personal text and
//! never trusted. The length limits are in [`crate::form::lead`].

use serde::{Deserialize, Serialize};

use crate::pii::{self, Text};

/// The campaign parameters in the query of the landing page's address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Utm {
    /// `utm_source`: the site or channel that sent the visitor.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub source: Option<Text>,
    /// `utm_medium`: the kind of channel.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub medium: Option<Text>,
    /// `utm_campaign`: the campaign.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub campaign: Option<Text>,
    /// `utm_term`: the paid search term.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub term: Option<Text>,
    /// `utm_content`: the variant of the ad or link.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub content: Option<Text>,
}

impl Utm {
    /// The parameters that are present, each with its name in the address.
    pub fn parameters(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("utm_source", &self.source),
            ("utm_medium", &self.medium),
            ("utm_campaign", &self.campaign),
            ("utm_term", &self.term),
            ("utm_content", &self.content),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?.expose().as_str())))
    }
}

/// Where a lead came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribution {
    /// The campaign parameters.
    #[serde(flatten)]
    pub utm: Utm,
    /// The campaign of the first visit that the browser remembers, which may be long before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_utm: Option<Utm>,
    /// The address of the page with the form.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub page_url: Option<Text>,
    /// The address of the page that was visited before it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub referrer: Option<Text>,
    /// GA4's id of the browser: `<number>.<number>`, the end of the `_ga` cookie.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub ga_client_id: Option<Text>,
    /// GA4's id of the session.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub ga_session_id: Option<Text>,
    /// Meta's id of the browser: the `_fbp` cookie.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub fbp: Option<Text>,
    /// Meta's id of the click on an ad: the `_fbc` cookie.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub fbc: Option<Text>,
}
