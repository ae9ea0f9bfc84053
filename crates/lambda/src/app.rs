//! What an endpoint works with: the site's configuration, its table, the platform and, where the
//! function has one, the doorbell.

use funil_core::settings::Settings;
use funil_core::site::SiteConfig;
use funil_store::{AwsConfig, Platform, Store};

use crate::intake::doorbell::{Doorbell, Rings};

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
        let store = Store::connect(&aws, &config.table, platform);
        Some(Self { config, store, platform: platform.clone(), aws, doorbell: None })
    }

    /// The same for an intake function, which rings where `DOORBELL_URL` is set.
    pub(crate) fn read_intake(settings: &mut Settings<'_>, platform: &Platform) -> Option<Self> {
        let app = Self::read(settings, platform);
        let doorbell = Doorbell::read(settings, app.as_ref(), Rings::Dispatch);
        app.map(|app| Self { doorbell, ..app })
    }

    /// Rings `dispatch`, where there is a doorbell, and waits at most 50 ms for it. A ring that
    /// fails only costs time: the schedule finds what is due.
    pub(crate) async fn ring(&self) {
        Doorbell::announce(self.doorbell.as_ref(), &self.platform).await;
    }
}
