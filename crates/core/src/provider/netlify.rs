//! Netlify's signed rewrites: whether a request came through the site's own rewrite, which names the
//! visitor's address.
//!
//! A rewrite with `signed` in `netlify.toml` adds a JSON Web Signature (RFC 7515) to each request, made
//! with a secret that Netlify and the functions share
//! (<https://docs.netlify.com/manage/routing/redirects/rewrites-proxies/#signed-proxy-redirects>; the
//! claims as in <https://github.com/netlify/cli>, `src/utils/sign-redirect.ts`). The signature covers no
//! part of the request, so it only says who passed it on. This module must not know what the address is
//! used for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::signature;
use crate::settings::Secret;

/// The header with the signature.
pub const SIGNATURE_HEADER: &str = "x-nf-sign";
/// The header in which Netlify's edge names the address that connected to it. It is the only such
/// header that Netlify itself writes: a client may put any list into `x-forwarded-for`.
pub const CLIENT_ADDRESS_HEADER: &str = "x-nf-client-connection-ip";

/// How long after its end a signature still counts, in seconds, because clocks differ.
const TOLERANCE_S: i64 = 60;
/// For how long the signature of [`sign`] holds, in seconds.
const HOLDS_S: i64 = 60;
/// No signature of Netlify is longer, in bytes.
const TOKEN_BYTES_MAX: usize = 4096;

/// The only algorithm that counts.
const ALGORITHM: &str = "HS256";
/// The issuer that Netlify names.
const ISSUER: &str = "netlify";

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    exp: i64,
}

/// Whether Netlify signed a request with one of the secrets, and the signature still holds.
pub fn is_signed(token: &str, secrets: &[Secret], now: Timestamp) -> bool {
    claims(token, secrets).is_some_and(|claims| {
        claims.iss == ISSUER && now.as_second() <= claims.exp.saturating_add(TOLERANCE_S)
    })
}

/// The claims of a token that is signed with one of the secrets.
fn claims(token: &str, secrets: &[Secret]) -> Option<Claims> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let (signed, given) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let given = hex::encode(URL_SAFE_NO_PAD.decode(given).ok()?);
    if !signature::is_signed(secrets, &[signed.as_bytes()], &given) {
        return None;
    }
    let header: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
    let claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    (header.alg == ALGORITHM).then_some(claims)
}

/// The value of the header that Netlify would send. Used for tests.
pub fn sign(secret: &Secret, now: Timestamp) -> String {
    let claims = json!({
        "deploy_context": "production",
        "netlify_id": "9a4b8c1e-0000-4000-8000-000000000000",
        "site_url": "https://www.example.com",
        "iss": ISSUER,
        "exp": now.as_second() + HOLDS_S,
    });
    token(secret, &json!({"alg": ALGORITHM, "typ": "JWT"}), &claims)
}

fn token(secret: &Secret, header: &serde_json::Value, claims: &serde_json::Value) -> String {
    let encoded = |part: &serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encoded(header), encoded(claims));
    let mac = signature::mac(secret, &[signed.as_bytes()]);
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature::bytes(mac)))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-29T12:00:00Z".parse().unwrap()
    }

    fn secrets() -> [Secret; 2] {
        ["the-new-secret-of-the-rewrite", "the-old-secret-of-the-rewrite"].map(Secret::new)
    }

    #[test]
    fn a_signature_of_either_secret_holds_for_its_time() {
        for secret in &secrets() {
            let token = sign(secret, now());
            let holds =
                |seconds| is_signed(&token, &secrets(), crate::clock::after(now(), seconds));
            assert!(holds(0) && holds(HOLDS_S + TOLERANCE_S));
            assert!(!holds(HOLDS_S + TOLERANCE_S + 1));
        }
        assert!(!is_signed(
            &sign(&Secret::new("somebody-else's-secret"), now()),
            &secrets(),
            now()
        ));
        assert!(!is_signed(&sign(&secrets()[0], now()), &[], now()));
    }

    /// Made with the npm package `jsonwebtoken`, which Netlify's command line signs with:
    /// `jwt.sign({deploy_context: "dev", netlify_id: "id", site_url: "https://www.example.com"},
    /// "the-secret-of-a-signed-rewrite", {expiresIn: "5 minutes", issuer: "netlify"})`.
    #[test]
    fn a_token_of_netlifys_own_library_is_read() {
        let token = concat!(
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJkZXBsb3lfY29udGV4dCI6ImRldiIsIm5ldGxpZnlfaWQi",
            "OiJpZCIsInNpdGVfdXJsIjoiaHR0cHM6Ly93d3cuZXhhbXBsZS5jb20iLCJpYXQiOjE3OTU5ODA2OTcsImV4cCI6",
            "MTc5NTk4MDk5NywiaXNzIjoibmV0bGlmeSJ9.3rkj6-vXsbTxFm1PLDj-xMWFjbQW9M2bQk0I4pUAsmc",
        );
        let secret = [Secret::new("the-secret-of-a-signed-rewrite")];
        let claims = claims(token, &secret).unwrap();
        let signed_at = Timestamp::from_second(claims.exp - 300).unwrap();
        assert!(is_signed(token, &secret, signed_at));
        assert!(!is_signed(token, &secret, crate::clock::after(signed_at, 361)));
    }

    #[test]
    fn what_is_not_netlifys_does_not_count() {
        let secret = &secrets()[0];
        let (header, exp) = (json!({"alg": "HS256"}), now().as_second() + 60);
        let good = json!({"iss": "netlify", "exp": exp});
        let check = |token: &str| is_signed(token, &secrets(), now());
        assert!(check(&token(secret, &header, &good)));
        let bad: [(Value, Value); 6] = [
            (json!({"alg": "none"}), good.clone()),
            (json!({"alg": "HS512"}), good.clone()),
            (json!({}), good.clone()),
            (header.clone(), json!({"iss": "somebody", "exp": exp})),
            (header.clone(), json!({"iss": "netlify"})),
            (header.clone(), json!({"iss": "netlify", "exp": exp.to_string()})),
        ];
        for (header, claims) in bad {
            assert!(!check(&token(secret, &header, &claims)), "{header} {claims}");
        }
        let unsigned = token(secret, &header, &good);
        let (signed, _) = unsigned.rsplit_once('.').unwrap();
        for text in ["", ".", "..", "a.b.c", signed, &format!("{signed}."), &"a.".repeat(4096)] {
            assert!(!check(text), "{text}");
        }
    }
}
