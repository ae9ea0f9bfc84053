//! Calendly: people book calls, move them, cancel them and do not come. Each booking update may be sent
//! late, twice and in any order, and is sent again until it is accepted.

use funil_core::booking::BookingStatus;
use funil_core::clock::after;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Life;
use super::forms::{PEOPLE, email, phone};
use super::requests::{Sender, Sent};
use crate::calendly;
use crate::simulation::watch::Promise;

/// How many hours ahead people may book.
const AHEAD_H: [i64; 8] = [1, 3, 20, 25, 27, 30, 50, 70];
/// How many people book who never submitted a form.
const STRANGERS: u64 = 2;

/// A booking, as Calendly knows it.
#[derive(Clone, Debug)]
pub(in crate::simulation) struct Appointment {
    pub(in crate::simulation) id: String,
    email: String,
    phone: Option<String>,
    /// The lead id that the booking link carried.
    lead: Option<String>,
    starts_at: Timestamp,
    pub(in crate::simulation) booked_at: Timestamp,
    pub(in crate::simulation) status: BookingStatus,
    /// The booking that it replaces.
    instead_of: Option<String>,
    /// The place in the outbox of the update that it was booked.
    created: usize,
    /// Whether it was reported that nobody came.
    missed: bool,
}

impl Appointment {
    fn update(&self, name: &str, now: Timestamp) -> Value {
        let mut body = if name == "invitee.canceled" {
            calendly::canceled(&self.id)
        } else {
            calendly::created(&self.id)
        };
        body["created_at"] = json!(now);
        let payload = &mut body["payload"];
        payload["email"] = json!(self.email);
        payload["created_at"] = json!(self.booked_at);
        payload["text_reminder_number"] = json!(self.phone);
        payload["tracking"]["utm_content"] = json!(self.lead);
        payload["scheduled_event"]["start_time"] = json!(self.starts_at);
        payload["scheduled_event"]["end_time"] = json!(after(self.starts_at, 2_700));
        if self.booked_at.as_millisecond() % 3 == 0 {
            payload["scheduled_event"]["location"] =
                json!({"type": "google_conference", "status": "processing"});
        }
        if self.status == BookingStatus::Rescheduled {
            payload["rescheduled"] = json!(true);
        }
        if let Some(old) = &self.instead_of {
            let old = format!("https://api.calendly.com/scheduled_events/EV{old}/invitees/{old}");
            payload["old_invitee"] = json!(old);
        }
        body
    }

    /// The update as a request, which promises that it is kept and that the bookings it ends are ended.
    fn request(&self, name: &str, now: Timestamp) -> Sent {
        let body = match name {
            "invitee_no_show.created" | "invitee_no_show.deleted" => {
                let mut body = calendly::no_show(&self.id, name.rsplit('.').next().unwrap());
                body["created_at"] = json!(now);
                body
            }
            _ => self.update(name, now),
        };
        let ends = match name {
            "invitee.created" => self.instead_of.iter().cloned().collect(),
            "invitee_no_show.deleted" => Vec::new(),
            _ => vec![self.id.clone()],
        };
        let event = format!("calendly:{name}:{}:{now}", self.id);
        let what = format!("{name} of {}", self.id);
        let promise = Promise::BookingUpdate { event, ends };
        Sent::post(what, "calendar-webhook", Sender::Provider, body, promise)
    }
}

impl Life {
    fn send_update(&mut self, sent: Sent) -> usize {
        let times = self.system.chance.of(&[1, 1, 1, 2]);
        let delay_ms = self.delay_ms();
        self.send(sent, times, delay_ms)
    }

    /// The places in the calendar of the bookings that fit.
    fn appointments(&self, fits: impl Fn(&Appointment) -> bool) -> Vec<usize> {
        let calendar = self.system.calendar.lock().unwrap();
        (0..calendar.len()).filter(|at| fits(&calendar[*at])).collect()
    }

    /// A time at which no other booking was made, because the booking that was made last counts.
    fn moment(&self) -> Timestamp {
        let now = self.system.now();
        let calendar = self.system.calendar.lock().unwrap();
        let last = calendar.last().map_or(Timestamp::MIN, |last| last.booked_at);
        now.max(Timestamp::from_millisecond(last.as_millisecond() + 1).unwrap_or(now))
    }

    /// Somebody books a call: a lead, found by the link they were sent or by their e-mail, or a
    /// stranger.
    pub(super) fn book(&mut self) {
        let chance = self.system.chance.clone();
        let booked_at = self.moment();
        let person = chance.below(PEOPLE + STRANGERS);
        let stranger = person >= PEOPLE;
        let email = if stranger { format!("stranger{person}@example.org") } else { email(person) };
        let known = self.known_leads();
        let theirs: Vec<_> = known.iter().filter(|(_, of)| *of == email).collect();
        let link = !theirs.is_empty() && chance.once_in(2);
        let lead = link.then(|| chance.of(&theirs).0.clone());
        let appointment = Appointment {
            id: format!("INV{}", self.system.calendar.lock().unwrap().len()),
            email,
            phone: chance.once_in(2).then(|| phone(person)),
            lead,
            starts_at: after(booked_at, chance.of(&AHEAD_H) * 3600),
            booked_at,
            status: BookingStatus::Booked,
            instead_of: None,
            created: 0,
            missed: false,
        };
        self.send_booked(appointment, booked_at);
        // Some change their minds at once.
        if chance.once_in(6) {
            let last = self.system.calendar.lock().unwrap().len() - 1;
            self.end_booking(last, BookingStatus::Canceled, booked_at);
        }
    }

    fn send_booked(&mut self, mut appointment: Appointment, now: Timestamp) {
        let sent = appointment.request("invitee.created", now);
        appointment.created = self.send_update(sent);
        self.system.calendar.lock().unwrap().push(appointment);
    }

    fn end_booking(&mut self, at: usize, status: BookingStatus, now: Timestamp) {
        let ended = {
            let mut calendar = self.system.calendar.lock().unwrap();
            calendar[at].status = status;
            calendar[at].clone()
        };
        let sent = ended.request("invitee.canceled", now);
        self.send_update(sent);
    }

    /// Somebody cancels just while a message about their call goes out.
    pub(super) fn cancel_meanwhile(&mut self, delivery: &str) {
        let booking = self.system.watch.lock().unwrap().booking_of(delivery);
        let Some(booking) = booking else { return };
        let its = self.appointments(|one| one.id == booking && one.status == BookingStatus::Booked);
        let Some(at) = its.first() else { return };
        let ended = {
            let mut calendar = self.system.calendar.lock().unwrap();
            calendar[*at].status = BookingStatus::Canceled;
            calendar[*at].clone()
        };
        let sent = ended.request("invitee.canceled", self.system.now());
        let at_once_ms = self.system.chance.below(60);
        self.send(sent, 1, at_once_ms);
    }

    fn one_ahead(&self) -> Option<usize> {
        let now = self.system.now();
        let ahead =
            self.appointments(|one| one.status == BookingStatus::Booked && one.starts_at > now);
        (!ahead.is_empty()).then(|| self.system.chance.of(&ahead))
    }

    /// Somebody cancels a call that is ahead.
    pub(super) fn cancel(&mut self) {
        let Some(at) = self.one_ahead() else { return };
        let now = self.system.now();
        self.end_booking(at, BookingStatus::Canceled, now);
    }

    /// Somebody moves a call that is ahead: its end and the new booking are sent in either order.
    pub(super) fn shift(&mut self) {
        let Some(at) = self.one_ahead() else { return };
        let chance = self.system.chance.clone();
        let now = self.moment();
        let (old, count) = {
            let calendar = self.system.calendar.lock().unwrap();
            (calendar[at].clone(), calendar.len())
        };
        let new = Appointment {
            id: format!("INV{count}"),
            instead_of: Some(old.id.clone()),
            booked_at: now,
            starts_at: after(now, chance.of(&AHEAD_H) * 3600),
            status: BookingStatus::Booked,
            missed: false,
            ..old
        };
        if chance.once_in(2) {
            self.send_booked(new, now);
            self.end_booking(at, BookingStatus::Rescheduled, now);
        } else {
            self.end_booking(at, BookingStatus::Rescheduled, now);
            self.send_booked(new, now);
        }
    }

    /// Somebody did not come, or it turns out that they did: sometimes at once, and then the two updates
    /// are sent in either order.
    pub(super) fn miss(&mut self) {
        let now = self.system.now();
        let accepted = |number: usize| self.system.outbox.lock().unwrap()[number].accepted;
        let over = self.appointments(|one| {
            one.status == BookingStatus::Booked
                && one.starts_at <= now
                && !one.missed
                && accepted(one.created)
        });
        let missed = self.appointments(|one| one.status == BookingStatus::NoShow);
        let chance = self.system.chance.clone();
        let all: Vec<usize> = over.iter().chain(&missed).copied().collect();
        if all.is_empty() {
            return;
        }
        let at = chance.of(&all);
        let (names, status): (&[&str], _) = match (over.contains(&at), chance.once_in(2)) {
            (true, true) => {
                (&["invitee_no_show.created", "invitee_no_show.deleted"], BookingStatus::Booked)
            }
            (true, false) => (&["invitee_no_show.created"], BookingStatus::NoShow),
            (false, _) => (&["invitee_no_show.deleted"], BookingStatus::Booked),
        };
        let mut updates: Vec<Sent> = {
            let calendar = self.system.calendar.lock().unwrap();
            let times = [now, Timestamp::from_millisecond(now.as_millisecond() + 1).unwrap()];
            names
                .iter()
                .zip(times)
                .map(|(name, at_time)| calendar[at].request(name, at_time))
                .collect()
        };
        if chance.once_in(2) {
            updates.reverse();
        }
        for update in updates {
            self.send_update(update);
        }
        let mut calendar = self.system.calendar.lock().unwrap();
        calendar[at].status = status;
        calendar[at].missed = true;
    }
}
