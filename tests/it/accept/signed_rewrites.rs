//! Forms that Netlify's signed rewrite passes on: whose address counts for the limit of one address.

use funil_core::clock::after;
use funil_core::provider::netlify;
use funil_core::settings::Secret;

use super::refusals::somebody;
use crate::world::World;

/// The visitors' forms come from one address, Netlify's, which signs each and names its visitor.
#[tokio::test]
async fn a_minute_of_visitors_comes_through_a_signed_rewrite() {
    let secret = "the-secret-of-a-signed-rewrite";
    let world = World::plan()
        .with("DESTINATIONS", "none")
        .with("NETLIFY_REWRITE_SECRET", &format!("the-secret-before-it,{secret}"))
        .start()
        .await;
    let signed = netlify::sign(&Secret::new(secret), world.now());
    for number in 0..200 {
        let visitor = format!("198.51.100.{number}");
        let headers =
            [(netlify::SIGNATURE_HEADER, &*signed), (netlify::CLIENT_ADDRESS_HEADER, &visitor)];
        assert_eq!(world.submit_with(&headers, &somebody(number)).await.status, 200, "{number}");
    }
    // One visitor has the limit of one address there too.
    let headers =
        [(netlify::SIGNATURE_HEADER, &*signed), (netlify::CLIENT_ADDRESS_HEADER, "198.51.100.7")];
    let mut statuses = Vec::new();
    for number in 200..210 {
        statuses.push(world.submit_with(&headers, &somebody(number)).await.status);
    }
    assert_eq!(statuses, [&[200; 9][..], &[429]].concat());
    world.finish().await;
}

#[tokio::test]
async fn nobody_but_netlify_names_a_visitors_address() {
    let secret = Secret::new("the-secret-of-a-signed-rewrite");
    let plan = || World::plan().with("DESTINATIONS", "none").with("RATE_LEAD_FORMS", "3/60");
    let world = plan().with("NETLIFY_REWRITE_SECRET", secret.expose()).start().await;
    let old = netlify::sign(&secret, after(world.now(), -600));
    let of_another = netlify::sign(&Secret::new("the-secret-of-somebody-else"), world.now());
    let good = netlify::sign(&secret, world.now());
    let visitor = netlify::CLIENT_ADDRESS_HEADER;
    let lies: [Vec<(&str, &str)>; 4] = [
        vec![(visitor, "198.51.100.1")],
        vec![(visitor, "198.51.100.2"), (netlify::SIGNATURE_HEADER, &old)],
        vec![(visitor, "198.51.100.3"), (netlify::SIGNATURE_HEADER, &of_another)],
        // The edge writes one address; a second one came from somebody else.
        vec![
            (visitor, "198.51.100.4"),
            (visitor, "198.51.100.5"),
            (netlify::SIGNATURE_HEADER, &good),
        ],
    ];
    let mut statuses = Vec::new();
    for (number, headers) in lies.iter().enumerate() {
        statuses.push(world.submit_with(headers, &somebody(number)).await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
    world.finish().await;
    // Where no secret is shared, no signature counts.
    let world = plan().start().await;
    let mut statuses = Vec::new();
    for number in 0..4 {
        let address = format!("198.51.100.{number}");
        let headers = [(visitor, &*address), (netlify::SIGNATURE_HEADER, &good)];
        statuses.push(world.submit_with(&headers, &somebody(number)).await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
    world.finish().await;
}
