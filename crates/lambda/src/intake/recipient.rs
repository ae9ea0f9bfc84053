//! To whom the messages about a call go (`docs/design.md`, "Who may say what").
//!
//! Anybody who knows an e-mail can send a form with a number of their own, so a number counts only
//! where every form of that e-mail gives the same one. Must not know any calendar.

use funil_core::booking::{NoNumber, Recipient};
use funil_core::contact::LEADS_COMPARED;
use funil_core::destination::AliasDigests;
use funil_core::id::LeadId;
use funil_core::lead::StatedPhone;
use funil_store::StoreError;

use crate::app::App;

impl App {
    /// The number that the forms of a lead's e-mail agree about.
    pub(crate) async fn agreed_recipient(&self, lead: LeadId) -> Result<Recipient, StoreError> {
        let nobody = |why| Ok(Recipient::Nobody { why });
        let Some(lead) = self.store.lead(lead).await? else { return nobody(NoNumber::NotGiven) };
        let phone = match lead.stated_phone() {
            StatedPhone::One(phone) => phone,
            StatedPhone::NotAsked => return nobody(NoNumber::NotGiven),
            StatedPhone::Disputed => return nobody(NoNumber::Disputed),
        };
        let email = AliasDigests::of(&lead.latest, &self.config.hash_key).email;
        let others = match &email {
            Some(email) => self.store.leads_of(("email", email), LEADS_COMPARED + 1).await?,
            None => Vec::new(),
        };
        if others.len() > LEADS_COMPARED {
            return nobody(NoNumber::TooManyLeads);
        }
        for other in self.store.known_leads(&others).await? {
            match other.stated_phone() {
                StatedPhone::NotAsked => {}
                StatedPhone::One(theirs) if theirs.alias_text() == phone.alias_text() => {}
                StatedPhone::One(_) | StatedPhone::Disputed => return nobody(NoNumber::Disputed),
            }
        }
        Ok(Recipient::Number { phone: phone.clone(), name: lead.latest.name.clone() })
    }
}
