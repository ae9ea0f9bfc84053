//! What pages report of visits: one item for each call, which holds the event and its delivery.
//!
//! There is no receipt and no lead, so a call costs one write; the table removes it when analytics takes it no
//! more. See `docs/design.md` ("Visits").

use funil_core::delivery::Delivery;
use funil_core::event::Event;

use crate::Store;
use crate::table::error::StoreError;
use crate::table::item;

impl Store {
    /// Keeps what a page reported, with its one delivery.
    pub async fn keep_visit(&self, event: &Event, delivery: &Delivery) -> Result<(), StoreError> {
        let visit = item::of_visit(event, delivery)?;
        let put = self.client.put_item().table_name(&*self.table).set_item(Some(visit));
        put.send().await.map_err(|error| StoreError::of("PutItem", &error))?;
        Ok(())
    }
}
