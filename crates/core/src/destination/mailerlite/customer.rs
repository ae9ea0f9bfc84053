//! In which group of customers somebody is who paid, and which groups they leave that sell what they bought.
//!
//! Must not know MailerLite's requests, nor the ids of its groups.

use std::collections::BTreeMap;

use crate::lead::Lead;
use crate::money::{Currency, Money};
use crate::settings::Settings;
use crate::text::words;

/// The prefix of a group of people to whom a service is offered; the service's name in [`words`] follows.
pub(super) const SELLS: &str = "sells_";
/// How many such groups one purchase names at most: by the service's id and by its kind.
pub(super) const SOLD_MAX: usize = 2;

/// The variable with the group of each pricing tier.
const TIERS: &str = "MAILERLITE_CUSTOMER_TIERS";
/// The variable with the amounts from which a payment makes a VIP, by currency.
const VIP_FROM: &str = "MAILERLITE_VIP_FROM";
/// From how many whole units a payment makes a VIP in these currencies, unless the variable says otherwise.
const VIP_UNITS: u32 = 1_000;
const VIP_CURRENCIES: [&str; 4] = ["BRL", "EUR", "GBP", "USD"];

/// The groups of customers, of which somebody who paid is in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Customer {
    Vip,
    Premium,
    Standard,
}

impl Customer {
    pub(super) const ALL: [Self; 3] = [Self::Vip, Self::Premium, Self::Standard];

    /// Our name of the group.
    pub(super) const fn group(self) -> &'static str {
        match self {
            Self::Vip => "customers_vip",
            Self::Premium => "customers_premium",
            Self::Standard => "customers_standard",
        }
    }
}

/// What a lead's payments say about their group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// They are in this one, and in no other.
    In(Customer),
    /// They are in none: nothing is left of what they paid.
    InNone,
    /// They stay where they are: the newest payment was given back, and an earlier one stands.
    AsBefore,
}

/// How a payment decides about the customer's group.
#[derive(Debug)]
pub(super) struct Tiers {
    /// The group of a pricing tier, by its [`words`].
    of_tier: BTreeMap<String, Customer>,
    /// From which amount a payment makes a VIP.
    vip_from: BTreeMap<Currency, Money>,
}

impl Tiers {
    pub(super) fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let of_tier = of_tier(settings);
        let vip_from = vip_from(settings);
        Some(Self { of_tier: of_tier?, vip_from: vip_from? })
    }

    /// The group of a lead: by its newest payment, as long as something is left of it.
    pub(super) fn of(&self, lead: &Lead) -> Standing {
        let Some(purchase) = &lead.payments.purchase else { return Standing::InNone };
        if purchase.left.minor == 0 {
            let is_customer = lead.spent.values().any(|minor| *minor > 0);
            return if is_customer { Standing::AsBefore } else { Standing::InNone };
        }
        let amount = purchase.amount;
        let from = self.vip_from.get(&amount.currency);
        if from.is_some_and(|from| amount.minor >= from.minor) {
            return Standing::In(Customer::Vip);
        }
        let tier = purchase.bought.pricing_tier.as_deref();
        let named = tier.and_then(|tier| self.of_tier.get(&words(tier)));
        Standing::In(named.copied().unwrap_or(Customer::Standard))
    }
}

fn of_tier(settings: &mut Settings<'_>) -> Option<BTreeMap<String, Customer>> {
    let Some(text) = settings.optional(TIERS) else {
        let usual = [("enterprise", Customer::Vip), ("premium", Customer::Premium)];
        return Some(usual.map(|(tier, customer)| (tier.to_owned(), customer)).into());
    };
    let read = || -> Option<BTreeMap<String, Customer>> {
        let tiers: BTreeMap<String, String> = serde_json::from_str(text).ok()?;
        let group = |name: &str| Customer::ALL.into_iter().find(|tier| tier.group() == name);
        tiers.into_iter().map(|(tier, name)| Some((words(&tier), group(&name)?))).collect()
    };
    read().or_else(|| {
        settings.problem(format!(
            "{TIERS} must be JSON with customers_vip, customers_premium or customers_standard for each \
             pricing tier, as {{\"enterprise\":\"customers_vip\"}}."
        ))
    })
}

fn vip_from(settings: &mut Settings<'_>) -> Option<BTreeMap<Currency, Money>> {
    let whole = |(currency, units): (&str, u32)| {
        let currency = Currency::parse(currency)?;
        Some((currency, Money::whole(units, currency)))
    };
    let Some(text) = settings.optional(VIP_FROM) else {
        return VIP_CURRENCIES.into_iter().map(|name| whole((name, VIP_UNITS))).collect();
    };
    let read = || -> Option<BTreeMap<Currency, Money>> {
        let amounts: BTreeMap<String, u32> = serde_json::from_str(text).ok()?;
        amounts.iter().map(|(currency, units)| whole((currency.as_str(), *units))).collect()
    };
    read().or_else(|| {
        settings.problem(format!(
            "{VIP_FROM} must be JSON with an amount in whole units for each currency, as \
             {{\"BRL\":1000}}."
        ))
    })
}

/// Our names of the groups that sell what the lead bought last.
pub(super) fn sold(lead: &Lead) -> Vec<String> {
    let Some(purchase) = lead.payments.purchase.as_ref().filter(|one| one.left.minor > 0) else {
        return Vec::new();
    };
    let bought = &purchase.bought;
    let services = [&bought.service_id, &bought.service_type].into_iter().flatten();
    let mut groups: Vec<String> =
        services.map(|service| format!("{SELLS}{}", words(service))).collect();
    groups.dedup();
    groups
}

#[cfg(test)]
mod tests {
    use super::super::super::samples::paying;
    use super::*;
    use crate::settings::Env;

    fn tiers(variables: &[(&'static str, &'static str)]) -> Result<Tiers, String> {
        let env: Env = variables.iter().copied().collect();
        let mut settings = env.settings();
        let tiers = Tiers::read(&mut settings);
        settings.finish(tiers).map_err(|error| error.to_string())
    }

    fn lead(tier: Option<&str>, minor: i64, currency: &str) -> Lead {
        let mut lead = paying();
        let purchase = lead.payments.purchase.as_mut().unwrap();
        purchase.bought.pricing_tier = tier.map(str::to_owned);
        purchase.amount = Money { minor, currency: Currency::parse(currency).unwrap() };
        purchase.left = purchase.amount;
        lead
    }

    #[test]
    fn the_newest_payment_decides_by_its_amount_and_its_tier() {
        let usual = tiers(&[]).unwrap();
        for (tier, minor, currency, expected) in [
            (Some("Enterprise"), 100, "BRL", Customer::Vip),
            (Some("premium"), 99_999, "BRL", Customer::Premium),
            (Some("premium"), 100_000, "BRL", Customer::Vip),
            (None, 100_000, "USD", Customer::Vip),
            (None, 5_000, "JPY", Customer::Standard),
            (Some("básico"), 100, "BRL", Customer::Standard),
        ] {
            let found = usual.of(&lead(tier, minor, currency));
            assert_eq!(found, Standing::In(expected), "{tier:?} {minor} {currency}");
        }
        let own = tiers(&[
            ("MAILERLITE_CUSTOMER_TIERS", r#"{"Básico":"customers_premium"}"#),
            ("MAILERLITE_VIP_FROM", r#"{"JPY":5000}"#),
        ]);
        let own = own.unwrap();
        let of = |tier, minor, currency| own.of(&lead(tier, minor, currency));
        assert_eq!(of(Some("basico"), 100_000, "BRL"), Standing::In(Customer::Premium));
        assert_eq!(of(None, 5_000, "JPY"), Standing::In(Customer::Vip));
        assert_eq!(of(Some("enterprise"), 100, "BRL"), Standing::In(Customer::Standard));
    }

    #[test]
    fn who_was_given_everything_back_is_no_customer() {
        let usual = tiers(&[]).unwrap();
        let mut lead = lead(Some("premium"), 10_000, "BRL");
        assert_eq!(sold(&lead), ["sells_mentoria_individual", "sells_mentoria"]);
        lead.payments.purchase.as_mut().unwrap().left.minor = 0;
        lead.spent = [(Currency::BRL, 500)].into();
        assert_eq!(usual.of(&lead), Standing::AsBefore, "an earlier payment stands");
        lead.spent = [(Currency::BRL, 0)].into();
        assert_eq!(usual.of(&lead), Standing::InNone);
        assert_eq!(sold(&lead), Vec::<String>::new());
        let nobody = super::super::super::samples::lead();
        assert_eq!(usual.of(&nobody), Standing::InNone, "nobody paid");
    }

    #[test]
    fn wrong_variables_say_what_they_must_be() {
        for (name, value) in [
            ("MAILERLITE_CUSTOMER_TIERS", r#"{"premium":"gold"}"#),
            ("MAILERLITE_CUSTOMER_TIERS", "premium"),
            ("MAILERLITE_VIP_FROM", r#"{"BRL":"1000"}"#),
            ("MAILERLITE_VIP_FROM", r#"{"reais":1000}"#),
        ] {
            let error = tiers(&[(name, value)]).unwrap_err();
            assert!(error.contains(&format!("{name} must be JSON")), "{error}");
        }
    }
}
