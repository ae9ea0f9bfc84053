//! The requests that bring marked personal data to each function. This must not know what becomes of them.

use super::*;

/// A request with marked data for a function that takes requests. `dispatch` and the delivery functions
/// are rung.
pub(super) fn marked_event(place: &Place, function: &str) -> Value {
    match function {
        "lead-submit" => http_event(&marked_body().to_string()),
        "questionnaire-submit" => http_event(&marked_questionnaire().to_string()),
        "contact-submit" => http_event(&marked_contact().to_string()),
        "newsletter-signup" => {
            let mut body = marked_contact();
            body["data"]["marketing_consent"] = json!(true);
            http_event(&body.to_string())
        }
        "consultation-booking" => {
            let mut body = marked_contact();
            body["data"]["service"] = json!("qzservice");
            body["data"]["budget_range"] = json!("qzbudget");
            http_event(&body.to_string())
        }
        "calendar-webhook" => {
            signed_by_calendly(place, http_event(""), &marked_booking().to_string())
        }
        "stripe-webhook" => {
            let body = marked_payment().to_string();
            let key = Secret::new(&*place.env["STRIPE_WEBHOOK_SECRET"]);
            let signature = stripe::sign(body.as_bytes(), &key, place.platform.clock.now());
            with(http_event(&body), stripe::SIGNATURE_HEADER, &signature)
        }
        "mailerlite-webhook" => {
            let body = json!({"event": "subscriber.unsubscribed", "email": "qzlocal.part@qzdomain.example",
                "fields": {"name": "Qzname Qzsurname", "company": "qzcompany"}});
            let body = body.to_string();
            let key = Secret::new(&*place.env["MAILERLITE_WEBHOOK_SECRET"]);
            let signature = mailerlite::sign(body.as_bytes(), &key);
            with(http_event(&body), mailerlite::SIGNATURE_HEADER, &signature)
        }
        "deal-webhook" => marked_deal(place),
        "c2s-webhook" => marked_crm_lead(place),
        "brevo-webhook" => {
            let body = json!({"event": "hard_bounce", "email": "qzlocal.part@qzdomain.example",
                "subject": "qzdeal", "reason": "qzlocal.part@qzdomain.example does not exist"});
            let token = format!("Bearer {}", place.env["BREVO_WEBHOOK_SECRET"]);
            with(http_event(&body.to_string()), brevo::TOKEN_HEADER, &token)
        }
        "whatsapp-webhook" => {
            let at = place.platform.clock.now().as_second();
            let body = whatsapp_inbound("5511975318642", "qzquestion", at).to_string();
            signed_by_meta(place, &body)
        }
        "ga4-collect" => marked_visit(),
        "health" | "metrics" => authorised_get(),
        other if funil_lambda::functions::intake().any(|one| one.name == other) => {
            marked_sample(place, other)
        }
        _ => ring(),
    }
}

/// A sample of a function that has no event of its own above, with marks in what it says of the person.
fn marked_sample(place: &Place, function: &str) -> Value {
    let marked = samples::bodies(function).into_iter().find_map(|mut body| {
        let before = body.clone();
        mark(&mut body);
        (body != before).then_some(body)
    });
    let body = marked.unwrap_or_else(|| {
        panic!("a sample of {function} has to say a name with Exemplo or an e-mail at example.com")
    });
    let body = body.to_string();
    let mut event = http_event(&body);
    event["rawPath"] = json!(format!("/{function}"));
    event["requestContext"]["http"]["path"] = event["rawPath"].clone();
    let now = place.platform.clock.now();
    let key = |variable: &str| place.env[variable].clone();
    match samples::signature(function, body.as_bytes(), now, key) {
        Some((header, value)) => with(event, header, &value),
        None => event,
    }
}

/// Replaces the names and e-mails that our samples have, and what a form of the site says by these names.
fn mark(value: &mut Value) {
    if let Some(members) = value.as_object_mut() {
        let marked = marked_contact();
        let named = marked["data"].as_object().unwrap().iter();
        for (name, text) in named.filter(|(name, _)| *name != "service_interest") {
            if let Some(member) = members.get_mut(name).filter(|member| member.is_string()) {
                member.clone_from(text);
            }
        }
    }
    match value {
        Value::String(text) if text.contains("@example.com") => EMAIL.clone_into(text),
        Value::String(text) if text.contains("Exemplo") => "Qzname Qzsurname".clone_into(text),
        Value::Array(list) => list.iter_mut().for_each(mark),
        Value::Object(members) => members.values_mut().for_each(mark),
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
    }
}

/// A deal of the marked lead, with marks in everything that a CRM says of it.
pub(super) fn marked_deal(place: &Place) -> Value {
    let body = json!({"data": {"dealId": "D1",
        "customer": {"contactId": "C1", "firstName": "Qzname", "lastName": "Qzsurname",
            "email": "qzlocal.part@qzdomain.example", "phoneNumber": "(11) 97531-8642"},
        "dealDetails": {"status": "Committed", "dealName": "qzdeal", "dealValue": 5.5},
        "propertyInformation": {"address": "qzaddress"}}});
    let mut event = http_event(&body.to_string());
    event["rawPath"] = json!("/deal-webhook");
    event["requestContext"]["http"]["path"] = json!("/deal-webhook");
    with(event, deals::KEY_HEADER, &place.env["DEAL_API_KEY"])
}

/// The marked lead as Contact2Sale reports it, with marks in everything.
pub(super) fn marked_crm_lead(place: &Place) -> Value {
    let body = json!({"id": "c1", "hook_action": "on_create_lead", "attributes": {
        "customer": {"name": "Qzname Qzsurname", "email": "qzlocal.part@qzdomain.example",
            "phone": "5511975318642"},
        "description": "qzmessage", "updated_at": "2026-01-02T03:04:05Z"}});
    with(http_event(&body.to_string()), c2s::TOKEN_HEADER, &place.env["C2S_WEBHOOK_SECRET"])
}

/// What a page reports of a visit, with marks in all that a person or the page may have written.
pub(super) fn marked_visit() -> Value {
    let body = json!({
        "event": "search", "client_id": "123456789.1767225600", "lead_id": "qzwrong",
        "consent": {"analytics_storage": "granted"}, "search_term": "qzquestion",
        "page_title": "qzlocal.part@qzdomain.example", "page_location": "https://qzpage.example/1",
    });
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0";
    with(http_event(&body.to_string()), "user-agent", agent)
}

/// A form of the site with marks in all that a person or the page writes.
fn marked_contact() -> Value {
    json!({
        "form_type": "qzformtype", "lead_id": "qzwrong", "page_url": "https://qzpage.example/1",
        "utm_params": {"utm_source": "qzsource"}, "timestamp": "qzwrong", "fbp": "qzfbp",
        "data": {
            "name": "Qzname Qzsurname", "email": "qzlocal.part@qzdomain.example",
            "phone": "11 97531-8642", "company": "qzcompany", "service_interest": "qzservice",
            "message": "qzmessage",
        },
    })
}

/// A payment with marks in all that a person or the site may have written.
fn marked_payment() -> Value {
    let mut body = paid("pi_1", 19_700);
    let object = &mut body["data"]["object"];
    object["receipt_email"] = json!("qzpayer@qzdomain.example");
    object["customer_name"] = json!("Qzname Qzsurname");
    object["metadata"] = json!({"service_name": "qzservice", "user_id": "qzuser"});
    body
}

/// A webhook of Meta's in an HTTP event, signed.
pub(super) fn signed_by_meta(place: &Place, body: &str) -> Value {
    let key = Secret::new(&*place.env["WHATSAPP_APP_SECRET"]);
    with(http_event(body), whatsapp::SIGNATURE_HEADER, &whatsapp::sign(&key, body.as_bytes()))
}
