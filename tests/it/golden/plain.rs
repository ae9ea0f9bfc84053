//! Replaces what is random in a text by a name, so that snapshots repeat. All else stays byte for byte
//! the same.
//!
//! Random are the tails of `UUIDv7`s, leases, the ids of deliveries of an event with a `UUIDv7`, the
//! receipts of withdrawals, and the jitter in the due time of the next try. It must not know the code,
//! only the items of the table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};

/// Where a `UUIDv7`'s random part begins: before it stand the time and the version.
const TIME_CHARS: usize = 15;
/// The waits between tries, in seconds; jitter makes each up to a fifth longer.
const WAITS_S: [i64; 8] = [5, 60, 300, 1_800, 7_200, 21_600, 43_200, 86_400];

/// The text of an item's attribute, empty where there is none.
pub(super) fn text<'i>(item: &'i Value, name: &str) -> &'i str {
    item[name]["S"].as_str().unwrap_or_default()
}

/// The names that replace what is random.
pub(super) struct Plain {
    /// What is random and its name, in the order in which they have to be replaced.
    names: Vec<(String, String)>,
}

impl Plain {
    /// Finds what is random in the table's items and in other texts.
    pub(super) fn of(items: &[Value], texts: &[&str]) -> Self {
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for item in items {
            for name in ["lease_id", "sending"] {
                let lease = text(item, name);
                if !lease.is_empty() {
                    let place = (text(item, "destination"), text(item, "slot"));
                    names.insert(lease.into(), format!("{{lease {}/{}}}", place.0, place.1));
                }
            }
            let event = text(item, "event_id");
            if text(item, "type") == "delivery" && !uuids_v7(event).is_empty() {
                let id = text(item, "delivery_id").to_owned();
                let slot = format!("{}/{}", text(item, "destination"), text(item, "slot"));
                names.insert(id, format!("{{{slot} of {event}}}"));
            }
            if let Some(digest) = text(item, "pk").strip_prefix("RECEIPT#sequence#")
                && text(item, "fingerprint").is_empty()
            {
                names.insert(digest.to_owned(), "{digest of a withdrawal}".to_owned());
            }
        }
        let whole = items.iter().map(Value::to_string).collect::<String>();
        let found: BTreeSet<String> =
            texts.iter().chain([&&*whole]).flat_map(|text| uuids_v7(text)).collect();
        // These are last, because the names above contain some of them.
        let times = found.into_iter().map(|id| (id.clone(), format!("{}~", &id[..TIME_CHARS])));
        Self { names: names.into_iter().chain(times).collect() }
    }

    /// A text in which names replace what is random.
    pub(super) fn of_text(&self, text: &str) -> String {
        let start = text.to_owned();
        self.names.iter().fold(start, |text, (drawn, name)| text.replace(drawn, name))
    }

    /// All items as text, sorted by their keys, with a line for each attribute.
    pub(super) fn of_items(&self, items: &[Value]) -> String {
        let mut shown: Vec<(String, String)> = items
            .iter()
            .map(|item| {
                let key = format!("{} / {}", text(item, "pk"), text(item, "sk"));
                let mut lines = String::new();
                let item = without_jitter(item);
                for (name, value) in item.as_object().unwrap() {
                    if !["pk", "sk"].contains(&name.as_str()) {
                        writeln!(lines, "    {name}: {value}").unwrap();
                    }
                }
                (self.of_text(&key), self.of_text(&lines))
            })
            .collect();
        shown.sort();
        shown.iter().fold(String::new(), |text, (key, lines)| format!("{text}{key}\n{lines}\n"))
    }
}

/// An item whose due time, where it has jitter, is written as the last try and the scheduled wait.
fn without_jitter(item: &Value) -> Value {
    let mut plain = item.clone();
    let Some(last) = item["log"]["L"].as_array().and_then(|log| log.last()) else { return plain };
    let last = |name: &str| last["M"][name]["S"].as_str().unwrap_or_default();
    let second = |time: &str| time.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_second);
    let (Ok(due), Ok(tried)) = (second(text(item, "due_sk")), second(last("at"))) else {
        return plain;
    };
    // A blocked delivery waits for five minutes, and its jitter is up to a tenth of that.
    let most = |wait: i64| wait + if last("outcome") == "blocked" { wait / 10 } else { wait / 5 };
    let waits = if ["retry", "blocked"].contains(&last("outcome")) { &WAITS_S[..] } else { &[] };
    if let Some(wait) = waits.iter().find(|wait| (**wait..=most(**wait)).contains(&(due - tried))) {
        plain["due_sk"]["S"] = json!(format!("{} + {wait} s and more", last("at")));
    }
    plain
}

/// Every `UUIDv7` in a text.
fn uuids_v7(text: &str) -> Vec<String> {
    let is_one = |window: &[u8]| {
        window.iter().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => *byte == b'-',
            14 => *byte == b'7',
            _ => byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase(),
        })
    };
    let found = text.as_bytes().windows(36).filter(|window| is_one(window));
    found.map(|one| String::from_utf8_lossy(one).into_owned()).collect()
}
