//! What pages report of visits: one item for each request, which holds the event and its delivery.
//!
//! There is no receipt and no lead, so a request costs one write. The table removes the item when analytics would
//! not take it any more. See `docs/design.md` ("Visits").

use aws_sdk_dynamodb::operation::put_item::{PutItemError, PutItemInput};
use funil_core::delivery::Delivery;
use funil_core::event::Event;

use crate::Store;
use crate::table::error::StoreError;
use crate::table::item;

impl Store {
    /// Keeps what a page reported, with its one delivery. A write whose response was lost is sent again, and
    /// must not bring back a delivery that was settled meanwhile.
    pub async fn keep_visit(&self, event: &Event, delivery: &Delivery) -> Result<(), StoreError> {
        let visit = item::of_visit(event, delivery)?;
        let put = PutItemInput::builder().table_name(&*self.table).set_item(Some(visit));
        match self.client.send(put.condition_expression("attribute_not_exists(pk)")).await {
            Ok(_) => Ok(()),
            Err(error) => match error.service() {
                Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(StoreError::of("PutItem", &error)),
            },
        }
    }
}
