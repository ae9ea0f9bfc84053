//! What an endpoint works with: the site's configuration, its table, the platform and, where the
//! function has one, the doorbell.

use funil_core::delivery::{Delivery, Start};
use funil_core::settings::Settings;
use funil_core::site::{Rings, SiteConfig};
use funil_store::{AwsConfig, DeliveryKey, Platform, Store};

use crate::intake::doorbell::{Doorbell, NAMED_MAX, Ring, Whom};

/// Everything that all endpoints share. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) config: SiteConfig,
    pub(crate) store: Store,
    pub(crate) platform: Platform,
    pub(crate) aws: AwsConfig,
    /// Rings `dispatch` after something was accepted; only intake functions have it.
    pub(crate) doorbell: Option<Doorbell>,
}

impl App {
    /// Reads the configuration and connects. Touches no network.
    pub(crate) fn read(settings: &mut Settings<'_>, platform: &Platform) -> Option<Self> {
        let config = SiteConfig::read(settings);
        let aws = AwsConfig::read(settings);
        let (config, aws) = config.zip(aws)?;
        let store = Store::connect(&aws, &config.table, platform).of_site(&config);
        Some(Self { config, store, platform: platform.clone(), aws, doorbell: None })
    }

    /// The same for an intake function, which rings where `DOORBELL_URL` is set.
    pub(crate) fn read_intake(settings: &mut Settings<'_>, platform: &Platform) -> Option<Self> {
        let app = Self::read(settings, platform);
        let doorbell = Doorbell::read(settings, app.as_ref(), Whom::Dispatch);
        app.map(|app| Self { doorbell, ..app })
    }

    /// Adds what the process counted to the totals of the table, at most once a minute. Somebody
    /// may wait for the response meanwhile, so it is given up soon.
    pub(crate) async fn write_totals(&self, function: &'static str) {
        let now = self.platform.clock.now();
        let write = self.store.write_totals(&self.platform, &self.config.hash_key, now);
        if let Err(error) = write.await {
            tracing::warn!(
                "the totals of {function} were not written, and count with the next ones: {error}"
            );
        }
    }

    /// Rings `dispatch` for these new deliveries, where there is a doorbell, and waits at most 50 ms for
    /// it. A ring that fails only costs time: the schedule finds what is due.
    pub(crate) async fn ring(&self, deliveries: &[Delivery]) {
        let doorbell = self.doorbell.as_ref();
        if self.config.rings != Rings::Http {
            return Doorbell::announce(doorbell, &self.platform, Ring::Due).await;
        }
        let at_once = deliveries.iter().filter(|delivery| delivery.start == Start::AtOnce);
        let keys: Vec<DeliveryKey> = at_once.map(DeliveryKey::from).take(NAMED_MAX).collect();
        Doorbell::announce(doorbell, &self.platform, Ring::Named(&keys)).await;
    }
}
