//! What a world is to be, before it is: its variables, and how patient it is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use funil_core::clock::Clock;
use funil_core::hash::HashKey;
use funil_core::settings::Env;
use funil_dev::simulated::Providers;
use funil_store::{AwsConfig, Platform, Store, Stream};

use super::{
    CALENDLY_KEY, CountedEntropy, Deployment, HASH_KEY, ManualClock, PROVIDERS, SERVICE_TOKEN,
    TABLES, WHATSAPP_APP_SECRET, World, emulator,
};

/// What a world is to be, before it is.
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

    /// With less patience for providers that do not answer.
    pub const fn impatient(mut self) -> Self {
        self.request_timeout = Duration::from_millis(300);
        self
    }

    /// With a variable that points to a provider of this world.
    pub fn with_provider_url(mut self, name: &str, provider: &str) -> Self {
        self.provider_urls.push((name.to_owned(), provider.to_owned()));
        self
    }

    /// Makes it.
    pub async fn start(self) -> World {
        let clock = Arc::new(ManualClock::new());
        let telling = Arc::clone(&clock);
        let providers = Providers::new(Arc::new(move || telling.now().to_string()));
        let address = providers.serve().await.unwrap();
        providers.make_fields([
            "call_date",
            "call_status",
            "lead_id",
            "amanda_score",
            "business_type",
            "traffic_source",
            "signup_date",
            "stage",
            "questionnaire_url",
            "questionnaire_deadline",
            "questionnaire_completed",
            "transformation_score",
            "booking_url",
        ]);
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
        let telling: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let platform = Platform::new(telling, Arc::new(CountedEntropy::default()));
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
        world.workers = PROVIDERS.map(|name| world.worker(name)).into();
        world
    }
}

/// A complete environment.
pub(crate) fn environment(
    table: &str,
    emulator: &str,
    providers: SocketAddr,
) -> BTreeMap<String, String> {
    let base = |name| Providers::base_url(providers, name);
    [
        ("TABLE_NAME", table.to_owned()),
        ("DESTINATIONS", "crm,mailerlite,ga4,segment".to_owned()),
        ("SITE_URL", "https://www.example.com".to_owned()),
        ("CORS_ORIGINS", "https://www.example.com".to_owned()),
        ("SERVICE_TOKEN", SERVICE_TOKEN.to_owned()),
        ("HASH_KEY", HASH_KEY.to_owned()),
        ("AWS_REGION", "sa-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
        ("AWS_ENDPOINT_URL_DYNAMODB", emulator.to_owned()),
        ("DOORBELL_URL", "http://127.0.0.1:9".to_owned()),
        ("CALENDLY_SIGNING_KEY", CALENDLY_KEY.to_owned()),
        ("CRM_BASE_URL", base("crm")),
        ("CRM_API_KEY", "crm-key".to_owned()),
        ("MAILERLITE_BASE_URL", base("mailerlite")),
        ("MAILERLITE_API_KEY", "mailerlite-key".to_owned()),
        ("MAILERLITE_GROUPS", r#"{"questionnaire":"101","marketing":"102"}"#.to_owned()),
        ("GA4_BASE_URL", base("ga4")),
        ("GA4_MEASUREMENT_ID", "G-TEST".to_owned()),
        ("GA4_API_SECRET", "ga4-secret".to_owned()),
        ("SEGMENT_BASE_URL", base("segment")),
        ("SEGMENT_WRITE_KEY", "segment-key".to_owned()),
        ("META_BASE_URL", base("meta")),
        ("META_PIXEL_ID", "123".to_owned()),
        ("META_ACCESS_TOKEN", "meta-token".to_owned()),
        ("WHATSAPP_BASE_URL", base("whatsapp")),
        ("WHATSAPP_ACCESS_TOKEN", "whatsapp-token".to_owned()),
        ("WHATSAPP_PHONE_NUMBER_ID", "106540352242922".to_owned()),
        ("WHATSAPP_APP_SECRET", WHATSAPP_APP_SECRET.to_owned()),
        ("WHATSAPP_VERIFY_TOKEN", "whatsapp-verify-token".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}
