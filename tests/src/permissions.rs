//! The permissions of the functions on the table, as `template.yaml` gives them, and a front of the
//! emulator that refuses what a function may not do, as IAM does.
//!
//! In a test each function signs with its own name as access key, so every test of the whole shows
//! whether the template suffices. Everybody else, like the test itself, may do anything. With
//! `FUNIL_PERMISSIONS_USED` in the environment each permission that was used is written to that file,
//! and `.ci/run` finds those that nobody needs. It must not know what a function is for.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::sync::{Arc, LazyLock, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::template::{Template, text};
use crate::world::client;

/// One thing that a function does with the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// The function.
    pub function: String,
    /// The action, without `dynamodb:`.
    pub action: String,
    /// The index that is read; the table itself without.
    pub index: Option<String>,
    /// How the partition key begins, up to its first `#`.
    pub key: String,
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { function, action, index, key } = self;
        write!(f, "{function} {action} {} {key}", index.as_deref().unwrap_or("table"))
    }
}

/// What all functions may do with the table.
#[derive(Debug)]
pub struct Permissions(BTreeSet<Permission>);

impl Permissions {
    /// Reads the roles of `template.yaml`.
    pub fn read() -> Self {
        let template = Template::read();
        let mut all = BTreeSet::new();
        for function in template.functions() {
            for statement in function.statements {
                all.extend(of_statement(&function.name, &statement));
            }
        }
        Self(all)
    }

    /// What a role permits that none of these lines of `FUNIL_PERMISSIONS_USED` needs: an action or a key
    /// of a function, and of all others of its kind. `kind` names what has the same statements.
    pub fn unneeded(&self, used: &str, kind: impl Fn(&str) -> String) -> BTreeSet<String> {
        let parts = |line: &str| {
            let [function, action, index, key] =
                line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let kind = kind(function);
            [format!("{kind} {action} {index}"), format!("{kind} {index} {key}")]
        };
        let used: BTreeSet<String> = used.lines().flat_map(parts).collect();
        let permitted = self.0.iter().flat_map(|one| parts(&one.to_string()));
        permitted.filter(|part| !used.contains(part)).collect()
    }

    /// The permissions that were used while the tests ran, which `FUNIL_PERMISSIONS_USED` names the file of.
    pub fn used() -> String {
        let path = USED_FILE.as_ref().expect("FUNIL_PERMISSIONS_USED names a file");
        std::fs::read_to_string(path).unwrap()
    }
}

/// The permissions of one statement of a role, if it is about the table.
fn of_statement(function: &str, statement: &Value) -> Vec<Permission> {
    let resource = text(&statement["Resource"]);
    let index = match resource.as_str() {
        "Table.Arn" => None,
        other => match other.strip_prefix("${Table.Arn}/index/") {
            Some(index) => Some(index.to_owned()),
            None => return Vec::new(),
        },
    };
    let keys = &statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"];
    let keys = keys.as_array().unwrap_or_else(|| panic!("{function}: a statement without keys"));
    let actions = statement["Action"].as_array().unwrap();
    let action =
        |action: &Value| action.as_str().unwrap().strip_prefix("dynamodb:").unwrap().to_owned();
    let mut all = Vec::new();
    for one in actions {
        for key in keys {
            all.push(Permission {
                function: function.to_owned(),
                action: action(one),
                index: index.clone(),
                key: key.as_str().unwrap().trim_end_matches('*').to_owned(),
            });
        }
    }
    all
}

/// What a request needs.
fn needed(function: &str, operation: &str, request: &Value) -> Vec<Permission> {
    let permission = |action: &str, index: Option<&str>, key: &Value| Permission {
        function: function.to_owned(),
        action: action.to_owned(),
        index: index.map(ToOwned::to_owned),
        key: leading(key["S"].as_str().unwrap_or_default()),
    };
    match operation {
        "GetItem" | "UpdateItem" | "DeleteItem" => {
            vec![permission(operation, None, &request["Key"]["pk"])]
        }
        "PutItem" => vec![permission(operation, None, &request["Item"]["pk"])],
        "Query" => {
            let condition = request["KeyConditionExpression"].as_str().unwrap();
            let value = condition.split_whitespace().nth(2).unwrap();
            let key = &request["ExpressionAttributeValues"][value.trim_end_matches(')')];
            vec![permission(operation, request["IndexName"].as_str(), key)]
        }
        "BatchGetItem" => {
            let tables = request["RequestItems"].as_object().unwrap().values();
            let keys = tables.flat_map(|table| table["Keys"].as_array().unwrap());
            keys.map(|key| permission(operation, None, &key["pk"])).collect()
        }
        "TransactWriteItems" => {
            let writes = request["TransactItems"].as_array().unwrap();
            let writes = writes.iter().flat_map(|write| write.as_object().unwrap());
            writes
                .map(|(kind, write)| match kind.as_str() {
                    "Put" => permission("PutItem", None, &write["Item"]["pk"]),
                    "Update" => permission("UpdateItem", None, &write["Key"]["pk"]),
                    "Delete" => permission("DeleteItem", None, &write["Key"]["pk"]),
                    _ => permission("ConditionCheckItem", None, &write["Key"]["pk"]),
                })
                .collect()
        }
        other => vec![permission(other, None, &Value::Null)],
    }
}

/// A partition key up to its first `#`, that included.
fn leading(key: &str) -> String {
    key.split_inclusive('#').next().unwrap_or_default().to_owned()
}

/// The front of an emulator.
struct Front {
    emulator: String,
    client: reqwest::Client,
    permissions: Permissions,
    functions: BTreeSet<String>,
    used: Mutex<BTreeSet<Permission>>,
}

/// Starts a front of the emulator at this address, on a thread of its own, and returns its address.
pub fn front(emulator: String) -> String {
    let (ready, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let permissions = Permissions::read();
            let functions = permissions.0.iter().map(|one| one.function.clone()).collect();
            let (client, used) = (client(), Mutex::default());
            let front = Arc::new(Front { emulator, client, permissions, functions, used });
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            ready.send(format!("http://{}", listener.local_addr().unwrap())).unwrap();
            let router = Router::new().fallback(pass_on).with_state(front);
            axum::serve(listener, router).await.unwrap();
        });
    });
    address.recv().unwrap()
}

async fn pass_on(State(front): State<Arc<Front>>, headers: HeaderMap, body: Bytes) -> Response {
    let operation = headers["x-amz-target"].to_str().unwrap().rsplit('.').next().unwrap();
    if let Some(function) = signer(&headers).filter(|name| front.functions.contains(*name)) {
        let request: Value = serde_json::from_slice(&body).unwrap();
        for permission in needed(function, operation, &request) {
            if !front.permissions.0.contains(&permission) {
                return denied(&permission);
            }
            front.note(&permission);
        }
    }
    let mut onward = headers.clone();
    for name in ["host", "content-length"] {
        onward.remove(name);
    }
    let sent = front.client.post(&front.emulator).headers(onward).body(body).send().await;
    let response = sent.unwrap();
    let status = response.status();
    let bytes = response.bytes().await.unwrap();
    (status, [("content-type", "application/x-amz-json-1.0")], bytes).into_response()
}

/// Whose credentials a request is signed with.
fn signer(headers: &HeaderMap) -> Option<&str> {
    let signature = headers.get("authorization")?.to_str().ok()?;
    signature.split_once("Credential=")?.1.split('/').next()
}

/// IAM's response. It is printed too, because a test that expects failures would hide it.
#[expect(clippy::print_stderr, reason = "a test prints why it fails")]
fn denied(permission: &Permission) -> Response {
    let message = format!("template.yaml does not permit: {permission}");
    eprintln!("{message}");
    let body = json!({
        "__type": "com.amazon.coral.service#AccessDeniedException",
        "message": message,
    });
    let headers = [("content-type", "application/x-amz-json-1.0")];
    (StatusCode::BAD_REQUEST, headers, body.to_string()).into_response()
}

static USED_FILE: LazyLock<Option<String>> = LazyLock::new(used_file);

#[expect(clippy::disallowed_methods, reason = "it is for the run of the tests, not for Funil")]
fn used_file() -> Option<String> {
    std::env::var("FUNIL_PERMISSIONS_USED").ok()
}

impl Front {
    fn note(&self, permission: &Permission) {
        let Some(path) = &*USED_FILE else { return };
        let mut used = self.used.lock().unwrap();
        if used.insert(permission.clone()) {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            writeln!(file.unwrap(), "{permission}").unwrap();
        }
    }
}
