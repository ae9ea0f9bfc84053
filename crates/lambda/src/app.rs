//! What an endpoint works with: the site's configuration, its table and the shell.

use funil_core::settings::Settings;
use funil_core::site::SiteConfig;
use funil_store::{AwsConfig, Platform, Store};

/// Everything that all endpoints share.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) config: SiteConfig,
    pub(crate) store: Store,
    pub(crate) platform: Platform,
    pub(crate) aws: AwsConfig,
}

impl Site {
    /// Reads the configuration and connects. Touches no network.
    pub(crate) fn read(settings: &mut Settings<'_>, platform: &Platform) -> Option<Self> {
        let config = SiteConfig::read(settings);
        let aws = AwsConfig::read(settings);
        let (config, aws) = config.zip(aws)?;
        let store = Store::connect(&aws, &config.table, platform);
        Some(Self { config, store, platform: platform.clone(), aws })
    }
}
