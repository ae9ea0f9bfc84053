//! Checks a request as AWS does: computes its signature anew from what was received.
//!
//! Signature Version 4, by
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>. Must not use
//! what signs the requests.

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, Method};
use sha2::{Digest as _, Sha256};

use crate::world::AWS_SECRET;

/// Asserts that a request without a query was signed with [`AWS_SECRET`] for this service, with its host and all
/// of AWS's headers.
pub fn assert_signed(method: &Method, path: &str, headers: &HeaderMap, body: &[u8], service: &str) {
    let authorization = headers["authorization"].to_str().unwrap();
    let rest = authorization.strip_prefix("AWS4-HMAC-SHA256 Credential=").unwrap();
    let [credential, names, signature] = rest.split(", ").collect::<Vec<_>>()[..] else {
        panic!("{authorization}");
    };
    let names = names.strip_prefix("SignedHeaders=").unwrap();
    let scope = credential.split_once('/').unwrap().1;
    let at = headers["x-amz-date"].to_str().unwrap();
    assert_eq!(scope, format!("{}/sa-east-1/{service}/aws4_request", &at[..8]));
    let of_aws = headers.keys().map(HeaderName::as_str);
    for name in of_aws.filter(|name| *name == "host" || name.starts_with("x-amz-")) {
        assert!(names.split(';').any(|one| one == name), "{name}");
    }
    let signed: Vec<String> = names
        .split(';')
        .map(|name| format!("{name}:{}", headers[name].to_str().unwrap().trim()))
        .collect();
    let (signed, digest) = (signed.join("\n"), hex::encode(Sha256::digest(body)));
    let canonical = format!("{method}\n{path}\n\n{signed}\n\n{names}\n{digest}");
    let hashed = hex::encode(Sha256::digest(canonical));
    let to_sign = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashed}");
    let key = scope
        .split('/')
        .fold(format!("AWS4{AWS_SECRET}").into_bytes(), |key, part| mac(&key, part));
    assert_eq!(signature.strip_prefix("Signature="), Some(&*hex::encode(mac(&key, &to_sign))));
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}
