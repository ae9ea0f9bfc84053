//! What each key of the table and of its indexes takes in a second, as DynamoDB limits it. An index that
//! cannot keep up makes the table refuse the write.
//!
//! The units are those of items up to 1 KB: one for a write, two in a transaction; in an index one for an
//! entry that comes or goes, two for one that moves.

use std::collections::HashMap;
use std::time::Instant;

use serde_json::Value;

/// The keys' limit, and what is left of it.
#[derive(Debug)]
pub(super) struct Keys {
    units_a_second: f64,
    left: HashMap<String, (f64, Instant)>,
    /// The key of the index under which each item stands.
    stands: HashMap<String, String>,
    /// How often each key refused.
    pub(super) refused: HashMap<String, u32>,
}

impl Keys {
    pub(super) fn new(units_a_second: f64) -> Self {
        let (left, stands, refused) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { units_a_second, left, stands, refused }
    }

    /// Takes the units of a request from its keys, or none where one of them has too few.
    pub(super) fn admit(&mut self, operation: &str, request: &Value, now: Instant) -> bool {
        let (factor, writes): (f64, Vec<&Value>) = match operation {
            "TransactWriteItems" => {
                let writes = request["TransactItems"].as_array().into_iter().flatten();
                (2.0, writes.filter_map(|write| write.as_object()?.values().next()).collect())
            }
            "PutItem" | "UpdateItem" | "DeleteItem" => (1.0, vec![request]),
            _ => return true,
        };
        let mut units: HashMap<String, f64> = HashMap::new();
        let mut stands = Vec::new();
        for write in writes {
            let item = if write["Item"].is_object() { &write["Item"] } else { &write["Key"] };
            let text = |name: &str| item[name]["S"].as_str().unwrap_or_default();
            let (pk, sk) = (text("pk"), text("sk"));
            *units.entry(pk.to_owned()).or_default() += factor;
            let name = format!("{pk} {sk}");
            let stood = self.stands.get(&name).cloned();
            let update = write["UpdateExpression"].as_str().unwrap_or_default();
            let (sets, removes) = update.split_once("REMOVE").unwrap_or((update, ""));
            let (index, moved) = if let Some(due_pk) = item["due_pk"]["S"].as_str() {
                (Some(due_pk.to_owned()), 1.0)
            } else if removes.contains("#due_pk") {
                (None, 1.0)
            } else if sets.contains("#due_sk") {
                (stood.clone(), 2.0)
            } else {
                continue;
            };
            if let Some(key) = index.clone().or(stood) {
                *units.entry(key).or_default() += moved;
            }
            stands.push((name, index));
        }
        for (key, units) in &units {
            let left = self.left(key, now);
            if left < *units {
                *self.refused.entry(key.clone()).or_default() += 1;
                return false;
            }
        }
        for (key, units) in units {
            let left = self.left(&key, now) - units;
            self.left.insert(key, (left, now));
        }
        for (name, index) in stands {
            match index {
                Some(index) => self.stands.insert(name, index),
                None => self.stands.remove(&name),
            };
        }
        true
    }

    fn left(&self, key: &str, now: Instant) -> f64 {
        let Some((left, at)) = self.left.get(key) else { return self.units_a_second };
        let refilled = left + self.units_a_second * now.duration_since(*at).as_secs_f64();
        refilled.min(self.units_a_second)
    }
}
