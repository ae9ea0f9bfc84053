//! A site on Netlify: the functions get its events, ring each other by their addresses, and a schedule
//! delivers what a lost ring left. `deploy/try-netlify` runs this on the binaries that Netlify bundled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::Mutex as AsyncMutex;

use super::*;

/// The functions of a site behind its address, each as one process.
struct Site {
    functions: BTreeMap<&'static str, Arc<AsyncMutex<FunctionProcess>>>,
    /// Whether a ring reaches the function that it is for.
    rings_arrive: std::sync::atomic::AtomicBool,
}

impl Site {
    /// Starts the functions of a place, to which the variables of Netlify are added.
    async fn start(place: &mut Place) -> (Arc<Self>, String) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        place.env.insert("DOORBELL_URL".to_owned(), format!("{url}/.netlify/functions"));
        place.env.insert("RINGS".to_owned(), "http".to_owned());
        // The SDK's own names belong to Netlify there.
        for name in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            let value = place.env.insert(name.to_owned(), "netlifys-own".to_owned()).unwrap();
            place.env.insert(format!("FUNIL_{name}"), value);
        }
        place.env.remove("AWS_SESSION_TOKEN");
        let mut functions = BTreeMap::new();
        for name in super::functions() {
            functions.insert(name, Arc::new(AsyncMutex::new(place.start(name).await)));
        }
        let sweep = place.start_binary(&binary_under("sweep", "dispatch")).await;
        functions.insert("sweep", Arc::new(AsyncMutex::new(sweep)));
        let site = Arc::new(Self { functions, rings_arrive: true.into() });
        let router = Router::new().fallback(pass_on).with_state(Arc::clone(&site));
        tokio::spawn(axum::serve(listener, router).into_future());
        (site, url)
    }

    async fn invoke(&self, function: &str, event: Value) -> Value {
        let mut process = self.functions[function].lock().await;
        process.invoke(event, TIME_S).await.unwrap()
    }
}

/// Turns a request into an event as Netlify does, and the response back.
async fn pass_on(State(site): State<Arc<Site>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let is_ring = path.starts_with("/.netlify/functions/");
    if is_ring && !site.rings_arrive.load(std::sync::atomic::Ordering::Relaxed) {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let behind = path.strip_prefix("/api/").or(path.strip_prefix("/.netlify/functions/"));
    let function = behind.and_then(|rest| rest.split('/').next()).unwrap_or_default().to_owned();
    if !site.functions.contains_key(&*function) || function == "sweep" {
        return StatusCode::NOT_FOUND.into_response();
    }
    let body: Bytes = to_bytes(body, 1 << 20).await.unwrap();
    let mut event = sample_event("netlify-empty-context", &Value::Null);
    event["httpMethod"] = json!(parts.method.as_str());
    event["path"] = json!(path);
    event["body"] = json!(String::from_utf8(body.to_vec()).unwrap());
    for (name, value) in &parts.headers {
        event["headers"][name.as_str()] = json!(value.to_str().unwrap());
    }
    // The function goes on when whoever asked has gone, as a ring does after 50 ms.
    let invoked = tokio::spawn(async move { site.invoke(&function, event).await });
    let response = invoked.await.unwrap();
    let status = u16::try_from(response["statusCode"].as_u64().unwrap()).unwrap();
    let body = response["body"].as_str().unwrap().to_owned();
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}

fn form(number: u32) -> Value {
    json!({
        "name": "Ana Exemplo", "email": format!("ana{number}@example.com"),
        "phone": "(11) 98765-4321", "businessType": "consultoria",
        "gaClientId": format!("123456789{number}.1680000000"),
        "consent": {"marketing": true, "analytics": true, "ads": true, "whatsapp": true},
    })
}

#[tokio::test]
async fn a_site_on_netlify_delivers_at_once_and_its_schedule_what_a_lost_ring_left() {
    let mut place = Place::new().await;
    let (site, url) = Site::start(&mut place).await;
    let client = crate::world::client();
    let submit = async |number| {
        let request = client.post(format!("{url}/api/lead-submit"));
        let body = form(number).to_string();
        let response = request.header("content-type", "application/json").body(body).send();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        LeadId::parse(body["leadId"].as_str().unwrap()).unwrap()
    };
    let lead = submit(1).await;
    let providers = ["crm", "mailerlite", "ga4", "segment"];
    let reached =
        |leads: usize| join_all(providers.map(|name| place.providers.until_received(name, leads)));
    // The form's response came after the ring; nothing else starts the delivery.
    tokio::time::timeout(Duration::from_secs(30), reached(1)).await.expect("a ring was lost");
    assert!(place.providers.crm_contact(&lead.to_string()).is_some());

    site.rings_arrive.store(false, std::sync::atomic::Ordering::Relaxed);
    let other = submit(2).await;
    site.rings_arrive.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(place.providers.crm_contact(&other.to_string()).is_none());
    // What a lost ring left is due 65 s later.
    place.end_leases(other).await;
    let mut schedule = sample_event("netlify-schedule", &Value::Null);
    schedule["body"] = json!("{\"next_run\":\"2026-01-15T12:01:00Z\"}");
    let swept = site.invoke("sweep", schedule).await;
    assert_eq!(swept["statusCode"], 200, "{swept}");
    let settled = async {
        while place.providers.crm_contact(&other.to_string()).is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), settled).await.expect("the sweep left it");
}
