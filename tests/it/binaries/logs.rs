//! Nothing personal and no secret in any line that any binary writes, whatever goes wrong.
//!
//! Owns the marked lead, the ways to go wrong, and the search, which sees through percent-encoding,
//! base64 and byte lists. It must not know what a line should say, only what it must not.

mod marks;

use funil_core::provider::{calendly, whatsapp};
use funil_core::settings::Secret;

use super::*;
use marks::*;

/// Lines and whose they are.
struct Written {
    whose: String,
    lines: Vec<String>,
}

impl Written {
    async fn of(mut process: FunctionProcess, function: &str, when: &str) -> Self {
        process.kill().await;
        Self { whose: format!("{function} {when}"), lines: process.output() }
    }

    fn count(&self, text: &str) -> usize {
        self.lines.iter().filter(|line| line.contains(text)).count()
    }

    /// How many lines count towards a metric.
    fn counted(&self, metric: &str) -> usize {
        self.count(&format!(r#""Metrics":[{{"Name":"{metric}""#))
    }

    /// It logged what it did, everything our own crates have to say, and from others only warnings.
    fn is_a_whole_log(&self) {
        let whose = &self.whose;
        let mut detail = 0;
        for line in &self.lines {
            let line: Value = serde_json::from_str(line)
                .unwrap_or_else(|_| panic!("{whose} wrote something besides its log: {line}"));
            counts_properly(whose, &line);
            let ours = line["target"].as_str().unwrap().starts_with("funil_");
            match line["level"].as_str().unwrap() {
                "DEBUG" | "TRACE" if ours => detail += 1,
                "INFO" if ours => {}
                level => assert!(["WARN", "ERROR"].contains(&level), "{whose}: {line}"),
            }
        }
        assert!(detail > 0, "{whose} wrote no detail at LOG_LEVEL=trace: {:?}", self.lines);
    }
}

/// A line that `CloudWatch` is to count has every member that it names, as what it names it.
fn counts_properly(whose: &str, line: &Value) {
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

/// The whole way of a marked lead while the providers behave in some way.
async fn delivered(place: Place, when: String, behaviour: Behaviour) -> Vec<Written> {
    let blocked = behaviour == Behaviour::Status(401);
    for provider in ["crm", "mailerlite", "ga4", "segment"] {
        place.providers.behave(provider, behaviour.clone());
    }
    let mut intake = place.start("lead-submit").await;
    let response = intake.invoke(call(&marked_body().to_string()), TIME_S).await.unwrap();
    assert_eq!(response["statusCode"], 200, "{when}: {response}");
    let mut questionnaire = None;
    // A breaker that opens at once leaves open how many more of the lead's messages are tried.
    if !blocked {
        let mut process = place.start("questionnaire-submit").await;
        let responses = call(&marked_questionnaire().to_string());
        let response = process.invoke(responses, TIME_S).await.unwrap();
        assert_eq!(response["statusCode"], 200, "{when}: {response}");
        questionnaire = Some(Written::of(process, "questionnaire-submit", &when).await);
    }
    let mut dispatch = place.start("dispatch").await;
    assert_eq!(dispatch.invoke(ring(), TIME_S).await.unwrap(), json!({"rung": []}), "{when}");
    let intake = Written::of(intake, "lead-submit", &when).await;
    assert_eq!(intake.count(r#""message":"accepted a submission""#), 1, "{:?}", intake.lines);
    assert_eq!(intake.counted("Accepted"), 1, "{:?}", intake.lines);
    let dispatch = Written::of(dispatch, "dispatch", &when).await;
    assert_eq!(dispatch.count("a ring failed"), 4, "{:?}", dispatch.lines);

    // The first refusal opens the breaker: the second message is not tried.
    let messages = if blocked { [1, 1, 1, 1] } else { [2, 3, 2, 2] };
    let deliveries = DELIVERY_FUNCTIONS.into_iter().zip(messages).map(|(function, messages)| {
        let (place, when) = (&place, &when);
        async move {
            let mut process = place.start(function).await;
            let mut watched = process.watch();
            // One that failed is tried again in 5 s; nobody waits for that.
            tokio::select! {
                drained = process.invoke(ring(), TIME_S) => drop(drained.unwrap()),
                _ = watched.until_written(SETTLED, messages) => {}
            }
            let written = Written::of(process, function, when).await;
            assert_eq!(written.count(SETTLED), messages, "{}: {:?}", written.whose, written.lines);
            assert_eq!(written.counted("Settled"), messages, "{:?}", written.lines);
            written
        }
    });
    [intake, dispatch].into_iter().chain(questionnaire).chain(join_all(deliveries).await).collect()
}

const SETTLED: &str = r#""message":"settled "#;

/// The same while there is no table, or nobody answers where it should be.
async fn without_table(mut place: Place, name: &str, value: &str) -> Vec<Written> {
    place.env.insert(name.to_owned(), value.to_owned());
    let place = &place;
    let others = ["lead-submit", "questionnaire-submit", "dispatch", "health", "metrics"];
    let functions = others.into_iter().chain(DELIVERY_FUNCTIONS);
    join_all(functions.map(|function| async move {
        let event = match function {
            "lead-submit" => call(&marked_body().to_string()),
            "questionnaire-submit" => call(&marked_questionnaire().to_string()),
            "health" | "metrics" => authorised_get(),
            _ => ring(),
        };
        let mut process = place.start(function).await;
        let response = process.invoke(event, TIME_S).await.unwrap();
        match function {
            "lead-submit" | "questionnaire-submit" | "health" | "metrics" => {
                assert_eq!(response["statusCode"], 503, "{response}");
                assert_nothing_in(function, &response.to_string());
            }
            _ => assert_eq!(response, json!({"error": "the table failed"}), "{function}"),
        }
        let written = Written::of(process, function, &format!("with {name}={value}")).await;
        assert_eq!(written.count("the table failed"), 1, "{:?}", written.lines);
        written
    }))
    .await
}

/// Calls that are refused, each with marks in what is wrong with it.
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
    let mut not_text = call("");
    not_text["body"] = marked_body();
    let mut not_base64 = call(&good);
    not_base64["isBase64Encoded"] = json!(true);
    let mut no_method = shape("rest-v1", &marked_body());
    no_method["httpMethod"] = json!("qzmethod ?");
    let mut get = call(&good);
    get["requestContext"]["http"]["method"] = json!("GET");
    let form_encoded = "email=qzlocal.part%40qzdomain.example&consent[marketing]=qzwrong";

    let mut intake = place.start("lead-submit").await;
    for (what, event, status) in [
        ("wrong fields", call(&wrong.to_string()), 422),
        ("torn JSON", call(&good[..good.len() / 2]), 400),
        ("a key twice", call(r#"{"qzunknown": 1, "qzunknown": 2}"#), 400),
        ("text", with(call(&good), "content-type", "text/plain; charset=qzwrong"), 415),
        (
            "a wrong HTML form",
            with(call(form_encoded), "content-type", "application/x-www-form-urlencoded"),
            422,
        ),
        ("a key too long", with(call(&good), "idempotency-key", &KEY.repeat(50)), 400),
        ("a GET", get, 405),
        ("a body that is no text", not_text, 400),
        ("a body that is no base64", not_base64, 400),
        ("a method that is none", no_method, 400),
        ("a good one", call(&good), 200),
        ("the same again", call(&good), 200),
        ("its key for another content", call(&other.to_string()), 422),
        ("a robot's", with(call(&robot.to_string()), "idempotency-key", "qzunknown-1"), 200),
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
        ("wrong answers", call(&wrong.to_string()), 422),
        ("torn JSON", call(&good[..good.len() / 2]), 400),
        ("another's e-mail", call(&stranger.to_string()), 404),
        ("good answers", call(&good), 200),
        ("the same answers again", call(&good), 200),
        (
            "a robot's answers",
            with(call(&robot.to_string()), "idempotency-key", "qzunknown-2"),
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
        let event = with(call(body), "authorization", token);
        let response = crm.invoke(event, TIME_S).await.unwrap();
        assert_eq!(response["statusCode"], status, "{what}: {response}");
        assert_nothing_in(what, &response.to_string());
    }
    let intake = Written::of(intake, "lead-submit", "refusing").await;
    assert_eq!(intake.count("answered a repeated submission"), 1, "{:?}", intake.lines);
    assert_eq!(intake.counted("Duplicates"), 1, "{:?}", intake.lines);
    let crm = Written::of(crm, "crm-sync", "refusing").await;
    assert_eq!(crm.count(SETTLED), 1, "{:?}", crm.lines);
    let questionnaire = Written::of(questionnaire, "questionnaire-submit", "refusing").await;
    assert_eq!(questionnaire.counted("Accepted"), 1, "{:?}", questionnaire.lines);
    vec![intake, questionnaire, crm, booked(&place).await]
}

/// Messages to the same person that WhatsApp refuses, and what they write back.
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
    let response = intake.invoke(call(&marked_body().to_string()), TIME_S).await.unwrap();
    assert_eq!(response["statusCode"], 200, "{response}");
    let token = format!("Bearer {}", "qsservicetoken0123456789");
    let starts_at = funil_core::clock::after(place.platform.clock.now(), 48 * 3600);
    let link = "https://qzpage.example/1";
    let plan = json!({"leadId": LEAD_ID, "startTime": starts_at, "joinUrl": link}).to_string();
    let mut automation = place.start("whatsapp-automation").await;
    for (what, token, status) in [("a wrong token", "Bearer qztoken", 401), ("a plan", &token, 200)]
    {
        let event = with(call(&plan), "authorization", token);
        let response = automation.invoke(event, TIME_S).await.unwrap();
        assert_eq!(response["statusCode"], status, "{what}: {response}");
        assert_nothing_in(what, &response.to_string());
    }
    assert_eq!(place.delivery_count(LEAD_ID, State::Dead).await, 1, "WhatsApp refused it");

    let at = place.platform.clock.now().as_second();
    let inbound = funil_dev::simulated::whatsapp_inbound;
    let key = Secret::new(&*place.env["WHATSAPP_APP_SECRET"]);
    let mut webhook = place.start("whatsapp-webhook").await;
    for (what, body) in [
        ("a question", inbound("5511975318642", "qzquestion", at).to_string()),
        ("an opt-out", inbound("551175318642", "Parar!", at + 60).to_string()),
        ("torn JSON", inbound("5511975318642", "qzanswer", at).to_string()[..150].to_owned()),
    ] {
        let signature = whatsapp::sign(&key, body.as_bytes());
        let event = with(call(&body), whatsapp::SIGNATURE_HEADER, &signature);
        let response = webhook.invoke(event, TIME_S).await.unwrap();
        assert_eq!(response["statusCode"], 200, "{what}: {response}");
    }
    let unsigned = inbound("5511975318642", "qzwrong", at).to_string();
    assert_eq!(webhook.invoke(call(&unsigned), TIME_S).await.unwrap()["statusCode"], 401);
    assert_eq!(
        place.delivery_count(LEAD_ID, State::Skipped).await,
        2,
        "nothing is queued any more"
    );
    let processes = [
        (intake, "lead-submit"),
        (automation, "whatsapp-automation"),
        (webhook, "whatsapp-webhook"),
    ];
    join_all(processes.map(|(process, whose)| Written::of(process, whose, "messaging"))).await
}

/// Calendly's calls about the same person, understood and not.
async fn booked(place: &Place) -> Written {
    let mut good = crate::calendly::created("INV1");
    good["payload"]["email"] = json!(EMAIL);
    good["payload"]["name"] = json!("Qzname Qzsurname");
    good["payload"]["text_reminder_number"] = json!("+55 11 97531-8642");
    good["payload"]["tracking"]["utm_content"] = json!("qzutmcontent");
    good["payload"]["questions_and_answers"] =
        json!([{"question": "qzquestion", "answer": "qzanswer", "position": 0}]);
    good["payload"]["scheduled_event"]["location"]["join_url"] = json!("https://qzpage.example/1");
    let mut strange = good.clone();
    strange["payload"]["uri"] = json!("qzwrong");
    let mut other = good.clone();
    other["event"] = json!("contact.created");
    let key = Secret::new(&*place.env["CALENDLY_SIGNING_KEY"]);
    let mut process = place.start("calendar-webhook").await;
    for (what, body) in [
        ("a booking", good.to_string()),
        ("the same again", good.to_string()),
        ("a booking of nobody", strange.to_string()),
        ("another event", other.to_string()),
        ("torn JSON", good.to_string()[..200].to_owned()),
    ] {
        let signature = calendly::sign(body.as_bytes(), &key, place.platform.clock.now());
        let event = with(call(&body), calendly::SIGNATURE_HEADER, &signature);
        let response = process.invoke(event, TIME_S).await.unwrap();
        assert_eq!(response["statusCode"], 200, "{what}: {response}");
        assert_nothing_in(what, &response.to_string());
    }
    let unsigned = process.invoke(call(&good.to_string()), TIME_S).await.unwrap();
    assert_eq!(unsigned["statusCode"], 401, "{unsigned}");
    let written = Written::of(process, "calendar-webhook", "refusing").await;
    assert_eq!(written.counted("Accepted"), 1, "{:?}", written.lines);
    written
}

#[tokio::test]
async fn no_line_of_any_log_holds_anything_personal_or_secret() {
    let emulator = Arc::new(Emulator::memory().await.unwrap());
    let echo = Behaviour::StatusWith {
        status: 422,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: json!({"message": format!("{EMAIL} is invalid"), "sent": marked_body()}).to_string(),
    };
    let ways = [
        ("leads", Behaviour::Normal),
        ("contacts", Behaviour::Normal),
        ("contacts", Behaviour::Status(401)),
        ("webhook", echo),
        ("leads", Behaviour::Status(503)),
        ("contacts", Behaviour::CloseConnection),
        ("webhook", Behaviour::Garbage),
    ];
    let deliveries = ways.into_iter().enumerate().map(|(number, (crm_kind, behaviour))| {
        let emulator = Arc::clone(&emulator);
        async move {
            let mut place = Place::on(emulator, &format!("funil-{number}")).await;
            place.env.insert("CRM_KIND".to_owned(), crm_kind.to_owned());
            let when = format!("while a CRM of {crm_kind} and the others are told {behaviour}");
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

    for written in &written {
        written.is_a_whole_log();
        for line in &written.lines {
            assert_nothing_in(&written.whose, line);
        }
    }
}
