//! People who submit the landing page's form and the site's forms, and answer the questionnaire: for the
//! first time, again, with changes, twice at once.

use std::collections::BTreeMap;

use funil_core::contact::consent::Purpose;
use funil_lambda::forms::FORMS;
use serde_json::{Map, Value, json};

use super::Life;
use super::requests::{Sender, Sent};
use crate::samples;
use crate::simulation::chance::Chance;
use crate::simulation::watch::{BOX_PURPOSES, GOAL, Kept, NAME, Promise, Submission, VISIT};
use crate::world::{lead_body, questionnaire_body};

/// How many people there are.
pub(super) const PEOPLE: u64 = 7;

/// The e-mail of a person. The last two people share that of the first, so it can have several leads.
pub(super) fn email(person: u64) -> String {
    format!("somebody{}@example.com", if person < 5 { person } else { 0 })
}

/// The phone number of a person. Two people share one.
pub(super) fn phone(person: u64) -> String {
    format!("+5511987{}4321", 60 + if person == 4 { 3 } else { person })
}

/// The forms that life has code of its own for, because their bodies are unlike those of the site's forms.
const OTHER_FORMS: [&str; 2] = ["lead-submit", "questionnaire-submit"];

/// The functions of the site's forms.
fn site_forms() -> Vec<&'static str> {
    let names = FORMS.iter().map(|form| form.name);
    names.filter(|name| !OTHER_FORMS.contains(name)).collect()
}

/// The name that a form has for the box of a purpose.
const fn box_of(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::MarketingEmail => "marketing",
        Purpose::Contact | Purpose::Whatsapp | Purpose::Analytics | Purpose::Ads => purpose.name(),
    }
}

/// Draws the boxes of a form, ticked or not; some forms have none.
fn boxes(chance: &Chance) -> Option<BTreeMap<Purpose, bool>> {
    if chance.once_in(6) {
        return None;
    }
    let ticked = BOX_PURPOSES.into_iter().filter_map(|purpose| {
        let ticked = match purpose {
            Purpose::MarketingEmail | Purpose::Analytics => Some(!chance.once_in(4)),
            Purpose::Contact | Purpose::Ads => {
                chance.of(&[Some(true), Some(true), Some(false), None])
            }
            Purpose::Whatsapp => {
                chance.of(&[None, None, None, Some(true), Some(true), Some(false)])
            }
        };
        Some((purpose, ticked?))
    });
    Some(ticked.collect())
}

fn body(number: usize, person: u64, phone: &str, own_id: bool, submission: &Submission) -> Value {
    let mut body = lead_body();
    body["name"] = json!(format!("{NAME}{number}"));
    // GA4 gets no name, so that two forms of one millisecond would look the same to it.
    body["sourceSection"] = json!(format!("secao-{number}"));
    body["email"] = json!(submission.email);
    body["phone"] = json!(phone);
    body["leadId"] = own(person, own_id);
    body["consent"] = submission.consent.as_ref().map_or(Value::Null, consent_object);
    body
}

/// The id that a person's browser made, if it sends it.
fn own(person: u64, own_id: bool) -> Value {
    if own_id {
        json!(format!("6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b{person:02x}"))
    } else {
        Value::Null
    }
}

fn consent_object(boxes: &BTreeMap<Purpose, bool>) -> Value {
    let ticked = boxes.iter().map(|(of, ticked)| (box_of(*of).to_owned(), json!(ticked)));
    let mut consent: Map<String, Value> = ticked.collect();
    consent.insert("policyVersion".to_owned(), json!("1"));
    Value::Object(consent)
}

impl Life {
    fn times(&self) -> usize {
        if self.system.chance.once_in(4) { 2 } else { 1 }
    }

    /// Somebody submits a form, or an earlier one is sent again.
    pub(super) fn submit(&mut self) {
        let chance = self.system.chance.clone();
        let times = self.times();
        if !self.forms.is_empty() && chance.once_in(4) {
            let number = chance.of(&self.forms);
            for _ in 0..times {
                self.send_again(number, 0);
            }
            return;
        }
        let person = chance.below(PEOPLE);
        let consent = boxes(&chance);
        let assumes = consent.is_none();
        let submission = Submission { email: email(person), consent, assumes, lead: None };
        let mut watch = self.system.watch.lock().unwrap();
        let number = watch.submissions.len();
        // Some give somebody else's number, which may have opted out.
        let number_of = if chance.once_in(4) { chance.below(PEOPLE) } else { person };
        let body = body(number, person, &phone(number_of), chance.once_in(3), &submission);
        watch.submissions.push(submission);
        drop(watch);
        let promise = Promise::Form(Kept::Submission(number));
        let what = format!("submission {number}");
        let sent = Sent::post(what, "lead-submit", Sender::Page, body, promise);
        let form = self.send(sent, times, 0);
        self.forms.push(form);
    }

    /// A page reports an event of a visitor. Nobody recognises it again, so it is sent once or twice by its
    /// sender alone.
    pub(super) fn visit(&mut self) {
        let chance = self.system.chance.clone();
        let mut watch = self.system.watch.lock().unwrap();
        let number = watch.visits.len();
        watch.visits.push(0);
        drop(watch);
        let body = json!({
            "event": "page_view", "client_id": format!("{}.1", 1 + chance.below(5)),
            "consent": {"analytics_storage": "granted"}, "content_id": format!("{VISIT}{number}"),
        });
        let what = format!("page event {number}");
        let promise = Promise::Visit(number);
        self.send(Sent::post(what, "ga4-collect", Sender::Visitor, body, promise), 1, 0);
    }

    /// Somebody writes by the contact form, or asks for the newsletter or a consultation.
    pub(super) fn write_to_the_site(&mut self) {
        let chance = self.system.chance.clone();
        let times = self.times();
        let person = chance.below(PEOPLE);
        let object = boxes(&chance);
        let function = chance.of(&site_forms());
        let asks_for_marketing = |body: &Value| body["data"]["marketing_consent"] == true;
        let wants_newsletter = samples::bodies(function).iter().all(asks_for_marketing);
        let marketing =
            if wants_newsletter { Some(true) } else { chance.of(&[None, Some(true), Some(false)]) };
        let mut consent = object.clone();
        if let Some(ticked) = marketing {
            consent.get_or_insert_default().insert(Purpose::MarketingEmail, ticked);
        }
        let assumes = object.is_none();
        let submission = Submission { email: email(person), consent, assumes, lead: None };
        let mut watch = self.system.watch.lock().unwrap();
        let number = watch.submissions.len();
        // What this form alone asks is as in one of its samples.
        let mut body = chance.of(&samples::bodies(function));
        body["lead_id"] = own(person, chance.once_in(3));
        // GA4 gets no name, so that two forms of one millisecond would look the same to it.
        body["page_url"] = json!(format!("https://example.com/secao-{number}"));
        body["timestamp"] = json!("unreadable");
        body["consent"] = json!(object.as_ref().map(consent_object));
        body["data"]["name"] = json!(format!("{NAME}{number}"));
        body["data"]["email"] = json!(submission.email);
        body["data"]["marketing_consent"] = json!(marketing);
        if body["data"]["phone"].is_string() {
            body["data"]["phone"] = json!(phone(person));
        }
        watch.submissions.push(submission);
        drop(watch);
        let promise = Promise::Form(Kept::Submission(number));
        let what = format!("{function} {number}");
        let sent = Sent::post(what, function, Sender::Page, body, promise);
        let form = self.send(sent, times, 0);
        self.forms.push(form);
    }

    /// A known lead answers the questionnaire, or earlier answers are sent again.
    pub(super) fn answer_questionnaire(&mut self) {
        let chance = self.system.chance.clone();
        let known = self.known_leads();
        let times = self.times();
        if known.is_empty() {
            return;
        }
        if !self.questionnaires.is_empty() && chance.once_in(4) {
            self.send_again(chance.of(&self.questionnaires), 0);
            return;
        }
        let (lead, email) = chance.of(&known);
        let number = self.questionnaires.len();
        let mut body = questionnaire_body();
        body["leadId"] = json!(lead);
        body["email"] = json!(email);
        body["responses"]["commitment"] = json!(1 + chance.below(10));
        body["responses"]["mainGoal"] = json!(format!("{GOAL}{number}"));
        let promise = Promise::Form(Kept::Questionnaire(number));
        let what = format!("questionnaire {number}");
        let sent = Sent::post(what, "questionnaire-submit", Sender::Page, body, promise);
        let form = self.send(sent, times, 0);
        self.questionnaires.push(form);
    }

    /// The leads that responses to forms named, with their e-mails.
    pub(super) fn known_leads(&self) -> Vec<(String, String)> {
        let watch = self.system.watch.lock().unwrap();
        let known = watch.submissions.iter();
        known.filter_map(|one| Some((one.lead.clone()?, one.email.clone()))).collect()
    }
}
