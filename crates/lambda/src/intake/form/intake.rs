//! What all forms, and the tags of pages, work with: the configuration of intake, who sends a request, and
//! the rate limit of that sender.
//!
//! Must not know what a request holds, nor what becomes of it.

use std::net::{IpAddr, Ipv6Addr};

use funil_core::contact::Email;
use funil_core::hash::{Digest, HashKey};
use funil_core::id::LeadId;
use funil_core::provider::netlify;
use funil_core::settings::Settings;
use funil_core::site::{IntakeConfig, Rate, RateClass};
use funil_store::{Platform, Price, RateLimit, RateVerdict, StoreError};
use jiff::Timestamp;

use super::turnstile::Turnstile;
use crate::app::App;
use crate::http::problem::Problem;
use crate::platform::request::HttpRequest;

/// What all forms work with: the app, and the configuration of intake.
#[derive(Clone)]
pub(crate) struct Intake {
    pub(crate) app: App,
    pub(crate) config: IntakeConfig,
    /// Who checks that a person sends a form.
    pub(super) turnstile: Turnstile,
}

impl Intake {
    /// Reads the configuration of a form's function.
    pub(crate) fn read(settings: &mut Settings<'_>, platform: &Platform) -> Option<Self> {
        let turnstile = Turnstile::read(settings);
        let intake = Self::read_of_tags(settings, platform);
        intake.zip(turnstile).map(|(intake, turnstile)| Self { turnstile, ..intake })
    }

    /// Reads the configuration of a function without a form.
    pub(crate) fn read_of_tags(settings: &mut Settings<'_>, platform: &Platform) -> Option<Self> {
        let app = App::read_intake(settings, platform);
        let config = IntakeConfig::read(settings);
        app.zip(config).map(|(app, config)| Self { app, config, turnstile: Turnstile::Off })
    }

    /// The lead id in the response to a robot, instead of one that is derived from the e-mail: it looks like that one,
    /// and is the same each time.
    pub(crate) fn id_for_robot(&self, lead: LeadId, email: &Email) -> LeadId {
        if !lead.is_derived() {
            return lead;
        }
        LeadId::for_robot(self.hash(), email)
    }

    pub(crate) const fn hash(&self) -> &HashKey {
        &self.app.config.hash_key
    }

    /// Checks the rate limit and, beside it, that the table is ours.
    pub(crate) async fn pass(
        &self,
        function: &'static str,
        class: RateClass,
        caller: &Digest,
        now: Timestamp,
    ) -> Result<(), Problem> {
        let ready = self.app.store.ready(self.hash());
        let rate = self.rate(function, class, caller, Price::Whole, now);
        let (ready, rate) = futures::join!(ready, rate);
        ready?;
        match rate? {
            RateVerdict::Passes => Ok(()),
            RateVerdict::Refused { retry_after_s } => Err(Problem::RateLimited { retry_after_s }),
        }
    }

    /// Counts a request that cannot be read at a tenth of the price: a person corrects what they
    /// typed, and a program that only sends rubbish is stopped all the same. Returns the problem of
    /// the response; without a table it is still the request's own.
    pub(crate) async fn pass_invalid(
        &self,
        function: &'static str,
        class: RateClass,
        caller: &Digest,
        problem: Problem,
        now: Timestamp,
    ) -> Problem {
        match self.rate(function, class, caller, Price::Tenth, now).await {
            Ok(RateVerdict::Passes) => problem,
            Ok(RateVerdict::Refused { retry_after_s }) => Problem::RateLimited { retry_after_s },
            Err(error) => {
                tracing::warn!(
                    function,
                    "an invalid request to {function} could not be counted: {error}"
                );
                problem
            }
        }
    }

    async fn rate(
        &self,
        function: &'static str,
        class: RateClass,
        caller: &Digest,
        price: Price,
        now: Timestamp,
    ) -> Result<RateVerdict, StoreError> {
        let Rate { requests, window_s } = self.config.rates.of(class);
        let limit = RateLimit { requests, window_s };
        let entropy = &*self.app.platform.entropy;
        self.app.store.rate(function, caller, limit, price, now, entropy).await
    }

    /// The caller's address as a digest. Callers whose address the platform does not give share one
    /// limit.
    pub(crate) fn caller(&self, request: &HttpRequest, now: Timestamp) -> Digest {
        let proxied = self.config.client_ip_header.as_ref().and_then(|name| {
            // Proxies append, a line or a value: only the last was written by the site's own proxy.
            let text = request.headers.get_all(name.as_str()).iter().next_back()?.to_str().ok()?;
            text.rsplit(',').next()?.trim().parse().ok()
        });
        let ip: Option<IpAddr> = if self.is_of_signed_rewrite(request, now) {
            let visitor = request.netlify_client_ip();
            if visitor.is_none() {
                tracing::warn!(
                    "a rewrite that Netlify signed names no visitor's address, so the visitors share one \
                     limit"
                );
            }
            visitor.or(request.client_ip)
        } else {
            proxied.or(request.client_ip)
        };
        let ip = ip.map(|ip| ip.to_canonical());
        let ip = ip.map_or_else(|| "unknown".to_owned(), subscriber);
        self.hash().monthly_digest(now, "ip", &ip)
    }

    /// Whether Netlify's rewrite passed the request on, and signed it.
    fn is_of_signed_rewrite(&self, request: &HttpRequest, now: Timestamp) -> bool {
        let secrets = &self.config.rewrite_secrets;
        let signature = request.headers.get(netlify::SIGNATURE_HEADER);
        let Some(signature) = signature.filter(|_| !secrets.is_empty()) else { return false };
        let is_signed =
            signature.to_str().is_ok_and(|token| netlify::is_signed(token, secrets, now));
        if !is_signed {
            tracing::warn!(
                "the signature of a rewrite does not hold, so the address of the one who connected \
                 counts; if it is Netlify's, compare NETLIFY_REWRITE_SECRET on both sides"
            );
        }
        is_signed
    }
}

/// The part of an address that stands for one subscriber: an IPv6 caller has a whole /64 to send
/// from.
fn subscriber(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).to_string()
        }
    }
}
