//! Makes MailerLite's custom fields and groups.

use std::collections::BTreeMap;
use std::io::Write;

use funil_core::destination::mailerlite::account::{
    Account, fields_of, groups_of, is_known_group, made,
};
use funil_core::settings::Env;
use funil_store::Platform;

use super::{Run, refused, send};
use crate::cli::dead::Failure;

/// The groups without which MailerLite's deliveries do not start.
const NEEDED: [&str; 2] = ["questionnaire", "marketing"];

pub(super) async fn run(
    further: &[String],
    run: Run,
    env: &Env,
    platform: &Platform,
    out: &mut impl Write,
) -> Result<(), Failure> {
    if let Some(unknown) = further.iter().find(|name| !is_known_group(name)) {
        return Err(format!(
            "{unknown} is no group that Funil knows. There are landing_page_leads, amanda_score_high, \
             amanda_score_medium, amanda_score_low and business_type_<value in lower case, without \
             accents, _ between words>."
        )
        .into());
    }
    let mut settings = env.settings();
    let account = Account::read(&mut settings);
    let account = settings.finish(account)?;

    let response = send(platform, &account.list_fields()).await?;
    let listed = fields_of(&response).ok_or_else(|| refused("The list of fields", &response))?;
    if listed.has_more {
        return Err(
            "The account has more fields than one page shows; make what is missing by hand. \
                    `funil doctor` names it."
                .into(),
        );
    }
    for field in account.missing_fields(&listed) {
        if run == Run::ForReal {
            let response = send(platform, &account.make_field(&field)).await?;
            let key = made(&response, "key")
                .ok_or_else(|| refused(&format!("The field {}", field.key), &response))?;
            if key != field.key {
                return Err(format!(
                    "MailerLite made the field {} under the key {key}. Give it that name in \
                     MAILERLITE_FIELDS, then run this again.",
                    field.key
                )
                .into());
            }
        }
        writeln!(out, "{} the field {} ({})", run.verb(), field.key, field.kind)?;
    }

    let response = send(platform, &account.list_groups()).await?;
    let listed = groups_of(&response).ok_or_else(|| refused("The list of groups", &response))?;
    if listed.has_more {
        return Err(
            "The account has more groups than one page shows; make what is missing by hand.".into(),
        );
    }
    let configured: BTreeMap<String, String> = env
        .get("MAILERLITE_GROUPS")
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let mut groups = BTreeMap::new();
    let wanted = configured.keys().map(String::as_str).chain(NEEDED);
    for name in wanted.chain(further.iter().map(String::as_str)) {
        let is_there = |id: &String| listed.items.iter().any(|(known, _)| known == id);
        let known = configured.get(name).filter(|id| is_there(id)).cloned().or_else(|| {
            let found = listed.items.iter().find(|(_, known)| known == name);
            found.map(|(id, _)| id.clone())
        });
        let id = match known {
            _ if groups.contains_key(name) => continue,
            Some(id) => Some(id),
            None if run == Run::ForReal => {
                let response = send(platform, &account.make_group(name)).await?;
                let id = made(&response, "id");
                let id = id.ok_or_else(|| refused(&format!("The group {name}"), &response))?;
                writeln!(out, "made the group {name}")?;
                Some(id)
            }
            None => {
                writeln!(out, "would make the group {name}")?;
                None
            }
        };
        groups.insert(name.to_owned(), id.unwrap_or_else(|| "<its id>".to_owned()));
    }
    writeln!(out, "MAILERLITE_GROUPS={}", serde_json::to_string(&groups)?)?;
    Ok(())
}
