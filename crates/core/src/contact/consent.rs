//! What a person agreed to, for each purpose, and whether data may be used for it.
//!
//! Owns the purposes, how a decision was made, and which of two decisions wins; see
//! `docs/design.md` ("Consent"). It must not know which destination needs which purpose: each slot
//! names its own.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What personal data is used for. Each slot of a destination has one purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Responding to the person: steps before a contract, at their request (LGPD art. 7 V).
    Contact,
    /// Newsletters and offers by e-mail.
    MarketingEmail,
    /// WhatsApp messages. Those about a booked call need [`Contact`](Self::Contact), and that this
    /// one was not refused.
    Whatsapp,
    /// Analytics: GA4, Segment.
    Analytics,
    /// Advertising: Meta.
    Ads,
}

impl Purpose {
    /// All purposes, in the order in which they are shown.
    pub const ALL: [Self; 5] =
        [Self::Contact, Self::MarketingEmail, Self::Whatsapp, Self::Analytics, Self::Ads];

    /// The name in configuration and in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::MarketingEmail => "marketing_email",
            Self::Whatsapp => "whatsapp",
            Self::Analytics => "analytics",
            Self::Ads => "ads",
        }
    }

    /// The purpose with this [`Purpose::name`].
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == name)
    }
}

/// Whether a person agreed to a purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The person agreed.
    Granted,
    /// The person did not agree, or revoked the consent.
    Denied,
}

/// How a decision was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The person ticked a box for this purpose, or left it unticked.
    Explicit,
    /// The form had no consent object, so the site's `CONSENT_WHEN_ABSENT` applied.
    Assumed,
    /// The person asked to be contacted, by submitting a form or booking a call.
    Contract,
    /// The site's operator states that the person agreed, where the operator's CRM reports them: `DEAL_PURPOSES`.
    Stated,
    /// The person revoked the consent through a channel, for example by writing "PARAR".
    Revoked,
    /// The person took that back through the channel, for example by writing "VOLTAR", or an operator
    /// did so for them.
    Restored,
}

/// A decision of a person about one purpose, as stored on the lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Whether the person agreed.
    pub decision: Decision,
    /// When the request with the decision was accepted.
    pub at: Timestamp,
    /// How the decision was made.
    pub how: How,
}

/// The decisions stored on the lead, for each purpose. `None` means that there never was one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consents {
    /// See [`Purpose::Contact`].
    #[serde(rename = "consent_contact", default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<Grant>,
    /// See [`Purpose::MarketingEmail`].
    #[serde(rename = "consent_marketing_email", default, skip_serializing_if = "Option::is_none")]
    pub marketing_email: Option<Grant>,
    /// See [`Purpose::Whatsapp`].
    #[serde(rename = "consent_whatsapp", default, skip_serializing_if = "Option::is_none")]
    pub whatsapp: Option<Grant>,
    /// See [`Purpose::Analytics`].
    #[serde(rename = "consent_analytics", default, skip_serializing_if = "Option::is_none")]
    pub analytics: Option<Grant>,
    /// See [`Purpose::Ads`].
    #[serde(rename = "consent_ads", default, skip_serializing_if = "Option::is_none")]
    pub ads: Option<Grant>,
}

impl Consents {
    /// The decision about a purpose.
    pub const fn get(&self, purpose: Purpose) -> Option<&Grant> {
        match purpose {
            Purpose::Contact => self.contact.as_ref(),
            Purpose::MarketingEmail => self.marketing_email.as_ref(),
            Purpose::Whatsapp => self.whatsapp.as_ref(),
            Purpose::Analytics => self.analytics.as_ref(),
            Purpose::Ads => self.ads.as_ref(),
        }
    }

    /// Sets the decision about a purpose.
    pub const fn set(&mut self, purpose: Purpose, grant: Grant) {
        match purpose {
            Purpose::Contact => self.contact = Some(grant),
            Purpose::MarketingEmail => self.marketing_email = Some(grant),
            Purpose::Whatsapp => self.whatsapp = Some(grant),
            Purpose::Analytics => self.analytics = Some(grant),
            Purpose::Ads => self.ads = Some(grant),
        }
    }
}

/// The consent object of a form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormConsent {
    /// The boxes that the form had: granted if ticked, denied if not.
    pub answers: BTreeMap<Purpose, Decision>,
    /// The version of the privacy policy that the person saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_version: Option<String>,
}

impl FormConsent {
    /// The lead's consents, but for the purposes that this form decides.
    pub fn over(&self, lead: &Consents, at: Timestamp) -> Consents {
        let mut consents = lead.clone();
        for (purpose, decision) in &self.answers {
            consents.set(*purpose, Grant { decision: *decision, at, how: How::Explicit });
        }
        consents
    }

    /// Whether the form explicitly denies a purpose. Planning then leaves out the slots of that
    /// purpose.
    pub fn denies(&self, purpose: Purpose) -> bool {
        self.answers.get(&purpose) == Some(&Decision::Denied)
    }
}

/// The consent decisions that follow from one accepted request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsentChanges {
    /// Decisions that replace those of the lead, because the person made them explicitly.
    pub explicit: Consents,
    /// Decisions that are written only if the lead has none: contact, and what is assumed.
    pub if_absent: Consents,
    /// The version of the privacy policy that the person saw.
    pub policy_version: Option<String>,
}

impl ConsentChanges {
    /// The decisions that follow from submitting a form: contact, the form's boxes, and the purposes that
    /// are assumed where it had no box for them.
    pub fn of_form(form: Option<&FormConsent>, assumed: &[Purpose], at: Timestamp) -> Self {
        let mut changes = Self::default();
        if let Some(form) = form {
            for (purpose, decision) in &form.answers {
                let grant = Grant { decision: *decision, at, how: How::Explicit };
                changes.explicit.set(*purpose, grant);
            }
            changes.policy_version.clone_from(&form.policy_version);
        }
        for purpose in assumed {
            if changes.explicit.get(*purpose).is_none() {
                let grant = Grant { decision: Decision::Granted, at, how: How::Assumed };
                changes.if_absent.set(*purpose, grant);
            }
        }
        let contact = Grant { decision: Decision::Granted, at, how: How::Contract };
        changes.if_absent.set(Purpose::Contact, contact);
        changes
    }

    /// The decisions that the operator of a CRM states for those whom it reports. What a person decided
    /// themselves stays.
    pub fn of_operator(purposes: &[Purpose], at: Timestamp) -> Self {
        let mut changes = Self::default();
        for purpose in purposes {
            let grant = Grant { decision: Decision::Granted, at, how: How::Stated };
            changes.if_absent.set(*purpose, grant);
        }
        changes
    }

    /// The decision that follows from booking a call: contact.
    pub fn of_contract(at: Timestamp) -> Self {
        let mut changes = Self::default();
        let contact = Grant { decision: Decision::Granted, at, how: How::Contract };
        changes.if_absent.set(Purpose::Contact, contact);
        changes
    }

    /// Every decision, for the record that proves the consent.
    pub fn decisions(&self) -> impl Iterator<Item = (Purpose, Grant)> + '_ {
        Purpose::ALL.into_iter().filter_map(|purpose| {
            let grant = self.explicit.get(purpose).or_else(|| self.if_absent.get(purpose))?;
            Some((purpose, *grant))
        })
    }
}

/// What a channel said of an address: what the person revoked (such as by "PARAR" on WhatsApp), and whether
/// mail reaches it. It is stored at the address, so that it holds for every lead with that address, also for
/// one that is created later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revocations {
    /// When each purpose was revoked.
    pub purposes: BTreeMap<Purpose, Timestamp>,
    /// Whether mail reaches it.
    pub mailbox: Mailbox,
}

/// Whether mail reaches an address, as far as is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mailbox {
    /// Nothing is said against it.
    #[default]
    Open,
    /// Mail to it fails.
    Bounces,
}

/// Whether data may be used for a purpose: the lead's newest decision grants it, and nothing was
/// revoked through a channel. A form never undoes such a revocation; only the channel itself does, or
/// an operator.
pub fn permits(purpose: Purpose, lead: &Consents, revocations: &[Revocations]) -> Decision {
    match lead.get(purpose) {
        Some(grant) if !is_revoked(purpose, revocations) => grant.decision,
        Some(_) | None => Decision::Denied,
    }
}

/// Whether a purpose was revoked through a channel at any of these addresses. A box that a form left
/// unticked is no revocation.
pub fn is_revoked(purpose: Purpose, revocations: &[Revocations]) -> bool {
    revocations.iter().any(|known| known.purposes.contains_key(&purpose))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(minute: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + minute * 60).unwrap()
    }

    fn lead(how: How, decision: Decision, minute: i64) -> Consents {
        let mut consents = Consents::default();
        consents.set(Purpose::Whatsapp, Grant { decision, at: time(minute), how });
        consents
    }

    #[test]
    fn no_decision_of_a_form_outlives_a_revocation_through_a_channel() {
        let revoked = || {
            let purposes = [(Purpose::Whatsapp, time(1))].into();
            vec![Revocations { purposes, ..Revocations::default() }]
        };
        let granted = |how| lead(how, Decision::Granted, 2);
        for (case, consents, aliases, permitted, is_revoked_then) in [
            ("no decision", Consents::default(), vec![], Decision::Denied, false),
            ("only revoked", Consents::default(), revoked(), Decision::Denied, true),
            ("granted", granted(How::Explicit), vec![], Decision::Granted, false),
            (
                "not ticked",
                lead(How::Explicit, Decision::Denied, 2),
                vec![],
                Decision::Denied,
                false,
            ),
            (
                "granted after it was revoked",
                granted(How::Explicit),
                revoked(),
                Decision::Denied,
                true,
            ),
            (
                "assumed after it was revoked",
                granted(How::Assumed),
                revoked(),
                Decision::Denied,
                true,
            ),
            ("restored", granted(How::Restored), vec![], Decision::Granted, false),
        ] {
            assert_eq!(permits(Purpose::Whatsapp, &consents, &aliases), permitted, "{case}");
            assert_eq!(is_revoked(Purpose::Whatsapp, &aliases), is_revoked_then, "{case}");
        }
    }

    #[test]
    fn a_form_grants_contact_and_the_boxes_that_are_ticked() {
        let form = FormConsent {
            answers: [(Purpose::Analytics, Decision::Granted), (Purpose::Ads, Decision::Denied)]
                .into(),
            policy_version: Some("2026-01".to_owned()),
        };
        let changes = ConsentChanges::of_form(Some(&form), &[], time(0));
        let decisions: Vec<_> =
            changes.decisions().map(|(p, g)| (p.name(), g.decision, g.how)).collect();
        assert_eq!(
            decisions,
            [
                ("contact", Decision::Granted, How::Contract),
                ("analytics", Decision::Granted, How::Explicit),
                ("ads", Decision::Denied, How::Explicit),
            ]
        );
    }

    #[test]
    fn a_form_without_a_consent_object_grants_what_the_site_assumes() {
        let changes = ConsentChanges::of_form(None, &[Purpose::Analytics], time(0));
        assert_eq!(changes.explicit, Consents::default());
        assert_eq!(changes.if_absent.analytics.unwrap().how, How::Assumed);
        assert_eq!(changes.if_absent.contact.unwrap().how, How::Contract);
    }
}
