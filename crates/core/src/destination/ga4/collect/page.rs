//! What a request says of the browser and of consent: GA4's ids and cookies, and the states of consent
//! mode.
//!
//! Must not know any event.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::contact::consent::Decision;
use crate::destination::ga4::{all_digits, browser_client_id};
use crate::pii::Text;

/// A session's id is the second in which it began.
const SESSION_DIGITS_MAX: usize = 10;

/// What a request says of the browser and of consent, in any of its objects.
pub(super) struct Page<'b> {
    pub(super) objects: Vec<&'b Map<String, Value>>,
    /// The states of consent mode's commands, in their order.
    pub(super) commands: Vec<&'b Value>,
    pub(super) cookies: &'b str,
}

impl<'b> Page<'b> {
    fn said(&self, names: &[&str]) -> Option<&'b Value> {
        let values = self.objects.iter().flat_map(|one| names.iter().map(|name| one.get(*name)));
        values.flatten().find(|value| !value.is_null())
    }

    /// A cookie of the request, or of the object `cookies` of the body.
    fn cookie(&self, is_it: impl Fn(&str) -> bool) -> Vec<&'b str> {
        let header = self.cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
        let sent = self.said(&["cookies"]).and_then(Value::as_object).into_iter().flatten();
        let sent = sent.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
        sent.chain(header).filter(|(name, _)| is_it(name)).map(|(_, value)| value).collect()
    }

    pub(super) fn client_id(&self) -> Option<Text> {
        let said = self.said(&["client_id", "clientId", "ga_client_id", "_ga"]);
        let said = said.and_then(Value::as_str).and_then(|text| browser_client_id(text.trim()));
        let id = said
            .or_else(|| self.cookie(|name| name == "_ga").into_iter().find_map(browser_client_id));
        id.map(Text::from)
    }

    /// The session id: the one that the body states, or else the one in the cookie `_ga_<stream>`, if there is
    /// exactly one such cookie. Google does not document the cookie's format.
    pub(super) fn session_id(&self) -> Option<String> {
        let said = match self.said(&["session_id", "sessionId", "ga_session_id"]) {
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(Value::String(text)) => Some(text.trim().to_owned()),
            Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => None,
        };
        let of_cookie = || {
            // On the functions' own site a cookie comes twice: in the body and with the request.
            let sessions: BTreeSet<Option<&str>> =
                self.cookie(|name| name.starts_with("_ga_")).into_iter().map(of_stream).collect();
            let session = sessions.first().filter(|_| sessions.len() == 1)?;
            session.map(str::to_owned)
        };
        said.or_else(of_cookie).filter(|id| all_digits(id) && id.len() <= SESSION_DIGITS_MAX)
    }

    /// What the visitor decided of one type of storage. A denial anywhere counts, and so does a state that
    /// cannot be read; of consent mode's commands the last one does.
    pub(super) fn consent(&self, of: &str) -> Option<Decision> {
        let inner = self.objects.iter().filter_map(|one| one.get("params")?.get("consent"));
        let states = self.objects.iter().filter_map(|one| one.get("consent")).chain(inner);
        let states = states.filter(|value| !value.is_null());
        let last = self.commands.iter().rev().find_map(|state| decision(state, of));
        let said: Vec<Decision> =
            states.filter_map(|state| decision(state, of)).chain(last).collect();
        if said.contains(&Decision::Denied) {
            Some(Decision::Denied)
        } else {
            said.first().copied()
        }
    }
}

/// The session in the cookie of a data stream.
fn of_stream(cookie: &str) -> Option<&str> {
    let mut parts = cookie.splitn(3, '.');
    let version = parts.next()?;
    let session = parts.nth(1)?;
    match version {
        "GS1" => session.split('.').next(),
        _ => session.strip_prefix('s')?.split('$').next(),
    }
}

/// The state that a command of consent mode sets, as gtag pushes it: `["consent", "update", {…}]`, or the
/// `arguments` of a function, which JSON turns into an object with the names `0`, `1` and `2`.
pub(super) fn consent_command(entry: &Value) -> Option<&Value> {
    let at = |index: usize| match entry {
        Value::Array(parts) => parts.get(index),
        Value::Object(parts) => parts.get(&index.to_string()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    };
    (at(0)?.as_str()? == "consent").then(|| at(2)).flatten()
}

/// What a state of consent mode says of one type. What is not understood is no agreement.
fn decision(state: &Value, of: &str) -> Option<Decision> {
    let Some(state) = state.as_object() else { return Some(Decision::Denied) };
    let mut types = state.iter().filter(|(name, _)| name.trim().eq_ignore_ascii_case(of));
    match types.next()?.1 {
        Value::Null => None,
        Value::Bool(true) => Some(Decision::Granted),
        Value::String(text) if text.trim().eq_ignore_ascii_case("granted") => {
            Some(Decision::Granted)
        }
        Value::Bool(false)
        | Value::String(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Object(_) => Some(Decision::Denied),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Collector;
    use super::super::tests::{CLIENT, collect};
    use super::*;

    #[test]
    fn the_browser_s_ids_come_from_the_body_or_from_its_cookies() {
        let event = json!({"event": "click"});
        let read = |cookies: &str| {
            let collected = Collector::default().collect(&event, Some(cookies));
            collected.ok().map(|one| (one.visit.client_id.expose().clone(), one.visit.session_id))
        };
        let id = |session: Option<&str>| Some((CLIENT.to_owned(), session.map(str::to_owned)));
        let ga = format!("_ga=GA1.1.{CLIENT}");
        assert_eq!(read(&ga), id(None));
        let first = format!("a=b; {ga}; _ga_ABC=GS1.1.1767225601.3.1.1767225700.0.0.0");
        assert_eq!(read(&first), id(Some("1767225601")));
        let second = format!("{ga}; _ga_ABC=GS2.1.s1767225602$o3$g1$t1767225700");
        assert_eq!(read(&second), id(Some("1767225602")));
        assert_eq!(
            read(&format!("{second}; _ga_DEF=GS1.1.5.1")),
            id(None),
            "whose session is not known"
        );
        for none in ["", "_ga=ana@example.com", "_ga=GA1.1.x", "_ga=GA1.1.52998224725.1"] {
            assert_eq!(read(none), None, "{none}");
        }
        let body = json!({"event": "click", "cookies": {"_ga": format!("GA1.2.{CLIENT}"), "_ga_ABC": "GS2.1.s7$o1"}});
        let collected = collect(&body);
        assert_eq!(collected.visit.session_id.as_deref(), Some("7"));
        let same_site = Collector::default().collect(&body, Some("_ga_ABC=GS2.1.s7$o2"));
        assert_eq!(same_site.unwrap().visit.session_id.as_deref(), Some("7"));
    }

    #[test]
    fn any_denial_counts_and_of_consent_mode_s_commands_the_last() {
        let state = |state: &str| json!({"analytics_storage": state});
        let event =
            |consent: Value| json!({"event": "click", "client_id": CLIENT, "consent": consent});
        let default = json!(["consent", "default", state("denied")]);
        let arguments = json!({"0": "consent", "1": "update", "2": state("granted")});
        let (granted, denied) = (Some(Decision::Granted), Some(Decision::Denied));
        for (body, expected) in [
            (event(Value::Null), None),
            (event(json!({})), None),
            (event(json!({"analytics_storage": null})), None),
            (event(state("granted")), granted),
            (event(json!({"analytics_storage": 1})), denied),
            (event(json!(false)), denied),
            (event(json!("denied")), denied),
            (json!([event(state("granted")), event(state("denied"))]), denied),
            (json!({"events": [event(state("denied"))], "consent": state("granted")}), denied),
            (json!([default, event(Value::Null)]), denied),
            (json!([default, arguments, event(Value::Null)]), granted),
            (json!([arguments, default, event(Value::Null)]), denied),
            (json!([default, arguments, event(state("denied"))]), denied),
            (json!([["consent", "update", "x"], event(state("granted"))]), denied),
        ] {
            assert_eq!(collect(&body).analytics, expected, "{body}");
        }
    }
}
