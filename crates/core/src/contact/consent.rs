//! What a person agreed to, per purpose, and whether a message may go out.
//!
//! Owns the purposes of design §8, how a decision came about, and which of two words wins. Must not
//! know which destination needs which purpose: slots say that.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Why data is used. Each slot of a destination has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Answering the person: steps before a contract, at their request (LGPD art. 7 V).
    Contact,
    /// Newsletters and offers by e-mail.
    MarketingEmail,
    /// WhatsApp messages other than those about a booked call.
    Whatsapp,
    /// Measuring the site: GA4, Segment.
    Analytics,
    /// Advertising: Meta.
    Ads,
}

impl Purpose {
    /// All of them, in the order in which they are shown.
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

    /// Reads a name of [`Purpose::name`].
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == name)
    }
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The person agreed.
    Granted,
    /// The person did not agree, or took it back.
    Denied,
}

/// How a decision came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The person ticked, or left unticked, a box of its own.
    Explicit,
    /// The form had no consent object: the site's `CONSENT_WHEN_ABSENT` was assumed.
    Assumed,
    /// The person asked to be contacted by submitting, booking or paying.
    Contract,
    /// The person took it back through a provider: unsubscribed, or wrote "PARAR".
    Revoked,
}

/// A decision of a person about one purpose, as the lead keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Yes or no.
    pub decision: Decision,
    /// When the call that said so was accepted.
    pub at: Timestamp,
    /// How it came about.
    pub how: How,
}

/// What the lead holds, per purpose. Absent means that nothing was ever said.
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
    /// The decision about `purpose`, if there is one.
    pub const fn get(&self, purpose: Purpose) -> Option<&Grant> {
        match purpose {
            Purpose::Contact => self.contact.as_ref(),
            Purpose::MarketingEmail => self.marketing_email.as_ref(),
            Purpose::Whatsapp => self.whatsapp.as_ref(),
            Purpose::Analytics => self.analytics.as_ref(),
            Purpose::Ads => self.ads.as_ref(),
        }
    }

    /// Notes a decision.
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

/// What a form said about consent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormConsent {
    /// The boxes that were there, ticked or not.
    pub answers: BTreeMap<Purpose, Decision>,
    /// The version of the policy that the person saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_version: Option<String>,
}

impl FormConsent {
    /// Whether planning leaves out slots of `purpose`: only where the person just said no.
    pub fn denies(&self, purpose: Purpose) -> bool {
        self.answers.get(&purpose) == Some(&Decision::Denied)
    }
}

/// The decisions that one accepted call brings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsentChanges {
    /// Written whatever the lead held: the person just said so.
    pub explicit: Consents,
    /// Written only where the lead holds nothing: contact by contract, and what is assumed.
    pub if_absent: Consents,
    /// The version of the policy that the person saw.
    pub policy_version: Option<String>,
}

impl ConsentChanges {
    /// What submitting a form means: contact, and either its boxes or what the site assumes.
    pub fn of_form(form: Option<&FormConsent>, when_absent: &[Purpose], at: Timestamp) -> Self {
        let mut changes = Self::default();
        match form {
            Some(form) => {
                for (purpose, decision) in &form.answers {
                    let grant = Grant { decision: *decision, at, how: How::Explicit };
                    changes.explicit.set(*purpose, grant);
                }
                changes.policy_version.clone_from(&form.policy_version);
            }
            None => {
                for purpose in when_absent {
                    let grant = Grant { decision: Decision::Granted, at, how: How::Assumed };
                    changes.if_absent.set(*purpose, grant);
                }
            }
        }
        let contact = Grant { decision: Decision::Granted, at, how: How::Contract };
        changes.if_absent.set(Purpose::Contact, contact);
        changes
    }

    /// What booking a call means: contact.
    pub fn of_booking(at: Timestamp) -> Self {
        let mut changes = Self::default();
        let contact = Grant { decision: Decision::Granted, at, how: How::Contract };
        changes.if_absent.set(Purpose::Contact, contact);
        changes
    }

    /// Every decision, for the record that proves it.
    pub fn decisions(&self) -> impl Iterator<Item = (Purpose, Grant)> + '_ {
        Purpose::ALL.into_iter().filter_map(|purpose| {
            let grant = self.explicit.get(purpose).or_else(|| self.if_absent.get(purpose))?;
            Some((purpose, *grant))
        })
    }
}

/// What a person took back through a provider ("PARAR", unsubscribe), per purpose and time. It
/// stands at the person's alias, so that a lead made tomorrow does not undo it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocations(pub BTreeMap<Purpose, Timestamp>);

/// Whether a message for `purpose` may go out: the lead's own word or the alias's, whichever is
/// later. What was only assumed never outlives a revocation.
pub fn permits(purpose: Purpose, lead: &Consents, aliases: &[Revocations]) -> Decision {
    let Some(grant) = lead.get(purpose) else { return Decision::Denied };
    let revoked_at = aliases.iter().filter_map(|alias| alias.0.get(&purpose)).max();
    match revoked_at {
        Some(revoked_at) if grant.how == How::Assumed || *revoked_at >= grant.at => {
            Decision::Denied
        }
        Some(_) | None => grant.decision,
    }
}

/// Whether the person said no to `purpose`, on the lead or at an alias, and has not said yes since.
/// Somebody who said nothing did not.
pub fn refused(purpose: Purpose, lead: &Consents, aliases: &[Revocations]) -> bool {
    let revoked = aliases.iter().any(|alias| alias.0.contains_key(&purpose));
    let said = lead.get(purpose);
    match said {
        Some(_) => permits(purpose, lead, aliases) == Decision::Denied,
        None => revoked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(minute: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + minute * 60).unwrap()
    }

    fn lead(how: How, decision: Decision, minute: i64) -> Consents {
        let mut consents = Consents::default();
        consents.set(Purpose::Analytics, Grant { decision, at: time(minute), how });
        consents
    }

    #[test]
    fn the_later_word_wins_and_an_assumption_is_no_word() {
        let revoked = |minute| vec![Revocations([(Purpose::Analytics, time(minute))].into())];
        for (case, consents, aliases, expected) in [
            ("nothing said", Consents::default(), vec![], Decision::Denied),
            ("granted", lead(How::Explicit, Decision::Granted, 0), vec![], Decision::Granted),
            ("denied", lead(How::Explicit, Decision::Denied, 0), vec![], Decision::Denied),
            (
                "revoked later",
                lead(How::Explicit, Decision::Granted, 0),
                revoked(1),
                Decision::Denied,
            ),
            (
                "granted again",
                lead(How::Explicit, Decision::Granted, 2),
                revoked(1),
                Decision::Granted,
            ),
            ("at once", lead(How::Explicit, Decision::Granted, 1), revoked(1), Decision::Denied),
            (
                "assumed after",
                lead(How::Assumed, Decision::Granted, 2),
                revoked(1),
                Decision::Denied,
            ),
        ] {
            assert_eq!(permits(Purpose::Analytics, &consents, &aliases), expected, "{case}");
        }
    }

    #[test]
    fn who_said_nothing_did_not_refuse() {
        let revoked = |minute| vec![Revocations([(Purpose::Analytics, time(minute))].into())];
        let no = refused(Purpose::Analytics, &Consents::default(), &[]);
        assert!(!no, "nothing was said");
        assert!(refused(Purpose::Analytics, &Consents::default(), &revoked(0)));
        let lead_says = |decision| lead(How::Explicit, decision, 1);
        assert!(refused(Purpose::Analytics, &lead_says(Decision::Denied), &[]));
        assert!(!refused(Purpose::Analytics, &lead_says(Decision::Granted), &revoked(0)));
        assert!(refused(Purpose::Analytics, &lead_says(Decision::Granted), &revoked(2)));
    }

    #[test]
    fn a_form_grants_contact_and_what_its_boxes_say() {
        let form = FormConsent {
            answers: [(Purpose::Analytics, Decision::Granted), (Purpose::Ads, Decision::Denied)]
                .into(),
            policy_version: Some("2026-01".to_owned()),
        };
        let changes = ConsentChanges::of_form(Some(&form), &[Purpose::MarketingEmail], time(0));
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
    fn a_form_without_boxes_grants_what_the_site_assumes() {
        let changes = ConsentChanges::of_form(None, &[Purpose::Analytics], time(0));
        assert_eq!(changes.explicit, Consents::default());
        assert_eq!(changes.if_absent.analytics.unwrap().how, How::Assumed);
        assert_eq!(changes.if_absent.contact.unwrap().how, How::Contract);
    }
}
