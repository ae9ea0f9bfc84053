//! The groups of a subscriber: which we know, and which each slot joins and leaves.
//!
//! Must not know fields, or how requests are made.

use std::collections::BTreeMap;

use super::customer::{self, Customer, Standing};
use super::{
    CUSTOMER, Joining, MARKETING, MailerLite, QUESTIONNAIRE, Subscriber, is_oldest, of_site,
};
use crate::delivery::exchange::Method;
use crate::destination::{Context, Slot};
use crate::event::SiteForm;
use crate::score::Tier;
use crate::settings::Settings;
use crate::text::words;

/// Everybody who sent the form and agreed to marketing.
const LANDING_PAGE: &str = "landing_page_leads";
/// The groups of the score's tiers. A lead is in one of them.
const TIERS: [(Tier, &str); 3] = [
    (Tier::High, "amanda_score_high"),
    (Tier::Medium, "amanda_score_medium"),
    (Tier::Low, "amanda_score_low"),
];
/// What the name of a group of a business type begins with; its [`words`] follow.
const BUSINESS_TYPE: &str = "business_type_";

/// Whether we know a group of this name.
pub fn is_group(name: &str) -> bool {
    let of_value = [BUSINESS_TYPE, customer::SELLS];
    let value = of_value.into_iter().find_map(|prefix| name.strip_prefix(prefix));
    let of_forms = SiteForm::ALL.map(SiteForm::name);
    [QUESTIONNAIRE.name, MARKETING.name, LANDING_PAGE].contains(&name)
        || of_forms.contains(&name)
        || TIERS.iter().any(|(_, group)| *group == name)
        || Customer::ALL.iter().any(|tier| tier.group() == name)
        || value.is_some_and(|value| !value.is_empty() && value == words(value))
}

/// The variable with the ids of the groups.
pub(super) const GROUPS: &str = "MAILERLITE_GROUPS";
/// The message about a value of [`GROUPS`] that is wrong: it says what the value must be.
pub(super) const GROUPS_ARE: &str = "MAILERLITE_GROUPS must be JSON with the numeric ids, as texts, of the groups questionnaire and \
     marketing, and of those there are of the site's forms by name, as contact, landing_page_leads, amanda_score_high, amanda_score_medium, \
     amanda_score_low, customers_vip, customers_premium, customers_standard, business_type_<value> and \
     sells_<service>, both in lower case, without accents, _ between words.";

/// The groups of `MAILERLITE_GROUPS`, our names to their ids, none where it is unset. `None` if it is wrong,
/// which the settings note.
pub fn configured_groups(settings: &mut Settings<'_>) -> Option<BTreeMap<String, String>> {
    let Some(text) = settings.optional(GROUPS) else { return Some(BTreeMap::new()) };
    let groups: Option<BTreeMap<String, String>> = serde_json::from_str(text).ok();
    let is_id = |id: &String| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    let known = groups
        .filter(|groups| groups.keys().all(|name| is_group(name)) && groups.values().all(is_id));
    known.or_else(|| settings.problem(GROUPS_ARE))
}

impl MailerLite {
    /// The ids of the groups that the slot joins, in their order.
    pub(super) fn joins(&self, context: &Context<'_>) -> Vec<&str> {
        let id = |name: &str| self.groups.get(name).map(String::as_str);
        if context.slot == &CUSTOMER {
            return match self.tiers.of(context.lead) {
                Standing::In(tier) => id(tier.group()).into_iter().collect(),
                Standing::InNone | Standing::AsBefore => Vec::new(),
            };
        }
        if let Some(submission) = of_site(&context.event.data) {
            return id(submission.form.name()).into_iter().collect();
        }
        let mut joins: Vec<_> = id(context.slot.name).into_iter().collect();
        if context.slot == &MARKETING {
            let latest = &context.lead.latest;
            let business_type = latest.business_type.as_ref();
            let business_type =
                business_type.map(|text| format!("{BUSINESS_TYPE}{}", words(text.expose())));
            let tier = latest.amanda_score.as_ref().and_then(|score| {
                TIERS.into_iter().find(|(tier, _)| *tier == score.tier).map(|(_, name)| name)
            });
            let joined = [Some(LANDING_PAGE), business_type.as_deref(), tier];
            joins.extend(joined.into_iter().flatten().filter_map(id));
        }
        joins
    }

    /// The ids of the groups that the slot leaves: those of the tiers that the lead is not in, and those that
    /// sell what was bought.
    fn leaves(&self, context: &Context<'_>) -> Vec<&str> {
        let id = |name: &str| self.groups.get(name).map(String::as_str);
        if context.slot == &CUSTOMER {
            // Another lead of the e-mail may have paid, of which this one knows nothing.
            let others = match self.tiers.of(context.lead) {
                _ if !is_oldest(context) => Vec::new(),
                Standing::In(tier) => {
                    Customer::ALL.into_iter().filter(|one| *one != tier).collect()
                }
                Standing::InNone => Customer::ALL.to_vec(),
                Standing::AsBefore => Vec::new(),
            };
            let others = others.into_iter().filter_map(|other| id(other.group()));
            let sold = customer::sold(context.lead);
            return others.chain(sold.iter().filter_map(|group| id(group))).collect();
        }
        let score = context.lead.latest.amanda_score.as_ref();
        let Some(score) = score.filter(|_| context.slot == &MARKETING) else { return Vec::new() };
        let others = TIERS.into_iter().filter(|(tier, _)| *tier != score.tier);
        others.filter_map(|(_, name)| id(name)).collect()
    }

    /// The requests about groups that follow the upsert.
    pub(super) fn changes(
        &self,
        context: &Context<'_>,
        subscriber: &Subscriber,
    ) -> Vec<(Method, &str)> {
        let joins = match self.joining {
            Joining::WithFields => Vec::new(),
            Joining::OneByOne => self.joins(context),
        };
        let is_in = |group: &&str| match &subscriber.groups {
            Some(groups) => groups.iter().any(|one| one == group),
            None => true,
        };
        let leaves = self.leaves(context).into_iter().filter(is_in);
        let leaves = leaves.map(|group| (Method::Delete, group));
        joins.into_iter().map(|group| (Method::Post, group)).chain(leaves).collect()
    }

    /// How many groups a slot leaves at most.
    pub(super) fn leaves_max(&self, slot: &Slot) -> usize {
        let configured =
            |names: &[&str]| names.iter().filter(|name| self.groups.contains_key(**name)).count();
        if *slot == MARKETING {
            configured(&TIERS.map(|(_, group)| group)).saturating_sub(1)
        } else if *slot == CUSTOMER {
            let sells = self.groups.keys().filter(|name| name.starts_with(customer::SELLS)).count();
            configured(&Customer::ALL.map(Customer::group)) + sells.min(customer::SOLD_MAX)
        } else {
            0
        }
    }
}
