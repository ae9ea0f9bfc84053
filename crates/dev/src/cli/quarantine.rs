//! `funil quarantine`: lists, shows, releases and drops quarantined requests.
//!
//! It asks the functions themselves, by their authorised `POST …/quarantine`, because only a function
//! can accept its own requests. `show` prints personal data, for the person who decides. This module
//! must not know what any function does with a request.

use std::io::Write;

use clap::Subcommand;
use funil_core::delivery::exchange::endpoint;
use funil_core::id::{LeadId, QuarantineName};
use funil_core::settings::Env;
use funil_lambda::functions::intake;
use funil_store::Platform;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::cli::Failure;
use crate::cli::addresses::Addresses;
use crate::server::DEV_SERVICE_TOKEN;

/// The commands of `funil quarantine`.
#[derive(Subcommand, Clone, Debug)]
pub enum QuarantineCommand {
    /// List requests in quarantine, oldest first for each source.
    List {
        /// Only requests of this source, such as `lead-submit` or `calendly`.
        #[arg(long)]
        source: Option<String>,
        /// The maximum number of requests of each source.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Show one request with its body, which is personal data. It then counts as read.
    Show {
        /// The request, as `<source>/<id>`.
        request: QuarantineName,
    },
    /// Accept a request as if it came now.
    Release {
        /// The request, as `<source>/<id>`.
        request: QuarantineName,
        /// The lead that it is about.
        #[arg(long)]
        lead: Option<String>,
        /// A field of the body with its right value, as `payload.email=ana@example.com`; `null` removes
        /// the field. May be repeated.
        #[arg(long = "set", value_name = "FIELD=VALUE")]
        set: Vec<String>,
    },
    /// Remove a request for good.
    Drop {
        /// The request, as `<source>/<id>`.
        request: QuarantineName,
    },
}

/// Runs a command against the functions at these addresses.
pub async fn run(
    command: QuarantineCommand,
    to: &Addresses,
    env: &Env,
    platform: &Platform,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let asked = Asked { to, env, platform };
    match command {
        QuarantineCommand::List { source, limit } => list(&asked, source, limit, out).await,
        QuarantineCommand::Show { request } => {
            let shown = asked.about(&request, json!({"action": "show"})).await?;
            for (name, field) in COLUMNS {
                writeln!(out, "{}", format!("{name:<12} {}", text(&shown[field])).trim_end())?;
            }
            writeln!(out, "\n{}", shown["body"].as_str().unwrap_or_default())?;
            Ok(())
        }
        QuarantineCommand::Release { request, lead, set } => {
            let lead = match lead {
                Some(lead) => Some(LeadId::parse(&lead).map_err(|_| "Give the lead's UUID.")?),
                None => None,
            };
            let mut body = json!({"action": "release", "set": corrections(&set)?});
            if let Some(lead) = lead {
                body["lead"] = json!(lead);
            }
            let released = asked.about(&request, body).await?;
            let what = if released["alreadyKept"] == true {
                "was accepted before, so nothing is kept again"
            } else {
                "is accepted"
            };
            writeln!(out, "{request} {what}; it is no longer in quarantine.")?;
            if !released["response"].is_null() {
                writeln!(out, "{}", released["response"])?;
            }
            Ok(())
        }
        QuarantineCommand::Drop { request } => {
            asked.about(&request, json!({"action": "drop"})).await?;
            writeln!(out, "{request} is removed.")?;
            Ok(())
        }
    }
}

/// What is shown of a request: the head of its column, and its name in the response.
const COLUMNS: [(&str, &str); 7] = [
    ("source", "source"),
    ("id", "id"),
    ("at", "at"),
    ("reason", "reason"),
    ("read at", "readAt"),
    ("expires at", "expiresAt"),
    ("type", "contentType"),
];

async fn list(
    asked: &Asked<'_>,
    source: Option<String>,
    limit: usize,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let one_alone = source.is_some();
    let sources: Vec<&str> = match &source {
        Some(source) => vec![source],
        None => intake().filter_map(|one| one.quarantine_source).collect(),
    };
    let (mut found, mut missing) = (0, Vec::new());
    let asked_of = sources.len();
    for source in sources {
        let asks = json!({"action": "list", "limit": limit});
        let response = match asked.ask(source, &asks).await? {
            Response::Body(response) => response,
            // Whoever asks for one source wants to know that it is not there.
            Response::NotDeployed(why) if one_alone => return Err(why.into()),
            Response::NotDeployed(why) => {
                missing.push(why);
                continue;
            }
        };
        for request in response["requests"].as_array().into_iter().flatten() {
            let name = format!("{}/{}", text(&request["source"]), text(&request["id"]));
            let read = if request["readAt"].is_null() { "" } else { "  read" };
            let (at, reason) = (text(&request["at"]), text(&request["reason"]));
            writeln!(out, "{name}  {at}  {reason}{read}")?;
            found += 1;
        }
        if response["more"] == true {
            writeln!(out, "{source} has more; raise --limit to list them.")?;
        }
    }
    if missing.len() == asked_of {
        return Err(
            format!("{} See that --to or --stack-outputs is right.", missing.join(" ")).into()
        );
    }
    if found == 0 {
        writeln!(out, "Nothing is in quarantine.")?;
    }
    Ok(())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The corrections of `--set`. A value that is not JSON is text.
fn corrections(set: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut corrected = Map::new();
    for one in set {
        let (field, value) = one.split_once('=').ok_or("Give --set as FIELD=VALUE.")?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        corrected.insert(field.to_owned(), value);
    }
    Ok(corrected)
}

/// What a function responded.
enum Response {
    /// The body of its response.
    Body(Value),
    /// It is not deployed there; the sentence says how that shows.
    NotDeployed(String),
}

/// Where the functions are asked, and with which token.
struct Asked<'a> {
    to: &'a Addresses,
    env: &'a Env,
    platform: &'a Platform,
}

impl Asked<'_> {
    async fn about(&self, request: &QuarantineName, mut body: Value) -> Result<Value, Failure> {
        body["id"] = json!(request.id.to_string());
        self.of(&request.source, &body).await
    }

    /// Asks the function that quarantines requests under `source`, which has to be there.
    async fn of(&self, source: &str, body: &Value) -> Result<Value, Failure> {
        match self.ask(source, body).await? {
            Response::Body(response) => Ok(response),
            Response::NotDeployed(why) => Err(why.into()),
        }
    }

    /// Asks the function that quarantines requests under `source`.
    async fn ask(&self, source: &str, body: &Value) -> Result<Response, Failure> {
        let sources = || intake().filter_map(|one| one.quarantine_source);
        let known = || sources().collect::<Vec<_>>().join(", ");
        let function = intake().find(|one| one.quarantine_source == Some(source));
        let function = function
            .ok_or_else(|| format!("There is no such source; there are {}.", known()))?
            .name;
        let settings = self.env.settings();
        let token = settings.list("SERVICE_TOKEN").first().copied().unwrap_or(DEV_SERVICE_TOKEN);
        let Some(function_url) = self.to.of(function) else {
            return Ok(Response::NotDeployed(format!("The stack's outputs name no {function}.")));
        };
        let url = endpoint(&function_url, &["quarantine"]);
        let request = self.platform.http.post(url.clone()).bearer_auth(token);
        let request = request.header("content-type", "application/json").body(body.to_string());
        let no_response =
            |_| format!("{url} does not respond; start the dev server, or give --to.");
        let response = request.send().await.map_err(no_response)?;
        let succeeded = response.status().is_success();
        let status = response.status();
        let body = response.bytes().await.map_err(no_response)?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        // Ours say what is wrong; an API without the route says it in its own way.
        if status == StatusCode::NOT_FOUND && !body["type"].is_string() {
            return Ok(Response::NotDeployed(format!("{url} has no function of Funil.")));
        }
        if body.is_null() {
            return Err(format!("{url} responded {status} without JSON.").into());
        }
        if succeeded { Ok(Response::Body(body)) } else { Err(problem(&body).into()) }
    }
}

/// A problem as sentences for the terminal.
fn problem(body: &Value) -> String {
    let mut said = format!("{}. {}", text(&body["title"]), text(&body["detail"]));
    if let Some(reason) = body["reason"].as_str() {
        said = format!("{said}\nreason: {reason}");
    }
    for error in body["errors"].as_array().into_iter().flatten() {
        said = format!("{said}\n{}: {}", text(&error["field"]), text(&error["message"]));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correction_is_json_or_else_text() {
        let set = ["a.b=1", "email=ana@example.com", "gone=null", "text=\"1\"", "c=x=y"];
        let corrected = corrections(&set.map(str::to_owned)).unwrap();
        assert_eq!(
            Value::Object(corrected),
            json!({"a.b": 1, "email": "ana@example.com", "gone": null, "text": "1", "c": "x=y"})
        );
        assert!(corrections(&["a".to_owned()]).is_err());
    }
}
