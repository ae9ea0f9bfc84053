//! Update expressions: built clause by clause, with a placeholder for every name and value.
//!
//! Many plain words (`state`, `log`, `count`) are reserved in DynamoDB's expressions, so no
//! attribute's name is ever written into one. Knows no item.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemInputBuilder;
use aws_sdk_dynamodb::operation::update_item::{
    UpdateItemError, UpdateItemInput, UpdateItemOutput,
};
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};

use crate::Store;
use crate::table::client::RequestError;
use crate::table::error::StoreError;
use crate::table::item::{self, Item};

/// How often an update that met a transaction is tried again.
const CONFLICT_RETRIES: u32 = 3;
/// The first pause before that; each further one is longer by as much.
const CONFLICT_WAIT: Duration = Duration::from_millis(15);

/// An update of one item, or the condition of a write. Built by value, one clause for each method.
///
/// The placeholder of an attribute is `#<attribute>`, and that of a value `:<attribute>` unless the
/// caller names it.
#[derive(Default)]
pub(crate) struct Expression {
    set: Clause,
    add: Clause,
    remove: Clause,
    condition: Option<String>,
    /// Placeholders with their attributes.
    names: Vec<(String, String)>,
    /// Placeholders with their values.
    values: Vec<(String, AttributeValue)>,
}

/// One clause of an update, without its first word.
#[derive(Default)]
struct Clause(String);

impl Clause {
    fn push(&mut self, parts: &[&str]) {
        if !self.0.is_empty() {
            self.0.push_str(", ");
        }
        self.0.extend(parts.iter().copied());
    }
}

impl Expression {
    /// An update of an item of this type, which it creates where there is none.
    pub(crate) fn of_type(kind: &str) -> Self {
        Self::default().set("v", item::n(item::VERSION)).set("type", item::s(kind))
    }

    /// Sets an attribute.
    pub(crate) fn set(self, attribute: &str, value: AttributeValue) -> Self {
        self.set_as(attribute, &format!(":{attribute}"), value)
    }

    /// Sets an attribute to a value whose placeholder is `placeholder`.
    pub(crate) fn set_as(
        mut self,
        attribute: &str,
        placeholder: &str,
        value: AttributeValue,
    ) -> Self {
        let name = self.name_of(attribute);
        self.set.push(&[&self.names[name].0, " = ", placeholder]);
        self.value(placeholder, value)
    }

    /// Sets an attribute only where it is absent.
    pub(crate) fn set_once(mut self, attribute: &str, value: AttributeValue) -> Self {
        let name = self.name_of(attribute);
        let placeholder = format!(":{attribute}");
        let name = &self.names[name].0;
        self.set.push(&[name, " = if_not_exists(", name, ", ", &placeholder, ")"]);
        self.value(&placeholder, value)
    }

    /// Adds to a number, which counts as 0 where it is absent.
    pub(crate) fn add(mut self, attribute: &str, number: i64) -> Self {
        let name = self.name_of(attribute);
        let placeholder = format!(":{attribute}");
        self.add.push(&[&self.names[name].0, " ", &placeholder]);
        self.value(&placeholder, item::n(number))
    }

    /// Adds texts to a set, which is made where it is absent. There must be at least one.
    pub(crate) fn insert_all<'t>(
        mut self,
        attribute: &str,
        texts: impl IntoIterator<Item = &'t str>,
    ) -> Self {
        let name = self.name_of(attribute);
        let placeholder = format!(":{attribute}");
        self.add.push(&[&self.names[name].0, " ", &placeholder]);
        let texts = texts.into_iter().map(str::to_owned).collect();
        self.value(&placeholder, AttributeValue::Ss(texts))
    }

    /// Removes an attribute.
    pub(crate) fn remove(mut self, attribute: &str) -> Self {
        let name = self.name_of(attribute);
        self.remove.push(&[&self.names[name].0]);
        self
    }

    /// Removes several attributes.
    pub(crate) fn remove_all(self, attributes: &[&str]) -> Self {
        attributes.iter().fold(self, |expression, attribute| expression.remove(attribute))
    }

    /// Sets an attribute where there is a value, and removes it otherwise.
    pub(crate) fn set_or_remove(self, attribute: &str, value: Option<AttributeValue>) -> Self {
        match value {
            Some(value) => self.set(attribute, value),
            None => self.remove(attribute),
        }
    }

    /// Makes the write depend on a condition. Each `#<attribute>` in it stands for that attribute,
    /// unless [`name`](Self::name) gave it another meaning before.
    pub(crate) fn condition(mut self, condition: &str) -> Self {
        for part in condition.split('#').skip(1) {
            let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let attribute = &part[..end.unwrap_or(part.len())];
            let is_it = |(known, _): &(String, String)| known.strip_prefix('#') == Some(attribute);
            if !self.names.iter().any(is_it) {
                self.name_of(attribute);
            }
        }
        self.condition = Some(condition.to_owned());
        self
    }

    /// Makes the write depend on a further condition, as [`condition`](Self::condition) does on the first.
    pub(crate) fn and(self, condition: &str) -> Self {
        let both = match &self.condition {
            Some(first) => format!("({first}) AND ({condition})"),
            None => condition.to_owned(),
        };
        self.condition(&both)
    }

    /// Gives a value to a placeholder that a condition uses.
    pub(crate) fn value(mut self, placeholder: &str, value: AttributeValue) -> Self {
        match self.values.iter().find(|(known, _)| known == placeholder) {
            Some((_, known)) => debug_assert!(*known == value, "{placeholder} has one value"),
            None => self.values.push((placeholder.to_owned(), value)),
        }
        self
    }

    /// Makes `placeholder` stand for `attribute` in a condition.
    pub(crate) fn name(mut self, placeholder: &str, attribute: &str) -> Self {
        self.names.push((placeholder.to_owned(), attribute.to_owned()));
        self
    }

    /// The index of an attribute in `names`, to which it is added where it is missing.
    fn name_of(&mut self, attribute: &str) -> usize {
        let known = self.names.iter().position(|(_, name)| name == attribute);
        known.unwrap_or_else(|| {
            self.names.push((format!("#{attribute}"), attribute.to_owned()));
            self.names.len() - 1
        })
    }

    /// The parts of a request.
    pub(crate) fn finish(self) -> Finished {
        let mut update = String::new();
        for (word, clause) in [("SET", self.set), ("REMOVE", self.remove), ("ADD", self.add)] {
            if !clause.0.is_empty() {
                let space = if update.is_empty() { "" } else { " " };
                update.extend([space, word, " ", &clause.0]);
            }
        }
        // DynamoDB refuses an empty map.
        Finished {
            update,
            condition: self.condition,
            names: (!self.names.is_empty()).then(|| self.names.into_iter().collect()),
            values: (!self.values.is_empty()).then(|| self.values.into_iter().collect()),
        }
    }
}

/// An [`Expression`] as the SDK's builders take it.
pub(crate) struct Finished {
    /// The update expression; empty for a mere condition.
    pub(crate) update: String,
    /// The condition expression.
    pub(crate) condition: Option<String>,
    /// Attributes by their placeholder.
    pub(crate) names: Option<HashMap<String, String>>,
    /// Values by their placeholder.
    pub(crate) values: Option<HashMap<String, AttributeValue>>,
}

/// What became of an update with a condition.
pub(crate) enum Updated {
    /// The item as the update made it.
    Now(Item),
    /// The item as it is, because the condition does not hold; empty if there is none.
    Not(Item),
}

impl Store {
    /// Updates the item under `key`. Returns whether the condition held; nothing is written
    /// otherwise.
    pub(crate) async fn update(
        &self,
        key: Item,
        expression: Expression,
    ) -> Result<bool, StoreError> {
        let result = self.send_update(self.update_request(key, expression)).await;
        Ok(if_condition_held(result)?.is_some())
    }

    /// Updates the item under `key` and returns the item as it is then, or `None` if the condition
    /// did not hold.
    pub(crate) async fn update_and_get(
        &self,
        key: Item,
        expression: Expression,
    ) -> Result<Option<Item>, StoreError> {
        let request = self.update_request(key, expression).return_values(ReturnValue::AllNew);
        let output = if_condition_held(self.send_update(request).await)?;
        Ok(output.map(|output| output.attributes.unwrap_or_default()))
    }

    /// Updates the item under `key`, and returns it as it is then, or as it is if the condition does not
    /// hold.
    pub(crate) async fn update_and_get_either(
        &self,
        key: Item,
        expression: Expression,
    ) -> Result<Updated, StoreError> {
        let request = self
            .update_request(key, expression)
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match self.send_update(request).await {
            Ok(output) => Ok(Updated::Now(output.attributes.unwrap_or_default())),
            Err(error) => match error.service() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(Updated::Not(failed.item().cloned().unwrap_or_default()))
                }
                _ => Err(StoreError::of("UpdateItem", &error)),
            },
        }
    }

    /// Updates the item under `key`. If the condition does not hold, returns the item that is there.
    pub(crate) async fn update_or_get(
        &self,
        key: Item,
        expression: Expression,
    ) -> Result<Option<Item>, StoreError> {
        let request = self
            .update_request(key, expression)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match self.send_update(request).await {
            Ok(_) => Ok(None),
            Err(error) => match error.service() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(Some(failed.item().cloned().unwrap_or_default()))
                }
                _ => Err(StoreError::of("UpdateItem", &error)),
            },
        }
    }

    /// Sends an update. One that merely met a transaction is tried again, as the client does not.
    async fn send_update(
        &self,
        request: UpdateItemInputBuilder,
    ) -> Result<UpdateItemOutput, RequestError<UpdateItemError>> {
        let prepared = self.client.prepare(request)?;
        let mut tries = 0;
        loop {
            match self.client.send_prepared(&prepared).await {
                Err(error)
                    if tries < CONFLICT_RETRIES
                        && error.code() == Some("TransactionConflictException") =>
                {
                    tries += 1;
                    tokio::time::sleep(CONFLICT_WAIT * tries).await;
                }
                result => return result,
            }
        }
    }

    fn update_request(&self, key: Item, expression: Expression) -> UpdateItemInputBuilder {
        let Finished { update, condition, names, values } = expression.finish();
        UpdateItemInput::builder()
            .table_name(&*self.table)
            .set_key(Some(key))
            .update_expression(update)
            .set_condition_expression(condition)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values)
    }
}

/// The output, or `None` where the condition did not hold.
fn if_condition_held(
    result: Result<UpdateItemOutput, RequestError<UpdateItemError>>,
) -> Result<Option<UpdateItemOutput>, StoreError> {
    match result {
        Ok(output) => Ok(Some(output)),
        Err(error) => match error.service() {
            Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(None),
            _ => Err(StoreError::of("UpdateItem", &error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_and_value_has_a_placeholder() {
        let finished = Expression::of_type("delivery")
            .set_as("state", ":leased", item::s("leased"))
            .set_once("first_at", item::s("2026"))
            .add("claims", 1)
            .remove("reason")
            .condition("#due_sk <= :now AND attribute_exists(#sending)")
            .value(":now", item::s("2027"))
            .finish();
        assert_eq!(
            finished.update,
            "SET #v = :v, #type = :type, #state = :leased, \
             #first_at = if_not_exists(#first_at, :first_at) REMOVE #reason ADD #claims :claims"
        );
        let condition = finished.condition.unwrap();
        assert_eq!(condition, "#due_sk <= :now AND attribute_exists(#sending)");
        let names = finished.names.unwrap();
        for attribute in ["v", "type", "state", "first_at", "claims", "reason", "due_sk", "sending"]
        {
            assert_eq!(names[&format!("#{attribute}")], attribute);
        }
        assert_eq!(names.len(), 8);
        let mut values: Vec<_> = finished.values.unwrap().into_keys().collect();
        values.sort();
        assert_eq!(values, [":claims", ":first_at", ":leased", ":now", ":type", ":v"]);
    }

    #[test]
    fn a_caller_may_name_the_placeholder_of_an_attribute() {
        let finished = Expression::default()
            .name("#revoked", "revoked_ads")
            .set_as("revoked_ads", ":at", item::s("2026"))
            .condition("attribute_not_exists(#revoked) OR #revoked < :at")
            .finish();
        assert_eq!(finished.update, "SET #revoked = :at");
        assert_eq!(
            finished.names.unwrap(),
            [("#revoked".to_owned(), "revoked_ads".to_owned())].into()
        );
    }

    #[test]
    fn a_mere_condition_has_no_empty_map() {
        let finished = Expression::default().condition("attribute_exists(pk)").finish();
        assert_eq!(finished.update, "");
        assert!(finished.names.is_none() && finished.values.is_none());
    }
}
