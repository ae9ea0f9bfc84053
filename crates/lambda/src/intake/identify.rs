//! Whose request it is: finding the lead of a provider's request, or making one.
//!
//! Owns the order in which hints count. Must not know any provider, nor what the request is about.

use funil_core::contact::{Email, LEADS_COMPARED};
use funil_core::destination::AliasDigests;
use funil_core::hash::Digest;
use funil_core::id::LeadId;
use funil_core::lead::{Lead, LeadChanges, LeadLatest};
use funil_core::pii::Text;
use funil_store::{LeadWrite, StoreError};

use crate::app::App;

/// How many leads of one object, such as a booking, are read. An object stays with its first lead, so it has only
/// one; in older tables it may have two.
const LEADS_OF_OBJECT: usize = 2;

/// Who wrote the lead ids into a provider's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// The visitor can have written them: they stand in a link.
    Visitor,
    /// Only the site can, with its key. A derived id of theirs counts without an e-mail, too.
    Site,
}

/// What a provider's request says about whose it is.
pub(crate) struct Hints<'a> {
    /// Aliases of the objects that the request is about, kind and digest, in the order in which
    /// they count: a booking stays with the lead it first came to, and one that replaces another
    /// with that one's lead.
    pub(crate) objects: &'a [(&'static str, Digest)],
    /// The lead ids that the request carries, in the order in which they count. An id that is derived
    /// from an e-mail counts only with that e-mail, because anybody can learn it.
    pub(crate) lead_ids: &'a [LeadId],
    /// Who wrote the lead ids.
    pub(crate) written_by: Writer,
    /// The e-mail of the person, as the provider knows it.
    pub(crate) email: Option<&'a Email>,
    /// Where a lead that is made of the request comes from: the provider's name.
    pub(crate) source: &'static str,
}

/// The lead that a request is written to.
pub(crate) struct Identified {
    pub(crate) id: LeadId,
    pub(crate) write: LeadWrite,
    /// The lead as it was read; `None` for a new one.
    pub(crate) known: Option<Box<Lead>>,
    /// What the request changes on the lead.
    pub(crate) changes: LeadChanges,
    /// The aliases that the request adds to the person.
    pub(crate) aliases: AliasDigests,
    /// All aliases of the person after the request.
    pub(crate) person: AliasDigests,
    /// The objects that belong to no other lead. The two bookings of a move may have come to
    /// different leads, if their updates arrived at once; each then stays with its own.
    pub(crate) objects: Vec<(&'static str, Digest)>,
    /// Aliases of objects under which the lead is found from now on, although another one owns them.
    pub(crate) shared: Vec<(&'static str, Digest)>,
    /// The lead id that the request carried, if the request is about another lead.
    pub(crate) elsewhere: Option<LeadId>,
}

impl App {
    /// Finds the lead of a request: the lead of an object that is known, or else of an id that the request carries, or
    /// else the newest lead of the e-mail. If there is none, a lead is created for the e-mail, under the random id that
    /// the site made if the request has one; without an e-mail the result is `None`. `changes` is what the request says
    /// about its lead.
    pub(crate) async fn identify(
        &self,
        hints: &Hints<'_>,
        changes: LeadChanges,
    ) -> Result<Option<Identified>, StoreError> {
        let mut of_objects = Vec::with_capacity(hints.objects.len());
        for (kind, digest) in hints.objects {
            of_objects.push(self.store.leads_of((*kind, digest), LEADS_OF_OBJECT).await?);
        }
        let hash = &self.config.hash_key;
        let own = hints.email.map(|email| LeadId::from_email(hash, email));
        let counts = |id: &LeadId| match (own, hints.written_by) {
            (None, Writer::Site) => true,
            (Some(_), _) | (None, Writer::Visitor) => !id.is_derived() || own == Some(*id),
        };
        let (usable, foreign): (Vec<LeadId>, Vec<LeadId>) =
            hints.lead_ids.iter().partition(|id| counts(id));
        let mut identified = match self.find(hints, &of_objects, &usable).await? {
            Some(lead) => self.known(lead, changes),
            None => match hints.email {
                Some(email) => {
                    // The form that the site made this id for may be on its way.
                    let made = usable.iter().find(|id| !id.is_derived());
                    let made = made.filter(|_| hints.written_by == Writer::Site);
                    self.new_lead(email, made.copied(), hints.source, changes)
                }
                None => return Ok(None),
            },
        };
        for (object, leads) in hints.objects.iter().zip(of_objects) {
            if leads.first().is_none_or(|owner| *owner == identified.id) {
                identified.objects.push(object.clone());
            }
        }
        let known = self.store.known_leads(&foreign).await?;
        identified.elsewhere =
            known.first().map(|lead| lead.id).filter(|lead| *lead != identified.id);
        Ok(Some(identified))
    }

    async fn find(
        &self,
        hints: &Hints<'_>,
        of_objects: &[Vec<LeadId>],
        carried: &[LeadId],
    ) -> Result<Option<Lead>, StoreError> {
        let mut ids = of_objects.concat();
        ids.extend(carried);
        if let Some(lead) = self.store.known_leads(&ids).await?.into_iter().next() {
            return Ok(Some(lead));
        }
        let Some(email) = hints.email else { return Ok(None) };
        let digest = self.config.hash_key.digest("email", email.as_str());
        // Leads that were kept before the newest was noted are found by their alias.
        let ids = match self.store.newest_lead(&digest).await? {
            Some(newest) => vec![newest],
            None => self.store.leads_of(("email", &digest), LEADS_COMPARED).await?,
        };
        Ok(self.store.known_leads(&ids).await?.into_iter().next())
    }

    fn known(&self, lead: Lead, changes: LeadChanges) -> Identified {
        let hash = &self.config.hash_key;
        let added = LeadLatest {
            phone: changes.if_absent.phone.clone().filter(|_| lead.latest.phone.is_none()),
            email: changes.if_absent.email.clone().filter(|_| lead.latest.email.is_none()),
            ..LeadLatest::default()
        };
        let aliases = AliasDigests::of(&added, hash);
        let mut person = AliasDigests::of(&lead.latest, hash);
        person.phone = person.phone.or_else(|| aliases.phone.clone());
        person.email = person.email.or_else(|| aliases.email.clone());
        Identified {
            id: lead.id,
            write: LeadWrite::Known,
            known: Some(Box::new(lead)),
            changes,
            aliases,
            person,
            objects: Vec::new(),
            shared: Vec::new(),
            elsewhere: None,
        }
    }

    /// A new lead of whom no e-mail is known, found again by the objects of the hints alone.
    pub(crate) fn lead_of_objects(
        &self,
        hints: &Hints<'_>,
        mut changes: LeadChanges,
    ) -> Identified {
        changes.if_absent.traffic_source = Some(Text::from(hints.source));
        let aliases = AliasDigests::of(&changes.if_absent, &self.config.hash_key);
        Identified {
            id: LeadId::random(&*self.platform.entropy),
            write: LeadWrite::OfEmail,
            known: None,
            changes,
            person: aliases.clone(),
            aliases,
            objects: hints.objects.to_vec(),
            shared: Vec::new(),
            elsewhere: None,
        }
    }

    fn new_lead(
        &self,
        email: &Email,
        made: Option<LeadId>,
        source: &'static str,
        mut changes: LeadChanges,
    ) -> Identified {
        let hash = &self.config.hash_key;
        (changes.latest.email, changes.if_absent.email) = (Some(email.clone()), None);
        changes.if_absent.traffic_source = Some(Text::from(source));
        let aliases = AliasDigests {
            email: Some(hash.digest("email", email.as_str())),
            ..AliasDigests::of(&changes.if_absent, hash)
        };
        Identified {
            id: made.unwrap_or_else(|| LeadId::from_email(hash, email)),
            write: LeadWrite::OfEmail,
            known: None,
            changes,
            person: aliases.clone(),
            aliases,
            objects: Vec::new(),
            shared: Vec::new(),
            elsewhere: None,
        }
    }
}
