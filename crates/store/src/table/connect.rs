//! Region, endpoint and credentials of the table, read from environment variables.
//!
//! They are read here because the SDK is used without aws-config, and because Netlify reserves the
//! SDK's own names (`docs/design.md`, "Configuration").

use std::sync::OnceLock;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::endpoint::{
    DefaultResolver, Endpoint, EndpointFuture, Params, ResolveEndpoint,
};
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region, StalledStreamProtectionConfig};
use funil_core::settings::{Secret, Settings};
use url::Url;

use crate::Platform;
use crate::Store;
use crate::table::http::SdkClient;

/// Region, endpoint and credentials of AWS.
#[derive(Clone, Debug)]
pub struct AwsConfig {
    /// `FUNIL_AWS_REGION`, else `AWS_REGION`, else `AWS_DEFAULT_REGION`.
    pub region: String,
    /// `AWS_ENDPOINT_URL_DYNAMODB`, else `AWS_ENDPOINT_URL`: for a local emulator.
    pub dynamodb_endpoint: Option<Url>,
    /// `FUNIL_AWS_ACCESS_KEY_ID`, else `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `FUNIL_AWS_SECRET_ACCESS_KEY`, else `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: Secret,
    /// `FUNIL_AWS_SESSION_TOKEN`, else `AWS_SESSION_TOKEN`: always of the same set as the key.
    pub session_token: Option<Secret>,
}

impl AwsConfig {
    /// Reads the variables. What is missing is noted in `settings`, and the result is `None`.
    pub fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let region = ["FUNIL_AWS_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"]
            .iter()
            .find_map(|name| settings.optional(name));
        if region.is_none() {
            settings.problem::<()>("Set AWS_REGION, or FUNIL_AWS_REGION on Netlify.");
        }
        // Keys and token must be of one set: our key with Netlify's own token would be refused.
        let prefix =
            if settings.optional("FUNIL_AWS_ACCESS_KEY_ID").is_some() { "FUNIL_" } else { "" };
        let variable = |name: &str| settings.optional(&format!("{prefix}{name}"));
        let access_key_id = variable("AWS_ACCESS_KEY_ID");
        let secret_access_key = variable("AWS_SECRET_ACCESS_KEY");
        let session_token = variable("AWS_SESSION_TOKEN");
        if access_key_id.is_none() || secret_access_key.is_none() {
            settings.problem::<()>(
                "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
                 or FUNIL_AWS_ACCESS_KEY_ID and FUNIL_AWS_SECRET_ACCESS_KEY on Netlify.",
            );
        }
        let endpoint = ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"]
            .into_iter()
            .find(|name| settings.optional(name).is_some());
        let dynamodb_endpoint = match endpoint {
            Some(name) => Some(settings.url(name, None)?),
            None => None,
        };
        Some(Self {
            region: region?.to_owned(),
            dynamodb_endpoint,
            access_key_id: access_key_id?.to_owned(),
            secret_access_key: Secret::new(secret_access_key?),
            session_token: session_token.map(Secret::new),
        })
    }

    /// The credentials in the SDK's type.
    pub fn credentials(&self) -> Credentials {
        Credentials::new(
            &self.access_key_id,
            self.secret_access_key.expose(),
            self.session_token.as_ref().map(|token| token.expose().to_owned()),
            None,
            "environment",
        )
    }
}

/// Resolves the table's address by the SDK's rules once. They are the same for every request of a
/// process, and cost a twentieth of the CPU that a request takes.
#[derive(Debug, Default)]
struct ResolvedOnce {
    rules: DefaultResolver,
    resolved: OnceLock<Endpoint>,
}

impl ResolveEndpoint for ResolvedOnce {
    fn resolve_endpoint<'a>(&'a self, params: &'a Params) -> EndpointFuture<'a> {
        if let Some(endpoint) = self.resolved.get() {
            return EndpointFuture::ready(Ok(endpoint.clone()));
        }
        let by_rules = ResolveEndpoint::resolve_endpoint(&self.rules, params);
        EndpointFuture::new(async move {
            let endpoint = by_rules.await?;
            Ok(self.resolved.get_or_init(|| endpoint).clone())
        })
    }
}

impl Store {
    /// A store on `table`. Opens no connection yet.
    pub fn connect(aws: &AwsConfig, table: &str, platform: &Platform) -> Self {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(platform.table_patience.attempt)
            .operation_timeout(platform.table_patience.operation)
            .build();
        let retries = RetryConfig::standard()
            .with_max_attempts(3)
            .with_initial_backoff(Duration::from_millis(50))
            .with_max_backoff(Duration::from_millis(400));
        let mut config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(aws.region.clone()))
            .credentials_provider(aws.credentials())
            .retry_config(retries)
            .timeout_config(timeouts)
            // Every request has a time limit, so a stream that stalls needs no watch of its own.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .endpoint_resolver(ResolvedOnce::default())
            .http_client(SdkClient(platform.http.clone()));
        if let Some(endpoint) = &aws.dynamodb_endpoint {
            config = config.endpoint_url(endpoint.as_str().trim_end_matches('/'));
        }
        let client = aws_sdk_dynamodb::Client::from_conf(config.build());
        Self::new(client, table.to_owned())
    }
}
