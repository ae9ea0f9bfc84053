//! What stands around the functions: the doorbell, and the providers with the time that they take.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Request};
use axum::middleware::{Next, from_fn};
use axum::routing::post;
use funil_core::destination;
use funil_dev::server::front_door;
use funil_dev::simulated::Providers;
use funil_tests::world::{ManualClock, World};
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::TAIL;

/// How long a provider usually takes for a response.
pub(crate) const USUAL: Duration = Duration::from_millis(50);
/// How long it takes for those of its tail.
pub(crate) const SLOW: Duration = Duration::from_secs(9);
/// One request in so many is one of the tail.
pub(crate) const SLOW_ONE_IN: usize = 100;

/// A doorbell that responds at once and passes each ring on.
pub(crate) async fn doorbell() -> (String, mpsc::UnboundedReceiver<(String, Value)>) {
    let (heard, rings) = mpsc::unbounded_channel();
    let ring = move |Path(function): Path<String>, headers: HeaderMap, body: Bytes| {
        let heard = heard.clone();
        async move {
            let path = format!("/{function}");
            let caller = Ipv4Addr::LOCALHOST.into();
            let event = front_door::event(&Method::POST, &path, "", &headers, &body, caller);
            drop(heard.send((function, event)));
            StatusCode::ACCEPTED
        }
    };
    let address = serve(Router::new().route("/{function}", post(ring))).await;
    (format!("http://{address}"), rings)
}

/// Sets the clock of the world's providers to the time that the functions have.
pub(crate) async fn keep_time(clock: Arc<ManualClock>) {
    loop {
        clock.set(funil_lambda::platform().clock.now());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The world's providers with the time that they take; returns the variables of their addresses.
pub(crate) async fn providers(world: &World) -> Vec<(&'static str, String)> {
    let received = Arc::new(AtomicUsize::new(0));
    let takes = move |request: Request, next: Next| {
        let received = Arc::clone(&received);
        async move {
            let is_of_tail = request.uri().path().starts_with(&format!("/{TAIL}/"));
            let is_slow =
                is_of_tail && received.fetch_add(1, Ordering::Relaxed) % SLOW_ONE_IN == 50;
            tokio::time::sleep(if is_slow { SLOW } else { USUAL }).await;
            next.run(request).await
        }
    };
    let address = serve(world.providers.router().layer(from_fn(takes))).await;
    let base = |name| Providers::base_url(address, name);
    destination::ALL.iter().map(|one| (one.base_url_variable, base(one.provider))).collect()
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}
