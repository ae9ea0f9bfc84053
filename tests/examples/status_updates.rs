//! Measures how long one request with a thousand status updates takes, on the emulator.
//!
//! `cargo run --release -p funil-tests --example status_updates`

#![expect(clippy::print_stdout, reason = "a command prints what it found")]

use std::time::Instant;

use funil_core::provider::whatsapp::sign;
use funil_core::settings::Secret;
use funil_tests::statuses::{sent_messages, status_updates};
use funil_tests::world::{WHATSAPP_APP_SECRET, World, lead_body};
use http::Method;
use serde_json::json;

/// How many updates Meta puts into one request at most.
const UPDATES: usize = 1_000;

#[tokio::main]
async fn main() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    let mut names = Vec::new();
    for number in 0..UPDATES {
        let mut body = lead_body();
        body["leadId"] = json!(null);
        body["email"] = json!(format!("somebody{number}@example.com"));
        let caller = format!("10.0.{}.{}", number / 256, number % 256);
        let lead = world.submit_from(&caller, &body).await.lead();
        names.extend(sent_messages(&world, lead, 1).await);
    }
    for status in ["sent", "failed"] {
        let body = status_updates(&names, status, world.now().as_second()).to_string();
        let signed = sign(&Secret::new(WHATSAPP_APP_SECRET), body.as_bytes());
        let headers = [("x-hub-signature-256", &*signed)];
        let began = Instant::now();
        let response =
            world.send("whatsapp-webhook", Method::POST, &headers, body.as_bytes()).await;
        let took = began.elapsed();
        assert_eq!(response.status, 200);
        let kilobytes = body.len() / 1_000;
        println!("{UPDATES} updates of {UPDATES} people ({status}, {kilobytes} kB): {took:.2?}");
    }
    world.finish().await;
}
