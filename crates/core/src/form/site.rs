//! What the site's forms share: the circumstances that a page sends along with what a person typed.
//!
//! Owns their names, and that none of them is ever a reason to refuse a form: what cannot be read is dropped
//! and noted. These forms write their names in snake case, and put what was typed into an object `data` or,
//! as a plain HTML form does, beside the rest. This module must not know the fields of any particular form;
//! the limits of addresses and campaigns are those of the landing page's form.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::{Fields, YES};
use super::lead::{BROWSER_ID_CHARS_MAX, URL_CHARS_MAX, UTM_CHARS_MAX, is_web_address};
use super::{Fault, Schema};
use crate::contact::attribution::{Attribution, Utm};
use crate::contact::consent::{Decision, FormConsent, Purpose};
use crate::id::LeadId;
use crate::pii::{self, Text};

/// The longest `form_type`, in characters.
const FORM_TYPE_CHARS_MAX: usize = 50;

/// What came along with a submission that no person typed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The lead id that the browser sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead_id: Option<LeadId>,
    /// The site's own name of the form.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub form_type: Option<Text>,
    /// When it was sent, by the browser's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// The campaign, the page and the browser's ids.
    pub attribution: Attribution,
    /// The consent object, if the form has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<FormConsent>,
    /// The names of fields that were dropped because they could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
}

/// Where a body has what the person typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// In the object `data`.
    Nested,
    /// At the top of the body, beside its other members.
    Flat,
}

impl Layout {
    /// The layout of a body.
    pub(super) fn of(body: &Value) -> Self {
        if body.get("data").is_some_and(Value::is_object) { Self::Nested } else { Self::Flat }
    }

    /// The schemas of both layouts of a form.
    pub(super) fn schemas<T>(read: impl Fn(&mut Fields<'_>, Self) -> T) -> Vec<Schema> {
        let of = |layout| Fields::schema(|fields| read(fields, layout));
        vec![of(Self::Flat), of(Self::Nested)]
    }

    /// Reads what the person typed.
    pub(super) fn typed<'v, T>(
        self,
        fields: &mut Fields<'v>,
        read: impl FnOnce(&mut Fields<'v>) -> Option<T>,
    ) -> Option<T> {
        match self {
            Self::Nested => fields.required_part("data", read).flatten(),
            Self::Flat => read(fields),
        }
    }
}

impl Origin {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let mut cut = |name: &str, chars_max| {
            fields.or_dropped(name, |fields, name| fields.text_cut(name, chars_max))
        };
        let form_type = cut("form_type", FORM_TYPE_CHARS_MAX);
        let ga_client_id = cut("ga_client_id", BROWSER_ID_CHARS_MAX);
        let fbp = cut("fbp", BROWSER_ID_CHARS_MAX);
        let fbc = cut("fbc", BROWSER_ID_CHARS_MAX);
        let lead_id = fields.or_dropped("lead_id", Fields::lead_id);
        let sent_at = fields.or_dropped("timestamp", Fields::moment);
        let session = fields.or_dropped("ga_session_id", |fields, name| fields.answer(name, 100));
        let attribution = Attribution {
            utm: campaign_in(fields, "utm_params")
                .unwrap_or_else(|| campaign(|parameter| member(fields, parameter))),
            first_utm: campaign_in(fields, "first_utm_params").filter(|utm| *utm != Utm::default()),
            page_url: fields.or_dropped("page_url", web_address),
            referrer: fields.or_dropped("referrer", web_address),
            ga_client_id,
            ga_session_id: session.map(|id| Text::new(id.text())),
            fbp,
            fbc,
        };
        let consent = fields.consent("consent");
        let dropped = fields.dropped();
        Self { lead_id, form_type, sent_at, attribution, consent, dropped }
    }

    /// What the form decides about consent: its consent object, and the box for marketing, which counts for
    /// that purpose alone. `None` where it has neither.
    pub(super) fn consent_with(&self, marketing: Option<Decision>) -> Option<FormConsent> {
        let marketing = marketing.map(|decision| (Purpose::MarketingEmail, decision));
        if self.consent.is_none() && marketing.is_none() {
            return None;
        }
        let mut consent = self.consent.clone().unwrap_or_default();
        consent.answers.extend(marketing);
        Some(consent)
    }

    /// Without what is another one each time the page sends the same submission again.
    pub(super) fn without_circumstances(&self) -> Self {
        let mut origin = Self { sent_at: None, ..self.clone() };
        origin.attribution.ga_session_id = None;
        origin
    }

    /// The path of the page with the form, without its query: `/contato`. `None` where it looks personal.
    pub fn location(&self) -> Option<String> {
        let url = url::Url::parse(self.attribution.page_url.as_ref()?.expose()).ok()?;
        Some(url.path().to_owned()).filter(|path| !pii::path_looks_personal(path))
    }
}

/// The box for marketing. A page without it, or a browser that sends no unticked box, decides nothing.
pub(super) fn marketing_box(fields: &mut Fields<'_>) -> Option<Decision> {
    let ticked = fields.flag("marketing_consent")?;
    Some(if ticked { Decision::Granted } else { Decision::Denied })
}

fn web_address(fields: &mut Fields<'_>, name: &str) -> Option<Text> {
    fields.parsed(name, Fault::Url, |text| {
        let address: String = text.chars().take(URL_CHARS_MAX).collect();
        Some(Text::new(address)).filter(is_web_address)
    })
}

/// A campaign in an object of this name, with `utm_source` or `source`. That of this visit may stand beside the rest.
fn campaign_in(fields: &mut Fields<'_>, name: &str) -> Option<Utm> {
    fields.or_dropped(name, |fields, name| {
        fields.object(name, |utm| {
            campaign(|parameter| {
                member(utm, parameter).or_else(|| member(utm, parameter.strip_prefix("utm_")?))
            })
        })
    })
}

fn member(fields: &mut Fields<'_>, name: &str) -> Option<Text> {
    fields.or_dropped(name, |fields, name| fields.text_cut(name, UTM_CHARS_MAX))
}

fn campaign(mut parameter: impl FnMut(&str) -> Option<Text>) -> Utm {
    Utm {
        source: parameter("utm_source"),
        medium: parameter("utm_medium"),
        campaign: parameter("utm_campaign"),
        term: parameter("utm_term"),
        content: parameter("utm_content"),
    }
}

/// Whether a box that must be ticked is.
pub(super) fn is_ticked(value: &Value) -> bool {
    match value {
        Value::Bool(ticked) => *ticked,
        Value::String(text) => YES.contains(&text.trim().to_ascii_lowercase().as_str()),
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => false,
    }
}
