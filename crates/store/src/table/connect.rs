//! Region, endpoints and credentials of AWS, read from environment variables, and what is signed with
//! them.
//!
//! They are read here because aws-config is not used, and because Netlify reserves the SDK's own names
//! (`docs/design.md`, "Configuration").

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use funil_core::clock::Clock;
use funil_core::settings::{Secret, Settings};
use http::Request;
use url::Url;

use crate::Platform;
use crate::Store;
use crate::table::client::Client;

/// Region, endpoint and credentials of AWS.
#[derive(Clone, Debug)]
pub struct AwsConfig {
    /// `FUNIL_AWS_REGION`, else `AWS_REGION`, else `AWS_DEFAULT_REGION`.
    pub region: String,
    /// `AWS_ENDPOINT_URL_DYNAMODB`, else `AWS_ENDPOINT_URL`, for a local emulator; else DynamoDB's of the
    /// region.
    pub dynamodb: Url,
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
            .into_iter()
            .find_map(|name| Some((name, settings.optional(name)?)));
        // The region is a part of addresses.
        let is_region = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let region = match region {
            Some((_, region)) if is_region(region) => Some(region),
            Some((name, _)) => {
                settings.problem(format!("{name} must be a region such as sa-east-1."))
            }
            None => settings.problem("Set AWS_REGION, or FUNIL_AWS_REGION on Netlify."),
        };
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
            .find(|name| settings.optional(name).is_some())
            .unwrap_or("AWS_ENDPOINT_URL_DYNAMODB");
        // Without a region the address does not matter, for there is no configuration then.
        let default = service_url("dynamodb", region.unwrap_or("us-east-1"));
        let dynamodb = settings.url(endpoint, Some(&default)).and_then(|url| {
            // A host with braces, as of a placeholder that nobody filled in, is a host for one and none for
            // the other.
            let is_uri = url.as_str().parse::<http::Uri>().is_ok();
            if is_uri {
                Some(url)
            } else {
                settings.problem(format!("{endpoint} must be an http or https address."))
            }
        });
        Some(Self {
            region: region?.to_owned(),
            dynamodb: dynamodb?,
            access_key_id: access_key_id?.to_owned(),
            secret_access_key: Secret::new(secret_access_key?),
            session_token: session_token.map(Secret::new),
        })
    }

    /// Signs a request with Signature Version 4, at the time of `clock`. Returns `None` for a request that
    /// cannot be signed, because it names no host or a header of it is no text.
    pub fn sign(
        &self,
        service: &str,
        request: &mut Request<Bytes>,
        clock: &dyn Clock,
    ) -> Option<()> {
        let token = self.session_token.as_ref().map(|token| token.expose().to_owned());
        let secret = self.secret_access_key.expose();
        let identity =
            Credentials::new(&self.access_key_id, secret, token, None, "environment").into();
        let at_ms = u64::try_from(clock.now().as_millisecond()).ok()?;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(service)
            .time(SystemTime::UNIX_EPOCH + Duration::from_millis(at_ms))
            .settings(SigningSettings::default())
            .build()
            .ok()?
            .into();
        request.uri().authority()?;
        let uri = request.uri().to_string();
        let headers: Option<Vec<(&str, &str)>> = request
            .headers()
            .iter()
            .map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
            .collect();
        let body = SignableBody::Bytes(request.body());
        let method = request.method().as_str();
        let signable = SignableRequest::new(method, uri, headers?.into_iter(), body).ok()?;
        let (instructions, _) = sign(signable, &params).ok()?.into_parts();
        instructions.apply_to_request_http1x(request);
        Some(())
    }
}

/// The address of a service of AWS in a region
/// (<https://docs.aws.amazon.com/general/latest/gr/rande.html>).
pub fn service_url(service: &str, region: &str) -> String {
    let domain = match region.split('-').next() {
        Some("cn") => "amazonaws.com.cn",
        Some("eusc") => "amazonaws.eu",
        Some(_) | None => "amazonaws.com",
    };
    format!("https://{service}.{region}.{domain}")
}

impl Store {
    /// A store on `table`. Opens no connection yet.
    pub fn connect(aws: &AwsConfig, table: &str, platform: &Platform) -> Self {
        Self::new(Client::new(aws.clone(), platform), table.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use funil_core::settings::Env;

    use super::*;

    #[test]
    fn each_partition_has_its_domain() {
        for (region, url) in [
            ("sa-east-1", "https://dynamodb.sa-east-1.amazonaws.com"),
            ("us-gov-west-1", "https://dynamodb.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "https://dynamodb.cn-north-1.amazonaws.com.cn"),
            ("eusc-de-east-1", "https://dynamodb.eusc-de-east-1.amazonaws.eu"),
        ] {
            assert_eq!(service_url("dynamodb", region), url);
        }
    }

    #[test]
    fn a_region_and_an_address_that_name_no_host_are_problems_of_their_own_variables() {
        for (name, value) in [
            ("AWS_REGION", "{region}"),
            ("AWS_REGION", "sa east 1"),
            ("AWS_ENDPOINT_URL_DYNAMODB", "http://{host}:8000"),
            ("AWS_ENDPOINT_URL", "http://{host}:8000"),
        ] {
            let mut variables: std::collections::BTreeMap<&str, &str> = [
                ("AWS_REGION", "sa-east-1"),
                ("AWS_ACCESS_KEY_ID", "key"),
                ("AWS_SECRET_ACCESS_KEY", "secret"),
            ]
            .into();
            variables.insert(name, value);
            let env: Env = variables
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            let mut settings = env.settings();
            let read = AwsConfig::read(&mut settings);
            let error = settings.finish(read).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
