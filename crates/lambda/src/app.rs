//! What an endpoint works with: the site's configuration, its table and the shell.

use funil_core::settings::Settings;
use funil_core::site::SiteConfig;
use funil_store::{AwsConfig, Shell, Store};

/// Everything that all endpoints share.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) config: SiteConfig,
    pub(crate) store: Store,
    pub(crate) shell: Shell,
    pub(crate) aws: AwsConfig,
}

impl Site {
    /// Reads the configuration and connects. Touches no network.
    pub(crate) fn read(settings: &mut Settings<'_>, shell: &Shell) -> Option<Self> {
        let config = SiteConfig::read(settings);
        let aws = AwsConfig::read(settings);
        let (config, aws) = config.zip(aws)?;
        let store = Store::connect(&aws, &config.table, shell);
        Some(Self { config, store, shell: shell.clone(), aws })
    }
}
