//! Makes MailerLite's custom fields, groups and webhooks.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use funil_core::delivery::exchange::{Request, Response};
use funil_core::destination::mailerlite::account::{
    Account, Listed, Sends, Webhook, WebhookWanted, fields_of, groups_of, made,
};
use funil_core::destination::mailerlite::{configured_groups, is_group};
use funil_core::settings::Env;
use funil_store::Platform;
use url::Url;

use super::Run;
use crate::cli::provider::{refused, send};
use crate::cli::{Failure, mailerlite};

/// The groups without which MailerLite's deliveries do not start.
const NEEDED: [&str; 2] = ["questionnaire", "marketing"];

pub(super) async fn run(
    further: &[String],
    webhook: Option<&Url>,
    run: Run,
    env: &Env,
    platform: &Platform,
    out: &mut impl Write,
) -> Result<(), Failure> {
    if let Some(unknown) = further.iter().find(|name| !is_group(name)) {
        return Err(format!(
            "{unknown} is no group that Funil knows. There are landing_page_leads, amanda_score_high, \
             amanda_score_medium, amanda_score_low and business_type_<value in lower case, without \
             accents, _ between words>."
        )
        .into());
    }
    let mut settings = env.settings();
    let account = Account::read(&mut settings).zip(configured_groups(&mut settings));
    let (account, configured) = settings.finish(account)?;

    let listed = all(platform, |page| account.list_fields(page), fields_of).await?;
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

    let listed = all(platform, |page| account.list_groups(page), groups_of).await?;
    let wanted: BTreeSet<&str> = configured
        .keys()
        .map(String::as_str)
        .chain(NEEDED)
        .chain(further.iter().map(String::as_str))
        .collect();
    let mut groups = BTreeMap::new();
    for name in wanted {
        let id = match known(name, &configured, &listed) {
            Some(id) => {
                writeln!(out, "the group {name} is there: {id}")?;
                id
            }
            None if run == Run::ForReal => {
                let response = send(platform, &account.make_group(name)).await?;
                let id = made(&response, "id");
                let id = id.ok_or_else(|| refused(&format!("The group {name}"), &response))?;
                writeln!(out, "made the group {name}: {id}")?;
                id
            }
            None => {
                writeln!(out, "would make the group {name}")?;
                "<its id>".to_owned()
            }
        };
        groups.insert(name.to_owned(), id);
    }
    writeln!(out, "MAILERLITE_GROUPS={}", serde_json::to_string(&groups)?)?;
    match webhook {
        Some(url) => webhooks(&account, url, run, platform, out).await,
        None => Ok(()),
    }
}

/// Makes the webhooks that are missing, and gives those that are there the events that they lack.
async fn webhooks(
    account: &Account,
    url: &Url,
    run: Run,
    platform: &Platform,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let found = mailerlite::webhooks(account, platform).await?;
    let mut secrets = Vec::new();
    for (sends, events) in mailerlite::NEEDED {
        let ours: Vec<&Webhook> = found
            .iter()
            .filter(|one| one.sends == sends && mailerlite::is_ours(one, Some(url)))
            .collect();
        let lacks = mailerlite::lacks(&ours, events);
        let best = ours.iter().find(|one| one.enabled).or_else(|| ours.first());
        let how = match sends {
            Sends::EachByItself => "one by one",
            Sends::InEnvelopes => "in envelopes",
        };
        match best {
            Some(best) if lacks.is_empty() => {
                writeln!(out, "MailerLite sends every event {how} to {} already", best.url)?;
            }
            Some(best) => {
                let kept = best.events.iter().map(String::as_str);
                let all: BTreeSet<&str> = kept.chain(events.iter().copied()).collect();
                let all = all.into_iter().collect();
                let wanted = WebhookWanted { url: &best.url, sends, events: all };
                if run == Run::ForReal {
                    mailerlite::mend(account, platform, &best.id, &wanted).await?;
                }
                let verb = if run == Run::ForReal { "mended" } else { "would mend" };
                let lacks = lacks.join(", ");
                writeln!(out, "{verb} the webhook {}: it was off, or lacked {lacks}", best.url)?;
            }
            None => {
                let wanted = WebhookWanted { url: url.as_str(), sends, events: events.to_vec() };
                writeln!(out, "{} a webhook for {url} that sends {how}", run.verb())?;
                if run == Run::ForReal {
                    secrets.push(mailerlite::make(account, platform, &wanted).await?);
                }
            }
        }
    }
    if !secrets.is_empty() {
        writeln!(out, "Add these to the secrets that are there:")?;
        writeln!(out, "MAILERLITE_WEBHOOK_SECRET={}", secrets.join(","))?;
    }
    Ok(())
}

/// The id of a group that is there: the configured one, or the one of our name.
fn known(name: &str, configured: &BTreeMap<String, String>, listed: &Listed) -> Option<String> {
    let is_there = |id: &&String| listed.items.iter().any(|(known, _)| known == *id);
    let of_name = || listed.items.iter().find(|(_, known)| known == name).map(|(id, _)| id);
    configured.get(name).filter(is_there).or_else(of_name).cloned()
}

/// All pages of a list.
async fn all(
    platform: &Platform,
    page: impl Fn(u64) -> Request,
    read: fn(&Response) -> Option<Listed>,
) -> Result<Listed, Failure> {
    let mut whole = Listed { items: Vec::new(), last_page: 1 };
    let mut at = 1;
    while at <= whole.last_page {
        let response = send(platform, &page(at)).await?;
        let listed = read(&response).ok_or_else(|| refused("A list of the account", &response))?;
        whole.items.extend(listed.items);
        whole.last_page = listed.last_page;
        at += 1;
    }
    Ok(whole)
}
