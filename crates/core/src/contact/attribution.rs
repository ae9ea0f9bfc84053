//! Where a lead came from: campaign, page, and the browser's ids for analytics and ads.
//!
//! All of it is what a browser claimed: kept as personal text, cut to length, never trusted.

use serde::{Deserialize, Serialize};

use crate::pii::{self, Text};

/// The campaign parameters of the landing page's address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Utm {
    /// `utm_source`
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub source: Option<Text>,
    /// `utm_medium`
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub medium: Option<Text>,
    /// `utm_campaign`
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub campaign: Option<Text>,
    /// `utm_term`
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub term: Option<Text>,
    /// `utm_content`
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub content: Option<Text>,
}

impl Utm {
    /// The parameters with the names they have in an address, those that are there.
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

/// Everything that says where a lead came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribution {
    /// The campaign.
    #[serde(flatten)]
    pub utm: Utm,
    /// The page the form stood on.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub page_url: Option<Text>,
    /// The page before it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub referrer: Option<Text>,
    /// GA4's id of the browser, `<number>.<number>` of its `_ga` cookie.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub ga_client_id: Option<Text>,
    /// GA4's id of the visit.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub ga_session_id: Option<Text>,
    /// Meta's id of the browser, its `_fbp` cookie.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub fbp: Option<Text>,
    /// Meta's id of the click, its `_fbc` cookie.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub fbc: Option<Text>,
}
