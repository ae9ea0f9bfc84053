//! How a world is to be made: the variables of its functions, and how long they wait.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use funil_core::clock::Clock;
use funil_core::destination::{self, mailerlite};
use funil_core::hash::HashKey;
use funil_core::settings::{DEV_SECRET_PREFIX, Env};
use funil_dev::simulated::Providers;
use funil_store::{AwsConfig, Platform, Store, Stream};

use super::{
    AWS_SECRET, CALENDLY_KEY, CountedEntropy, DESTINATIONS, Deployment, HASH_KEY, ManualClock,
    SERVICE_TOKEN, TABLES, WHATSAPP_APP_SECRET, World, emulator,
};

/// How a world is to be made.
#[must_use]
pub struct Plan {
    pub(super) variables: BTreeMap<String, Option<String>>,
    pub(super) provider_urls: Vec<(String, String)>,
    pub(super) request_timeout: Duration,
}

impl Plan {
    /// With a variable of the environment.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), Some(value.to_owned()));
        self
    }

    /// Without a variable of the environment.
    pub fn without(mut self, name: &str) -> Self {
        self.variables.insert(name.to_owned(), None);
        self
    }

    /// With a short wait for providers that do not respond.
    pub const fn impatient(mut self) -> Self {
        self.request_timeout = Duration::from_millis(300);
        self
    }

    /// With a variable that has the address of a simulated provider of this world.
    pub fn with_provider_url(mut self, name: &str, provider: &str) -> Self {
        self.provider_urls.push((name.to_owned(), provider.to_owned()));
        self
    }

    /// Makes the world.
    pub async fn start(self) -> World {
        let clock = Arc::new(ManualClock::new());
        let time = Arc::clone(&clock);
        let providers = Providers::new(Arc::new(move || time.now().to_string()));
        let address = providers.serve().await.unwrap();
        providers.make_fields(mailerlite::FIELDS);
        let table = format!("funil-{}", TABLES.fetch_add(1, Ordering::Relaxed));
        let mut variables = environment(&table, &emulator().await, address);
        for (name, value) in self.variables {
            match value {
                Some(value) => drop(variables.insert(name, value)),
                None => drop(variables.remove(&name)),
            }
        }
        for (name, provider) in self.provider_urls {
            variables.insert(name, Providers::base_url(address, &provider));
        }
        let env: Env = variables.clone().into_iter().collect();
        let time: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let mut platform = Platform::new(time, Arc::new(CountedEntropy::of_next_world()));
        // The clock stands still while a test runs, so that only this ends the tries.
        platform.table_patience.settlement = Duration::from_millis(600);
        // A machine that is busy changes no count.
        platform.table_patience.totals = Duration::from_secs(20);
        let mut settings = env.settings();
        let aws = AwsConfig::read(&mut settings).unwrap();
        let store = Store::connect(&aws, &table, &platform);
        let hash = HashKey::new(HASH_KEY).unwrap();
        store.create_table(&hash, Stream::Off).await.unwrap();
        let mut world = World {
            providers,
            clock,
            store,
            hash,
            variables,
            platform,
            request_timeout: self.request_timeout,
            deployment: Deployment { functions: Vec::new(), clock: Arc::new(ManualClock::new()) },
            workers: Vec::new(),
            expected: Mutex::default(),
            finished: false,
        };
        world.deployment = world.deployment(&[]);
        world.workers = destination::ALL.iter().map(|one| world.worker(one.name)).collect();
        world
    }
}

/// A value of the dev server's that production takes: its secrets are public.
pub fn of_our_own(value: &str) -> String {
    match value.strip_prefix(DEV_SECRET_PREFIX) {
        Some(rest) => format!("tests-{rest}"),
        None => value.to_owned(),
    }
}

/// The variables of every function, complete.
///
/// Each destination has the address of its simulated provider and its local variables. Below are the
/// site's own variables, and values for destinations that tests compare with.
pub(crate) fn environment(
    table: &str,
    emulator: &str,
    providers: SocketAddr,
) -> BTreeMap<String, String> {
    let base = |name| Providers::base_url(providers, name);
    let destinations = destination::ALL.iter().flat_map(|one| {
        let local = one.local_variables().map(|(name, value)| (name, of_our_own(value)));
        let others = one.other_base_urls.iter();
        let others =
            others.map(move |(name, path)| (*name, format!("{}{path}", base(one.provider))));
        local.chain([(one.base_url_variable, base(one.provider))]).chain(others)
    });
    let own = [
        ("TABLE_NAME", table.to_owned()),
        ("DESTINATIONS", DESTINATIONS.to_owned()),
        ("SITE_URL", "https://www.example.com".to_owned()),
        ("CORS_ORIGINS", "https://www.example.com".to_owned()),
        ("SERVICE_TOKEN", SERVICE_TOKEN.to_owned()),
        ("HASH_KEY", HASH_KEY.to_owned()),
        ("AWS_REGION", "sa-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", AWS_SECRET.to_owned()),
        ("AWS_ENDPOINT_URL_DYNAMODB", emulator.to_owned()),
        ("DOORBELL_URL", "http://127.0.0.1:9".to_owned()),
        ("CALENDLY_SIGNING_KEY", CALENDLY_KEY.to_owned()),
        ("CRM_API_KEY", "crm-key".to_owned()),
        ("MAILERLITE_API_KEY", "mailerlite-key".to_owned()),
        ("GA4_MEASUREMENT_ID", "G-TEST".to_owned()),
        ("GA4_API_SECRET", "ga4-secret".to_owned()),
        ("SEGMENT_WRITE_KEY", "segment-key".to_owned()),
        ("META_PIXEL_ID", "123".to_owned()),
        ("META_ACCESS_TOKEN", "meta-token".to_owned()),
        ("WHATSAPP_ACCESS_TOKEN", "whatsapp-token".to_owned()),
        ("WHATSAPP_PHONE_NUMBER_ID", "106540352242922".to_owned()),
        ("WHATSAPP_APP_SECRET", WHATSAPP_APP_SECRET.to_owned()),
        ("WHATSAPP_VERIFY_TOKEN", "whatsapp-verify-token".to_owned()),
    ];
    let intake = funil_lambda::functions::intake().flat_map(|one| one.variables);
    let intake = intake.map(|(name, value)| (*name, of_our_own(value)));
    // A later value replaces an earlier one.
    destinations.chain(intake).chain(own).map(|(name, value)| (name.to_owned(), value)).collect()
}
