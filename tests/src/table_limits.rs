//! What a table on DynamoDB takes in a second, as an emulator does not limit it: under each key of the
//! table and of its indexes, and in all. Also how far the index of due deliveries lags behind.
//!
//! An index that cannot keep up makes the table refuse the write. What a request takes from its keys is
//! counted before it takes effect, as for items up to 1 KB: one unit for a write, two in a transaction; in
//! an index one for an entry that comes or goes, two for one that moves; one for a key that is read. What
//! it takes of the table is what the emulator says it consumed. Must not know what a request is for.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};

/// The limits of a table.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Units that may be written under one key in a second.
    pub key_writes: f64,
    /// Units that may be read under one key in a second.
    pub key_reads: f64,
    /// Units that may be written to the whole table in a second, its indexes included.
    pub table_writes: f64,
    /// How far the index of due deliveries lags behind the table.
    pub index_lags: Duration,
}

impl Limits {
    /// No limit but that each key takes so many write units a second.
    pub const fn of_keys(key_writes: f64) -> Self {
        Self {
            key_writes,
            key_reads: f64::INFINITY,
            table_writes: f64::INFINITY,
            index_lags: Duration::ZERO,
        }
    }
}

/// A limit of so many units a second: what it has left, and when that was.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Duration,
}

impl Bucket {
    const fn full(a_second: f64, now: Duration) -> Self {
        Self { left: a_second, at: now }
    }

    fn refill(&mut self, a_second: f64, now: Duration) {
        let refilled = self.left + a_second * now.saturating_sub(self.at).as_secs_f64();
        *self = Self { left: refilled.min(a_second), at: now };
    }
}

/// An entry of the index of due deliveries.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    due_pk: String,
    due_sk: String,
    /// The item, as the index has it.
    item: Value,
}

/// A change of the index that a request makes.
enum Change {
    Comes(Entry),
    Moves(String),
    Goes,
}

/// The limits of a table, with what is left of them.
#[derive(Debug)]
pub struct TableLimits {
    limits: Limits,
    keys: HashMap<String, Bucket>,
    table: Bucket,
    /// The entries of the index by the names of their items, and since when they stand there.
    stands: HashMap<String, (Entry, Duration)>,
    /// Entries that left or moved away, with the time and their items' names: a lagging index has them.
    gone: VecDeque<(Duration, String, Entry)>,
    /// How many of them are deliveries.
    open: usize,
    /// How often each key refused, and the table as a whole under the name `TABLE`.
    refused: HashMap<String, u32>,
}

/// The name of the table as a whole among those that refused.
const TABLE: &str = "TABLE";

impl TableLimits {
    /// A table that nothing was written to.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            keys: HashMap::new(),
            table: Bucket::full(limits.table_writes, Duration::ZERO),
            stands: HashMap::new(),
            gone: VecDeque::new(),
            open: 0,
            refused: HashMap::new(),
        }
    }

    /// How often each key refused a request; `TABLE` is the table as a whole.
    pub fn refused(&self) -> &HashMap<String, u32> {
        &self.refused
    }

    /// How many entries the index has whose items are deliveries.
    pub const fn open_deliveries(&self) -> usize {
        self.open
    }

    /// Takes the units of a request from its keys, or none where one of them, or the table, has too few.
    pub fn admit(&mut self, operation: &str, request: &Value, now: Duration) -> bool {
        self.table.refill(self.limits.table_writes, now);
        let writes = writes(operation, request);
        if !writes.is_empty() && self.table.left <= 0.0 {
            *self.refused.entry(TABLE.to_owned()).or_default() += 1;
            return false;
        }
        let units = self.units(operation, request, &writes);
        for (key, (units, a_second)) in &units {
            let bucket = self.keys.entry(key.clone());
            let bucket = bucket.or_insert(Bucket::full(*a_second, now));
            bucket.refill(*a_second, now);
            if bucket.left < units.min(*a_second) {
                *self.refused.entry(key.clone()).or_default() += 1;
                return false;
            }
        }
        for (key, (units, _)) in units {
            if let Some(bucket) = self.keys.get_mut(&key) {
                bucket.left -= units;
            }
        }
        true
    }

    /// Notes that a request took effect, which wrote so many units.
    pub fn took_effect(&mut self, operation: &str, request: &Value, units: f64, now: Duration) {
        self.table.left -= units;
        while self.gone.front().is_some_and(|(at, ..)| *at + self.limits.index_lags <= now) {
            self.gone.pop_front();
        }
        for (_, write) in writes(operation, request) {
            let name = name_of(write);
            let moved = match change(write) {
                Some(Change::Comes(entry)) => Some(entry),
                Some(Change::Moves(due_sk)) => {
                    let stood = self.stands.get(&name).map(|(entry, _)| entry.clone());
                    stood.map(|stood| {
                        let mut item = stood.item;
                        item["due_sk"] = json!({"S": due_sk});
                        Entry { due_sk, item, ..stood }
                    })
                }
                Some(Change::Goes) => None,
                None => continue,
            };
            let (was, is) = (self.stands.contains_key(&name), moved.is_some());
            if name.contains(" DELIVERY#") {
                self.open = self.open + usize::from(is) - usize::from(was);
            }
            let left = match moved {
                Some(entry) => self.stands.insert(name.clone(), (entry, now)),
                None => self.stands.remove(&name),
            };
            if let Some((entry, _)) = left {
                self.gone.push_back((now, name, entry));
            }
        }
    }

    /// The response to a query of the index of due deliveries, as the index was a moment ago.
    pub fn lagging(&self, request: &Value, response: &str, now: Duration) -> Option<String> {
        let lag = self.limits.index_lags;
        if request["IndexName"] != "due" || request["Select"] == "COUNT" || lag.is_zero() {
            return None;
        }
        let mut response: Value = serde_json::from_str(response).ok()?;
        let value = |name: &str| text(&request["ExpressionAttributeValues"][name]);
        let (pk, until) = (value(":pk").to_owned(), value(":now").to_owned());
        let items = response["Items"].as_array_mut()?;
        items.retain(|item| {
            let stands = self.stands.get(&name_of(&json!({"Key": item})));
            stands.is_none_or(|(_, since)| *since + lag <= now)
        });
        let start = text(&request["ExclusiveStartKey"]["due_sk"]).to_owned();
        let end = text(&response["LastEvaluatedKey"]["due_sk"]).to_owned();
        let old = self.gone.iter().filter(|(at, name, entry)| {
            let was_there = self.stands.get(name).is_none_or(|(_, since)| since == at);
            let in_range = entry.due_sk <= until && entry.due_sk > start;
            let on_page = end.is_empty() || entry.due_sk < end;
            *at + lag > now && entry.due_pk == pk && was_there && in_range && on_page
        });
        let old: Vec<Value> = old.map(|(.., entry)| entry.item.clone()).collect();
        let items = response["Items"].as_array_mut()?;
        items.extend(old);
        items.sort_by(|one, other| text(&one["due_sk"]).cmp(text(&other["due_sk"])));
        let limit = request["Limit"].as_u64().and_then(|limit| usize::try_from(limit).ok());
        if let Some(limit) = limit
            && items.len() > limit
        {
            items.truncate(limit);
            let last = items.last().cloned().unwrap_or_default();
            let key = ["pk", "sk", "due_pk", "due_sk"].map(|name| (name, last[name].clone()));
            response["LastEvaluatedKey"] =
                key.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        }
        response["Count"] = json!(response["Items"].as_array()?.len());
        Some(response.to_string())
    }

    /// What a request takes from each key, with the key's limit.
    fn units(
        &self,
        operation: &str,
        request: &Value,
        writes: &[(f64, &Value)],
    ) -> HashMap<String, (f64, f64)> {
        let mut units: HashMap<String, (f64, f64)> = HashMap::new();
        let mut take = |key: String, count: f64, a_second: f64| {
            units.entry(key).or_insert((0.0, a_second)).0 += count;
        };
        for (factor, write) in writes {
            take(text(&keys_of(write)["pk"]).to_owned(), *factor, self.limits.key_writes);
            let stood = self.stands.get(&name_of(write)).map(|(entry, _)| entry.due_pk.clone());
            let (key, moved) = match change(write) {
                Some(Change::Comes(entry)) => (Some(entry.due_pk), 1.0),
                Some(Change::Moves(_)) => (stood, 2.0),
                Some(Change::Goes) => (stood, 1.0),
                None => continue,
            };
            if let Some(key) = key {
                take(key, moved, self.limits.key_writes);
            }
        }
        for key in reads(operation, request) {
            take(format!("read {key}"), 1.0, self.limits.key_reads);
        }
        units
    }
}

/// The writes of a request, with what a unit counts in them.
fn writes<'r>(operation: &str, request: &'r Value) -> Vec<(f64, &'r Value)> {
    match operation {
        "TransactWriteItems" => {
            let writes = request["TransactItems"].as_array().into_iter().flatten();
            writes.filter_map(|write| Some((2.0, write.as_object()?.values().next()?))).collect()
        }
        "PutItem" | "UpdateItem" | "DeleteItem" => vec![(1.0, request)],
        _ => Vec::new(),
    }
}

/// The keys that a request reads under.
fn reads(operation: &str, request: &Value) -> Vec<String> {
    match operation {
        "GetItem" => vec![text(&request["Key"]["pk"]).to_owned()],
        "Query" => vec![text(&request["ExpressionAttributeValues"][":pk"]).to_owned()],
        "BatchGetItem" => {
            let tables = request["RequestItems"].as_object().into_iter().flatten();
            let keys = tables.filter_map(|(_, table)| table["Keys"].as_array()).flatten();
            keys.map(|key| text(&key["pk"]).to_owned()).collect()
        }
        _ => Vec::new(),
    }
}

/// What a write changes in the index.
fn change(write: &Value) -> Option<Change> {
    let item = &write["Item"];
    if let Some(due_pk) = item["due_pk"]["S"].as_str() {
        let projected = ["pk", "sk", "due_pk", "due_sk", "deadline"];
        let projected = projected.into_iter().filter(|name| !item[*name].is_null());
        let projected = projected.map(|name| (name.to_owned(), item[name].clone())).collect();
        let due_sk = text(&item["due_sk"]).to_owned();
        return Some(Change::Comes(Entry { due_pk: due_pk.to_owned(), due_sk, item: projected }));
    }
    let update = write["UpdateExpression"].as_str()?;
    let (sets, removes) = update.split_once("REMOVE").unwrap_or((update, ""));
    if removes.contains("#due_pk") {
        return Some(Change::Goes);
    }
    let (_, after) = sets.split_once("#due_sk = ")?;
    let placeholder = after.split([',', ' ']).next().unwrap_or_default();
    Some(Change::Moves(text(&write["ExpressionAttributeValues"][placeholder]).to_owned()))
}

fn keys_of(write: &Value) -> &Value {
    if write["Item"].is_object() { &write["Item"] } else { &write["Key"] }
}

/// The name of an item that is written.
fn name_of(write: &Value) -> String {
    let keys = keys_of(write);
    format!("{} {}", text(&keys["pk"]), text(&keys["sk"]))
}

fn text(attribute: &Value) -> &str {
    attribute["S"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(sk: &str, due: &str) -> Value {
        let item = json!({
            "pk": {"S": "LEAD#1"}, "sk": {"S": sk}, "due_pk": {"S": "DUE#crm#0"},
            "due_sk": {"S": due}, "state": {"S": "pending"},
        });
        json!({"TransactItems": [{"Put": {"Item": item}}]})
    }

    fn moved(sk: &str, due: &str) -> Value {
        json!({
            "Key": {"pk": {"S": "LEAD#1"}, "sk": {"S": sk}},
            "UpdateExpression": "SET #state = :leased, #due_sk = :end ADD #claims :claims",
            "ExpressionAttributeValues": {":end": {"S": due}},
        })
    }

    fn settled(sk: &str) -> Value {
        json!({
            "Key": {"pk": {"S": "LEAD#1"}, "sk": {"S": sk}},
            "UpdateExpression": "SET #state = :state REMOVE #due_pk, #due_sk",
        })
    }

    #[test]
    fn a_key_and_the_table_refuse_what_is_over_their_limits_until_time_passes() {
        let limits = Limits { table_writes: 10.0, ..Limits::of_keys(4.0) };
        let mut table = TableLimits::new(limits);
        let (at, later) = (Duration::from_secs(1), Duration::from_secs(2));
        let request = planned("DELIVERY#crm#a", "1");
        assert!(table.admit("TransactWriteItems", &request, at), "2 of 4 under the lead");
        assert!(table.admit("TransactWriteItems", &request, at));
        assert!(!table.admit("TransactWriteItems", &request, at));
        assert_eq!(table.refused()["LEAD#1"], 1);
        assert!(table.admit("Query", &json!({}), at), "a read takes no write units");
        assert!(table.admit("TransactWriteItems", &request, later));
        table.took_effect("TransactWriteItems", &request, 11.0, later);
        assert!(!table.admit("TransactWriteItems", &request, later), "the table is overdrawn");
        assert_eq!(table.refused()[TABLE], 1);
    }

    #[test]
    fn a_lagging_index_lacks_what_is_new_and_has_what_has_gone() {
        let limits = Limits { index_lags: Duration::from_secs(1), ..Limits::of_keys(1000.0) };
        let mut table = TableLimits::new(limits);
        let second = Duration::from_secs;
        for sk in ["DELIVERY#crm#a", "DELIVERY#crm#b"] {
            table.took_effect("TransactWriteItems", &planned(sk, "1"), 0.0, second(10));
        }
        assert_eq!(table.open_deliveries(), 2);
        let query = json!({
            "IndexName": "due", "Limit": 100,
            "ExpressionAttributeValues": {":pk": {"S": "DUE#crm#0"}, ":now": {"S": "5"}},
        });
        let found = |table: &TableLimits, emulator: Value, now: Duration| {
            let response = json!({"Items": emulator}).to_string();
            let response = table.lagging(&query, &response, now).unwrap();
            let response: Value = serde_json::from_str(&response).unwrap();
            let items = response["Items"].as_array().unwrap().clone();
            let names = items.iter().map(|item| text(&item["sk"]).to_owned());
            names.collect::<Vec<_>>()
        };
        let item = |sk: &str, due: &str| {
            let (pk, sk) = (json!({"S": "LEAD#1"}), json!({"S": sk}));
            json!({"pk": pk, "sk": sk, "due_pk": {"S": "DUE#crm#0"}, "due_sk": {"S": due}})
        };
        let both = json!([item("DELIVERY#crm#a", "1"), item("DELIVERY#crm#b", "1")]);
        assert_eq!(found(&table, both.clone(), second(10)), [""; 0], "they are new");
        assert_eq!(found(&table, both, second(11)), ["DELIVERY#crm#a", "DELIVERY#crm#b"]);
        table.took_effect("UpdateItem", &moved("DELIVERY#crm#a", "9"), 0.0, second(20));
        table.took_effect("UpdateItem", &settled("DELIVERY#crm#b"), 0.0, second(20));
        assert_eq!(table.open_deliveries(), 1);
        assert_eq!(found(&table, json!([]), second(20)), ["DELIVERY#crm#a", "DELIVERY#crm#b"]);
        assert_eq!(found(&table, json!([]), second(21)), [""; 0]);
    }
}
