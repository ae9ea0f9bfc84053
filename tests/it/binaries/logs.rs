//! No line that any binary writes has anything personal or secret in it, whatever goes wrong.
//!
//! Marked personal data goes through every function and to every destination while something goes
//! wrong, and [`marks`] looks for it in each line. This must not know what a line should say, only
//! what it must not.

mod marked;
mod marks;

use funil_core::provider::{brevo, c2s, deals, mailerlite, stripe, whatsapp};
use funil_dev::simulated::{Person, whatsapp_inbound};

use super::*;
use crate::samples;
use crate::stripe::paid;
use marked::*;
use marks::*;

/// The lines that a process wrote.
struct Written {
    function: &'static str,
    /// The function, and what was going on.
    whose: String,
    lines: Vec<String>,
}

impl Written {
    async fn of(mut process: FunctionProcess, function: &'static str, when: &str) -> Self {
        process.kill().await;
        Self { function, whose: format!("{function} {when}"), lines: process.output() }
    }

    fn count(&self, text: &str) -> usize {
        self.lines.iter().filter(|line| line.contains(text)).count()
    }

    /// How many lines count towards a metric.
    fn counted(&self, metric: &str) -> usize {
        self.count(&format!(r#""Metrics":[{{"Name":"{metric}""#))
    }

    /// Asserts that these are all lines of our own crates, down to the details, and only warnings and
    /// errors of others.
    fn is_a_complete_log(&self) {
        let whose = &self.whose;
        let mut detail = 0;
        for line in &self.lines {
            let line: Value = serde_json::from_str(line)
                .unwrap_or_else(|_| panic!("{whose} wrote something besides its log: {line}"));
            has_what_it_declares(whose, &line);
            let ours = line["target"].as_str().unwrap().starts_with("funil_");
            match line["level"].as_str().unwrap() {
                "DEBUG" | "TRACE" if ours => detail += 1,
                "INFO" if ours => {}
                level => assert!(["WARN", "ERROR"].contains(&level), "{whose}: {line}"),
            }
        }
        // An optimised build has no detail (`release_max_level_info`).
        let has_detail = detail > 0 || !cfg!(debug_assertions);
        assert!(has_detail, "{whose} wrote no detail at LOG_LEVEL=trace: {:?}", self.lines);
    }
}

/// Asserts that a line with metrics for `CloudWatch` has every member that it declares, of the right
/// type.
fn has_what_it_declares(whose: &str, line: &Value) {
    let Some(aws) = line.get("_aws") else { return };
    assert!(aws["Timestamp"].as_i64().unwrap() > 1_700_000_000_000, "{whose}: {line}");
    let directive = &aws["CloudWatchMetrics"][0];
    assert_eq!(directive["Namespace"], "Funil", "{whose}: {line}");
    for name in directive["Dimensions"][0].as_array().unwrap() {
        let value = line[name.as_str().unwrap()].as_str().unwrap();
        assert!(!value.is_empty(), "{whose}: {line}");
    }
    for metric in directive["Metrics"].as_array().unwrap() {
        assert!(line[metric["Name"].as_str().unwrap()].is_u64(), "{whose}: {line}");
    }
}

/// A process's log of the response to one request.
async fn request(place: &Place, function: &'static str, when: &str, event: Value) -> Written {
    let mut process = place.start(function).await;
    let response = process.invoke(event, TIME_S).await.unwrap();
    assert_eq!(response["statusCode"], 200, "{function} {when}: {response}");
    Written::of(process, function, when).await
}

/// How many deliveries of the marked lead are due, by destination, and of its visit the one that there is.
async fn due(place: &Place) -> BTreeMap<String, usize> {
    let lead_id = LeadId::parse(LEAD_ID).unwrap();
    let now = place.platform.clock.now();
    let mut due = BTreeMap::from([("ga4_visits".to_owned(), 1)]);
    for delivery in place.store.journey(lead_id).await.unwrap().unwrap().deliveries {
        if delivery.due_at().is_some_and(|due_at| due_at <= now) {
            *due.entry(delivery.destination).or_default() += 1;
        }
    }
    due
}

/// The whole way of a marked lead, its answers and its booking, to every destination, while the
/// providers behave in some way.
async fn delivered(mut place: Place, when: String, behaviour: Behaviour) -> Vec<Written> {
    let blocked = behaviour == Behaviour::Status(401);
    for destination in destination::ALL {
        place.providers.behave(destination.provider, behaviour.clone());
    }
    let visit = request(&place, "ga4-collect", &when, marked_visit()).await;
    let form = http_event(&marked_body().to_string());
    let intake = request(&place, "lead-submit", &when, form).await;
    assert_eq!(intake.count(r#""message":"accepted form:lead-submit:"#), 1, "{:?}", intake.lines);
    assert_eq!(intake.counted("Accepted"), 1, "{:?}", intake.lines);
    let mut written = vec![visit, intake];
    if blocked {
        // The first refusal opens the breaker. How many other events of the lead are sent at the
        // same time is not certain, so every destination gets one event only.
        let planned = due(&place).await;
        let rest = destination::ALL.iter().filter(|one| !planned.contains_key(one.name));
        place.env.insert("DESTINATIONS".to_owned(), list(rest));
    } else {
        let answers = http_event(&marked_questionnaire().to_string());
        written.push(request(&place, "questionnaire-submit", &when, answers).await);
    }
    let booking = marked_booking().to_string();
    let booking = signed_by_calendly(&place, http_event(""), &booking);
    written.push(request(&place, "calendar-webhook", &when, booking).await);
    // A deal reaches the destination of e-mails, and is to reach no other here.
    place.env.insert("DESTINATIONS".to_owned(), "brevo".to_owned());
    let deal = marked_deal(&place);
    written.push(request(&place, "deal-webhook", &when, deal).await);
    // And so does a lead of a CRM the one that looks it up.
    place.env.insert("DESTINATIONS".to_owned(), "c2s".to_owned());
    let crm_lead = marked_crm_lead(&place);
    place.providers.know_person(Person {
        name: "QZNAME QZSURNAME".to_owned(),
        phone: "11975318642".to_owned(),
        email: String::new(),
        cpf: String::new(),
    });
    written.push(request(&place, "c2s-webhook", &when, crm_lead).await);
    place.env.insert("DESTINATIONS".to_owned(), all_destinations());
    let due = due(&place).await;
    for destination in destination::ALL {
        assert!(due.contains_key(destination.name), "nothing is due for {}", destination.name);
    }

    let mut dispatch = place.start("dispatch").await;
    assert_eq!(dispatch.invoke(ring(), TIME_S).await.unwrap(), json!({"rung": []}), "{when}");
    let dispatch = Written::of(dispatch, "dispatch", &when).await;
    assert_eq!(dispatch.count("the ring of "), due.len(), "{:?}", dispatch.lines);
    written.push(dispatch);

    let deliveries = destination::ALL.iter().map(|destination| {
        // After the refusal that opens the breaker, the second message is not tried.
        let messages = if blocked { 1 } else { due[destination.name] };
        let (place, when, function) = (&place, &when, destination.function);
        async move {
            let mut process = place.start(function).await;
            let mut watched = process.watch();
            // A message that failed is tried again in 5 s; the test does not wait for that.
            tokio::select! {
                drained = process.invoke(ring(), TIME_S) => drop(drained.unwrap()),
                _ = watched.until_written(SETTLED, messages) => {}
            }
            let written = Written::of(process, function, when).await;
            assert_eq!(written.count(SETTLED), messages, "{}: {:?}", written.whose, written.lines);
            assert_eq!(written.counted("Settled"), messages, "{:?}", written.lines);
            let received = place.providers.received(destination.provider);
            assert!(!received.is_empty(), "{} sent nothing", written.whose);
            written
        }
    });
    written.extend(join_all(deliveries).await);
    for function in ["health", "metrics"] {
        written.push(request(&place, function, &when, authorised_get()).await);
    }
    written
}

const SETTLED: &str = r#""message":"settled "#;

/// Every function with marked data, while there is no table or no server where it should be.
async fn without_table(mut place: Place, name: &str, value: &str) -> Vec<Written> {
    place.env.insert(name.to_owned(), value.to_owned());
    let place = &place;
    join_all(functions().into_iter().map(|function| async move {
        let event = marked_event(place, function);
        let over_http = event.get("requestContext").is_some();
        let mut process = place.start(function).await;
        let response = process.invoke(event, TIME_S).await.unwrap();
        if over_http {
            assert_eq!(response["statusCode"], 503, "{function}: {response}");
            assert_nothing_in(function, &response.to_string());
        } else {
            assert_eq!(response, json!({"error": "the table failed"}), "{function}");
        }
        let written = Written::of(process, function, &format!("with {name}={value}")).await;
        assert_eq!(written.count("the table failed"), 1, "{function}: {:?}", written.lines);
        written
    }))
    .await
}

/// Requests that are refused, each with marks in what is wrong with it.
async fn refused(place: Place) -> Vec<Written> {
    let good = marked_body().to_string();
    let mut wrong = marked_body();
    wrong["leadId"] = json!("qzwrong");
    wrong["email"] = json!("qzwrong@@qzdomain");
    wrong["phone"] = json!("qzwrong 975318642");
    wrong["amandaScore"] = json!("qzwrong");
    wrong["utm"] = json!("qzwrong");
    wrong["consent"]["marketing"] = json!("qzwrong");
    wrong["mainStruggle"] = json!("qzstruggle".repeat(300));
    let mut other = marked_body();
    other["mainStruggle"] = json!("qzstruggle again");
    let mut robot = marked_body();
    robot["website"] = json!("https://qzhoneypot.example");
    let mut not_text = http_event("");
    not_text["body"] = marked_body();
    let mut not_base64 = http_event(&good);
    not_base64["isBase64Encoded"] = json!(true);
    let mut no_method = sample_event("rest-v1", &marked_body());
    no_method["httpMethod"] = json!("qzmethod ?");
    let mut get = http_event(&good);
    get["requestContext"]["http"]["method"] = json!("GET");
    let form_encoded = "email=qzlocal.part%40qzdomain.example&consent[marketing]=qzwrong";

    let mut intake = place.start("lead-submit").await;
    for (what, event, status) in [
        ("wrong fields", http_event(&wrong.to_string()), 422),
        ("torn JSON", http_event(&good[..good.len() / 2]), 400),
        ("a key twice", http_event(r#"{"qzunknown": 1, "qzunknown": 2}"#), 400),
        ("text", with(http_event(&good), "content-type", "text/plain; charset=qzwrong"), 415),
        (
            "a wrong HTML form",
            with(http_event(form_encoded), "content-type", "application/x-www-form-urlencoded"),
            422,
        ),
        ("a key too long", with(http_event(&good), "idempotency-key", &KEY.repeat(50)), 400),
        ("a GET", get, 405),
        ("a body that is no text", not_text, 400),
        ("a body that is no base64", not_base64, 400),
        ("a method that is none", no_method, 400),
        ("a good one", http_event(&good), 200),
        ("the same again", http_event(&good), 200),
        ("its key for another content", http_event(&other.to_string()), 422),
        ("a robot's", with(http_event(&robot.to_string()), "idempotency-key", "qzunknown-1"), 200),
    ] {
        let response = intake.invoke(event, TIME_S).await.unwrap();
        assert_eq!(response["statusCode"], status, "{what}: {response}");
        assert_nothing_in(what, &response.to_string());
    }
    let response = intake.invoke(marked_body(), TIME_S).await.unwrap();
    assert_eq!(response, json!({"error": "lead-submit takes HTTP calls only"}));

    let good = marked_questionnaire().to_string();
    let mut wrong = marked_questionnaire();
    wrong["leadId"] = json!("qzwrong");
    wrong["responses"]["commitment"] = json!("qzwrong");
    wrong["responses"]["urgency"] = json!("qzwrong");
    wrong["responses"]["mainGoal"] = json!("qzgoal".repeat(400));
    let mut stranger = marked_questionnaire();
    stranger["email"] = json!("qzwrong@qzdomain.example");
    let mut robot = marked_questionnaire();
    robot["website"] = json!("https://qzhoneypot.example");
    let mut questionnaire = place.start("questionnaire-submit").await;
    for (what, event, status) in [
        ("wrong answers", http_event(&wrong.to_string()), 422),
        ("torn JSON", http_event(&good[..good.len() / 2]), 400),
        ("another person's e-mail", http_event(&stranger.to_string()), 404),
        ("good answers", http_event(&good), 200),
        ("the same answers again", http_event(&good), 200),
        (
            "a robot's answers",
            with(http_event(&robot.to_string()), "idempotency-key", "qzunknown-2"),
            200,
        ),
    ] {
        let response = questionnaire.invoke(event, TIME_S).await.unwrap();
        assert_eq!(response["statusCode"], status, "{what}: {response}");
        assert_nothing_in(what, &response.to_string());
    }

    let token = format!("Bearer {}", "qsservicetoken0123456789");
    let sync = json!({"leadId": LEAD_ID, "email": EMAIL}).to_string();
    let mut crm = place.start("crm-sync").await;
    for (what, body, token, status) in [
        ("a wrong token", sync.as_str(), "Bearer qztoken", 401),
        ("a wrong id", r#"{"leadId": "qzwrong"}"#, &token, 422),
        ("no lead's id", r#"{"leadId": "11111111-2222-4333-8444-555555555555"}"#, &token, 404),
        ("a sync", &sync, &token, 200),
    ] {
        let event = with(http_event(body), "authorization", token);
        let response = crm.invoke(event, TIME_S).await.unwrap();
        assert_eq!(response["statusCode"], status, "{what}: {response}");
        assert_nothing_in(what, &response.to_string());
    }
    let intake = Written::of(intake, "lead-submit", "refusing").await;
    assert_eq!(intake.count("responded to a duplicate submission"), 1, "{:?}", intake.lines);
    assert_eq!(intake.counted("Duplicates"), 1, "{:?}", intake.lines);
    let crm = Written::of(crm, "crm-sync", "refusing").await;
    // The sync, and the questionnaire's delivery, which it makes unnecessary.
    assert_eq!(crm.count(SETTLED), 2, "{:?}", crm.lines);
    let questionnaire = Written::of(questionnaire, "questionnaire-submit", "refusing").await;
    assert_eq!(questionnaire.counted("Accepted"), 1, "{:?}", questionnaire.lines);
    vec![intake, questionnaire, crm, booked(&place).await]
}

/// Messages to the marked lead that WhatsApp refuses, and what the person writes back.
async fn messaged(mut place: Place) -> Vec<Written> {
    place.env.insert("DESTINATIONS".to_owned(), "whatsapp".to_owned());
    place.providers.behave(
        "whatsapp",
        Behaviour::StatusWith {
            status: 400,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: json!({"error": {"code": 131_026, "message": "5511975318642 qzname"}})
                .to_string(),
        },
    );
    let mut intake = place.start("lead-submit").await;
    let response = intake.invoke(http_event(&marked_body().to_string()), TIME_S).await.unwrap();
    assert_eq!(response["statusCode"], 200, "{response}");
    let token = format!("Bearer {}", "qsservicetoken0123456789");
    let starts_at = after(place.platform.clock.now(), 48 * 3600);
    let link = "https://qzpage.example/1";
    let plan = json!({"leadId": LEAD_ID, "startTime": starts_at, "joinUrl": link}).to_string();
    let mut automation = place.start("whatsapp-automation").await;
    for (what, token, status) in [("a wrong token", "Bearer qztoken", 401), ("a plan", &token, 200)]
    {
        let event = with(http_event(&plan), "authorization", token);
        let response = automation.invoke(event, TIME_S).await.unwrap();
        assert_eq!(response["statusCode"], status, "{what}: {response}");
        assert_nothing_in(what, &response.to_string());
    }
    assert_eq!(place.delivery_count(LEAD_ID, StateKind::Dead).await, 1, "WhatsApp refused it");

    let at = place.platform.clock.now().as_second();
    let inbound = whatsapp_inbound;
    let mut webhook = place.start("whatsapp-webhook").await;
    for (what, body) in [
        ("a question", inbound("5511975318642", "qzquestion", at).to_string()),
        ("an opt-out", inbound("551175318642", "Parar!", at + 60).to_string()),
        ("torn JSON", inbound("5511975318642", "qzanswer", at).to_string()[..150].to_owned()),
    ] {
        let response = webhook.invoke(signed_by_meta(&place, &body), TIME_S).await.unwrap();
        assert_eq!(response["statusCode"], 200, "{what}: {response}");
    }
    let unsigned = inbound("5511975318642", "qzwrong", at).to_string();
    assert_eq!(webhook.invoke(http_event(&unsigned), TIME_S).await.unwrap()["statusCode"], 401);
    assert_eq!(
        place.delivery_count(LEAD_ID, StateKind::Skipped).await,
        2,
        "nothing is planned any more"
    );
    let processes = [
        (intake, "lead-submit"),
        (automation, "whatsapp-automation"),
        (webhook, "whatsapp-webhook"),
    ];
    join_all(processes.map(|(process, whose)| Written::of(process, whose, "messaging"))).await
}

/// Calendly's webhooks about the marked lead, some of which are not understood.
async fn booked(place: &Place) -> Written {
    let good = marked_booking();
    let mut strange = good.clone();
    strange["payload"]["uri"] = json!("qzwrong");
    let mut other = good.clone();
    other["event"] = json!("contact.created");
    let mut process = place.start("calendar-webhook").await;
    for (what, body) in [
        ("a booking", good.to_string()),
        ("the same again", good.to_string()),
        ("a no-show", marked_no_show().to_string()),
        ("a cancellation", marked_cancellation().to_string()),
        ("a booking of nobody", strange.to_string()),
        ("another event", other.to_string()),
        ("torn JSON", good.to_string()[..200].to_owned()),
    ] {
        let event = signed_by_calendly(place, http_event(""), &body);
        let response = process.invoke(event, TIME_S).await.unwrap();
        assert_eq!(response["statusCode"], 200, "{what}: {response}");
        assert_nothing_in(what, &response.to_string());
    }
    let unsigned = process.invoke(http_event(&good.to_string()), TIME_S).await.unwrap();
    assert_eq!(unsigned["statusCode"], 401, "{unsigned}");
    let written = Written::of(process, "calendar-webhook", "refusing").await;
    assert_eq!(written.counted("Accepted"), 3, "{:?}", written.lines);
    written
}

#[tokio::test]
async fn no_line_of_any_log_has_anything_personal_or_secret_in_it() {
    let emulator = Arc::new(Emulator::memory().await.unwrap());
    let echo = Behaviour::StatusWith {
        status: 422,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: json!({"message": format!("{EMAIL} is invalid"), "sent": marked_body()}).to_string(),
    };
    let behaviours = [
        ("leads", Behaviour::Normal),
        ("contacts", Behaviour::Normal),
        ("contacts", Behaviour::Status(401)),
        ("webhook", echo),
        ("leads", Behaviour::Status(503)),
        ("contacts", Behaviour::CloseConnection),
        ("webhook", Behaviour::Garbage),
    ];
    let deliveries = behaviours.into_iter().enumerate().map(|(number, (crm_kind, behaviour))| {
        let emulator = Arc::clone(&emulator);
        async move {
            let mut place = Place::on(emulator, &format!("funil-{number}")).await;
            place.env.insert("CRM_KIND".to_owned(), crm_kind.to_owned());
            let when = format!("with a CRM of kind {crm_kind} and providers that are {behaviour}");
            delivered(place, when, behaviour).await
        }
    });
    let mut written: Vec<_> = join_all(deliveries).await.into_iter().flatten().collect();
    let place = |table| Place::on(Arc::clone(&emulator), table);
    let endpoint = "AWS_ENDPOINT_URL_DYNAMODB";
    written.extend(without_table(place("funil-away").await, endpoint, CLOSED).await);
    written.extend(without_table(place("funil-gone").await, "TABLE_NAME", "gone").await);
    written.extend(refused(place("funil-refused").await).await);
    written.extend(messaged(place("funil-messaged").await).await);

    let ran: BTreeSet<&str> = written.iter().map(|written| written.function).collect();
    assert_eq!(ran, functions().into_iter().collect(), "every function has marked data");
    for written in &written {
        written.is_a_complete_log();
        for line in &written.lines {
            assert_nothing_in(&written.whose, line);
        }
    }
}
