//! A lead and its events, for the snapshot tests of the destinations.
//!
//! What a destination sends for them is shown by `samples/conversation.rs`.

mod conversation;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::booking::link::booking_link;
use crate::booking::{Booking, BookingId, BookingStatus, Call, Place, Recipient, StatusChange};
use crate::contact::consent::{ConsentChanges, Consents, Decision, Grant, How, Purpose};
use crate::contact::{Cpf, Email, Phone};
use crate::event::{
    Attendance, BookedElsewhere, CallBooked, CallCanceled, CallChangeRequested, CallEvent,
    CallMissed, CallWish, Canceled, CheckoutCompleted, ConsultationRequested, ContactSubmitted,
    CrmId, CrmLead, CrmLeadAction, DealChanged, DealContact, DealStage, DeliveryReplayed,
    DeliverySettled, Digests, DisputeStatus, EmailChanged, EmailStatus, Event, EventData, Extent,
    FormEvent, Invitee, LeadSubmitted, Mode, NewsletterRequested, Operator, PageEvent, PageEvents,
    Payer, PaymentDisputed, PaymentEvent, PaymentFailed, PaymentRefunded, PaymentSucceeded,
    Purchase, QuestionnaireCompleted, ReportedBy, SequenceRequested, SequenceWithdrawn,
    SubscriberNote, SubscriberNoted, SubscriptionStarted, SyncRequested, TransactionId, Verdict,
    Withdrawal,
};
use crate::form::consultation::ConsultationForm;
use crate::form::contact::ContactForm;
use crate::form::lead::LeadForm;
use crate::form::newsletter::NewsletterForm;
use crate::form::questionnaire::{NextStep, QuestionnaireForm};
use crate::id::{DeliveryId, LeadId};
use crate::lead::{Authority, Lead, LeadChanges};
use crate::money::{Currency, Money};
use crate::payment::{LatestPayments, Revenue, Transaction};
use crate::pii::{Pii, Text};
use crate::score::amanda;
use crate::score::readiness;
use crate::score::rules::{AMANDA, CONSULTATION, READINESS};

pub(super) use self::conversation::{
    adapter, conversation, conversation_known, conversation_with, converse, response,
};

fn time(text: &str) -> jiff::Timestamp {
    text.parse().unwrap()
}

fn lead_id() -> LeadId {
    LeadId::parse("6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11").unwrap()
}

fn form() -> LeadForm {
    LeadForm::parse(&json!({
        "name": "Ana Exemplo", "email": "ana@example.com", "phone": "(11) 98765-4321",
        "businessType": "consultoria", "monthlyRevenue": "50000-100000", "workHoursDaily": 14,
        "mainStruggle": "tempo", "sourceSection": "hero", "trafficSource": "instagram",
        "utm": {"source": "instagram", "medium": "cpc", "campaign": "liberdade"},
        "pageUrl": "https://example.com/mentoria?email=ana@example.com",
        "referrer": "https://instagram.com/", "gaClientId": "1234567890.1680000000",
        "gaSessionId": "1763675000", "fbp": "fb.1.1596403881668.1116446470"
    }))
    .unwrap()
}

fn event(data: impl Into<EventData>, id: &str) -> Event {
    let id = serde_json::from_value(Value::from(id)).unwrap();
    Event::new(id, lead_id(), data, time("2026-11-21T12:00:00.000Z"))
}

/// A submission of 95 points.
pub(crate) fn submitted() -> Event {
    let form = form();
    let score = amanda::score(&AMANDA.built_in().unwrap(), &form.answers());
    let data = LeadSubmitted { form, score, client_score: None };
    event(data, "form:lead-submit:1")
}

/// An answered questionnaire that leads to a booking.
pub(super) fn questionnaire() -> Event {
    let rules = READINESS.built_in().unwrap();
    let answered = json!({
        "leadId": lead_id(), "email": "ana@example.com",
        "responses": {
            "commitment": 9, "urgency": "30-dias", "investmentRange": "5000-10000",
            "weeklyHours": 5, "mainGoal": "Trabalhar menos.", "team": "3 pessoas",
        },
    });
    let form = QuestionnaireForm::parse(&answered, &rules).unwrap();
    let score = readiness::score(&rules, |question| form.answer(question));
    let page = "https://calendly.com/ana/call?month=2026-11".parse().unwrap();
    let data = QuestionnaireCompleted {
        next_step: NextStep::of(score.total, 60),
        booking_url: Some(booking_link(&page, form.lead_id, &form.email)),
        score,
        form,
    };
    event(data, "form:questionnaire-submit:1")
}

/// What a page sends along with one of the site's forms.
fn with_circumstances(mut body: Value) -> Value {
    for (name, value) in [
        ("form_type", json!("fale-conosco")),
        ("page_url", json!("https://example.com/contato?email=ana@example.com")),
        ("utm_params", json!({"utm_source": "instagram", "utm_campaign": "liberdade"})),
        ("ga_client_id", json!("1234567890.1680000000")),
        ("ga_session_id", json!("1763675000")),
        ("timestamp", json!("2026-11-21T12:00:00Z")),
    ] {
        body[name] = value;
    }
    body
}

/// A message by the contact form, with the box for marketing ticked.
pub(super) fn contacted() -> Event {
    let form = ContactForm::parse(&with_circumstances(json!({"data": {
        "name": "Ana Exemplo", "email": "ana@example.com", "phone": "(11) 98765-4321",
        "company": "Exemplo Ltda", "service_interest": "mentoria-individual",
        "message": "Olá!\nQuero saber mais <b>sobre</b> a mentoria.", "marketing_consent": true,
    }})));
    event(ContactSubmitted { form: form.unwrap() }, "form:contact-submit:1")
}

/// A sign-up for the newsletter.
pub(super) fn newsletter() -> Event {
    let form = NewsletterForm::parse(&with_circumstances(json!({"data": {
        "email": "ana@example.com", "name": "Ana", "marketing_consent": true,
    }})));
    event(NewsletterRequested { form: form.unwrap() }, "form:newsletter-signup:1")
}

/// A request for a consultation, of 83 points.
pub(super) fn consultation() -> Event {
    let body = with_circumstances(json!({"data": {
        "name": "Ana Exemplo", "email": "ana@example.com", "phone": "(11) 98765-4321",
        "service": "mentoria-individual", "budget_range": "5000-10000", "message": "Tenho pressa.",
        "preferred_dates": ["2026-12-01T15:00"], "time_zone": "America/Sao_Paulo",
    }}));
    let form = ConsultationForm::parse(&body, time("2026-11-21T12:00:00.000Z")).unwrap();
    let score = CONSULTATION.built_in().unwrap().tiered(|question| form.answer(question));
    let next_step = NextStep::of(score.total, 60);
    event(ConsultationRequested { form, score, next_step }, "form:consultation-booking:1")
}

/// A subscriber joined a group.
fn subscriber_noted() -> SubscriberNoted {
    let note = SubscriberNote::AddedToGroup;
    SubscriberNoted { note, id: Some("101".to_owned()), name: Some("Newsletter".to_owned()) }
}

/// The lead after [`questionnaire`].
pub(super) fn qualified() -> Lead {
    let EventData::Form(FormEvent::QuestionnaireCompleted(completed)) = questionnaire().data else {
        unreachable!()
    };
    let changes = LeadChanges::of_questionnaire(
        &completed,
        Authority::Capability,
        time("2026-11-21T12:00:00.000Z"),
    );
    let mut lead = lead();
    lead.latest.readiness_score = changes.latest.readiness_score;
    lead.latest.responses = changes.latest.responses;
    lead.latest.booking_url = changes.latest.booking_url;
    lead.facts.questionnaire_at = changes.facts.questionnaire_at;
    lead
}

/// The booking of a call three days later, whose link does not exist yet.
pub(crate) fn booked() -> Event {
    let call = Call {
        booking: BookingId::parse("invitee-1").unwrap(),
        calendar_event: Some(BookingId::parse("calendar-event-1").unwrap()),
        title: Some("Chamada de diagnóstico".to_owned()),
        starts_at: time("2026-11-24T18:30:00.000Z"),
        ends_at: Some(time("2026-11-24T19:15:00.000Z")),
        time_zone: Some("America/Sao_Paulo".to_owned()),
        place: Place::BeingMade { url: None },
        cancel_url: None,
        reschedule_url: None,
    };
    let invitee = Invitee {
        email: Email::parse("ana@example.com").ok(),
        name: Some(Text::from("Ana do Convite")),
        phone: None,
    };
    let booked_at = time("2026-11-21T11:59:58.000Z");
    let recipient = Recipient::Number {
        phone: Phone::parse("11 98765-4321").unwrap(),
        name: Some(Text::from("Ana Exemplo")),
    };
    let data =
        CallBooked { call, invitee, booked_at, instead_of: None, recipient: Some(recipient) };
    event(data, "calendly:invitee-1")
}

/// The cancellation of [`booked`]'s booking.
pub(super) fn canceled() -> Event {
    let EventData::Call(CallEvent::Booked(booked)) = booked().data else { unreachable!() };
    let CallBooked { call, invitee, booked_at, .. } = *booked;
    let data = CallCanceled {
        of: Canceled::Call(call),
        invitee,
        booked_at: Some(booked_at),
        withdrawal: Withdrawal::Canceled,
        by: Some("invitee".to_owned()),
        reason: Some(Text::from("Viagem")),
    };
    event(data, "calendly:canceled-1")
}

/// Whether the person missed [`booked`]'s call.
pub(super) fn missed(attendance: Attendance) -> Event {
    let data = CallMissed { booking: BookingId::parse("invitee-1").unwrap(), attendance };
    event(data, "calendly:missed-1")
}

/// The bookings after these events, in their order.
pub(super) fn bookings(events: &[&Event]) -> Vec<Booking> {
    let mut left: Vec<Booking> = Vec::new();
    for change in events.iter().flat_map(|event| event.data.bookings()) {
        let index = left.iter().position(|known| known.id == change.id).unwrap_or_else(|| {
            let status = BookingStatus::Booked;
            left.push(Booking {
                id: change.id,
                status,
                call: None,
                booked_at: None,
                recipient: None,
            });
            left.len() - 1
        });
        let booking = &mut left[index];
        booking.call = change.call.or(booking.call.take());
        booking.booked_at = change.booked_at.or(booking.booked_at);
        booking.status = match change.status {
            StatusChange::BookedIfNew => booking.status,
            StatusChange::Withdrawn(_) | StatusChange::Attended(_) => {
                change.status.end().unwrap_or(BookingStatus::Booked)
            }
        };
    }
    left
}

/// A sync of one destination.
pub(super) fn sync(destination: &str) -> Event {
    let data = SyncRequested { destination: destination.to_owned() };
    event(data, "sync:1")
}

/// The lead after [`payments`]'s first, with nothing given back.
pub(super) fn paying() -> Lead {
    let EventData::Payment(event) = &payments()[0] else { unreachable!() };
    let PaymentEvent::Succeeded(paid) = event else { unreachable!() };
    let payment = Transaction::of(event, Revenue::Payments).unwrap();
    let mut lead = lead();
    lead.facts.paid_at = Some(paid.paid_at);
    lead.spent = [(paid.amount.currency, paid.amount.minor)].into();
    lead.payments = lead.payments.with(event, paid.paid_at, Some(&payment));
    lead
}

/// An event about a payment.
pub(super) fn payment(data: EventData) -> Event {
    Event { occurred_at: time("2026-11-25T18:00:00Z"), ..event(data, "stripe:1") }
}

/// Whether it is a report that moves money, which the destinations of payments have to take.
pub(super) fn moves_money(data: &EventData) -> bool {
    matches!(data, EventData::Payment(event) if event.movement().is_some())
}

/// Every event about a payment, with all that one may have.
pub(super) fn payments() -> Vec<EventData> {
    let id = |text: &str| TransactionId::parse(text).unwrap();
    let brl = |minor| Money { minor, currency: Currency::BRL };
    let payer = Payer {
        email: Some(Email::parse("ana@example.com").unwrap()),
        name: Some(Text::from("Ana Exemplo")),
    };
    let word = |text: &str| Some(text.to_owned());
    let purchase = Purchase {
        service_id: word("mentoria-individual"),
        service_name: word("Mentoria Individual"),
        service_type: word("mentoria"),
        pricing_tier: word("premium"),
        user_id: word("u-1042"),
        coupon: word("VERAO"),
        ..Purchase::default()
    };
    let (transaction, mode) = (id("pi_1"), Mode::Live);
    vec![
        PaymentSucceeded {
            transaction: transaction.clone(),
            mode,
            amount: brl(199_700),
            reported_by: ReportedBy::Payment,
            payer: payer.clone(),
            purchase: purchase.clone(),
            method: word("card"),
            paid_at: time("2026-11-25T18:00:00Z"),
            counted: Some(brl(199_700)),
        }
        .into(),
        PaymentFailed {
            transaction: transaction.clone(),
            mode,
            amount: brl(199_700),
            payer: payer.clone(),
            purchase: purchase.clone(),
            code: word("card_declined"),
            decline_code: word("insufficient_funds"),
        }
        .into(),
        PaymentRefunded {
            transaction: transaction.clone(),
            mode,
            refunded: brl(50_000),
            counted: Some(brl(50_000)),
            extent: Extent::Partial,
            payer,
            purchase: purchase.clone(),
        }
        .into(),
        PaymentDisputed {
            transaction,
            mode,
            dispute: id("dp_1"),
            amount: brl(199_700),
            status: DisputeStatus::Lost,
            counted: Some(brl(199_700)),
            reason: word("fraudulent"),
        }
        .into(),
        SubscriptionStarted {
            subscription: id("sub_1"),
            mode,
            plan: word("price_1"),
            price: Some(brl(9_900)),
            purchase: purchase.clone(),
        }
        .into(),
        CheckoutCompleted { checkout: id("cs_1"), mode, purchase }.into(),
    ]
}

/// One of each event, in the order of the groups.
pub(crate) fn every_event() -> Vec<EventData> {
    let EventData::Call(CallEvent::Booked(booking)) = booked().data else { unreachable!() };
    let moved = CallBooked {
        call: Call {
            place: Place::Link { url: Text::from("https://zoom.us/j/1") },
            cancel_url: Some(Text::from("https://calendly.com/cancellations/1")),
            reschedule_url: Some(Text::from("https://calendly.com/reschedulings/1")),
            ..booking.call.clone()
        },
        instead_of: Some(BookingId::parse("invitee-0").unwrap()),
        ..*booking.clone()
    };
    let destination = "crm".to_owned();
    let slot = "lead".to_owned();
    let delivery_id = DeliveryId::derive(&submitted().id, &destination, &slot);
    let reason = Some("http_422".to_owned());
    let mut events = vec![
        submitted().data,
        questionnaire().data,
        contacted().data,
        newsletter().data,
        consultation().data,
        moved.into(),
        canceled().data,
        missed(Attendance::Missed).data,
        BookedElsewhere { booking: booking.call.booking.clone() }.into(),
        CallChangeRequested { wish: CallWish::Cancel, booking: Some(booking.call.booking.clone()) }
            .into(),
    ];
    events.extend(payments());
    events.extend([
        committed().data,
        DealContact { crm: "pipedrive".to_owned(), dropped: Vec::new() }.into(),
        crm_lead().data,
    ]);
    events.extend([
        EmailChanged { status: EmailStatus::Unsubscribed }.into(),
        subscriber_noted().into(),
    ]);
    events.extend([
        SequenceRequested {
            call: booking.call.clone(),
            recipient: booking.recipient.clone(),
            slots: None,
        }
        .into(),
        SequenceWithdrawn { booking: booking.call.booking }.into(),
        sync("crm").data,
        DeliveryReplayed {
            delivery_id,
            destination: destination.clone(),
            slot: slot.clone(),
            by: Operator::Cli,
            reason: reason.clone(),
        }
        .into(),
        DeliverySettled {
            delivery_id,
            destination,
            slot,
            by: Operator::Http,
            verdict: Verdict::Skipped,
            reason,
        }
        .into(),
        page_events().into(),
    ]);
    events
}

/// A deal of R$ 12.5 million that the person decided on.
pub(crate) fn committed() -> Event {
    let property = [("address", "Rua das Flores, 100"), ("bedrooms", "4")];
    let property = property.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let data = DealChanged {
        crm: "standard".to_owned(),
        deal: CrmId::parse("DEAL-1").unwrap(),
        stage: DealStage::Committed,
        status: "Committed".to_owned(),
        name: Some(Text::from("Cobertura nos Jardins")),
        value: Some(Money { minor: 1_250_000_000, currency: Currency::BRL }),
        closes_on: Some("2026-12-15".parse().unwrap()),
        property: Some(Pii::new(property.into())),
        digests: Digests::default(),
        dropped: vec!["data.customer.phoneNumber".to_owned()],
    };
    event(data, "deal:1")
}

/// A lead that Contact2Sale made, with a CPF.
pub(crate) fn crm_lead() -> Event {
    let data = CrmLead {
        crm: "c2s".to_owned(),
        lead: CrmId::parse("a1b2c3").unwrap(),
        action: CrmLeadAction::Created,
        updated_at: time("2026-11-21T11:59:00Z"),
        status: Some("novo".to_owned()),
        name: Some(Text::from("Ana Exemplo")),
        email: Email::parse("ana@example.com").ok(),
        phone: Phone::parse("11 98765-4321").ok(),
        cpf: Cpf::parse("529.982.247-25").ok(),
        not_before: Some(time("2026-11-21T12:00:30.000Z")),
        dropped: vec!["customer.phone".to_owned()],
    };
    event(data, "c2s:a1b2c3:1")
}

/// What a page reported of a visit.
pub(crate) fn page_events() -> PageEvents {
    let params = serde_json::json!({
        "currency": "BRL", "value": 197.5, "items": [{"item_id": "SKU-1", "quantity": 1}],
    });
    let Value::Object(params) = params else { unreachable!() };
    PageEvents {
        client_id: Text::from("123456789.1767225600"),
        session_id: Some("1767225600".to_owned()),
        ad_user_data: Decision::Granted,
        ad_personalization: Decision::Denied,
        events: vec![PageEvent { name: "add_to_cart".to_owned(), lead_id: None, params }],
    }
}

/// The lead after [`submitted`], who agreed to everything except ads.
pub(super) fn lead() -> Lead {
    let EventData::Form(FormEvent::LeadSubmitted(submission)) = submitted().data else {
        unreachable!()
    };
    let at = time("2026-11-21T12:00:00.000Z");
    let changes = LeadChanges::of_submission(&submission, Authority::Capability, None, at);
    let mut consents: Consents =
        ConsentChanges::of_form(None, &[Purpose::Analytics, Purpose::MarketingEmail], at).if_absent;
    consents.set(Purpose::Ads, Grant { decision: Decision::Denied, at, how: How::Explicit });
    Lead {
        id: lead_id(),
        version: 1,
        latest: changes.latest,
        facts: changes.facts,
        first_forms: changes.first_forms,
        consents,
        spent: BTreeMap::new(),
        payments: LatestPayments::default(),
    }
}
