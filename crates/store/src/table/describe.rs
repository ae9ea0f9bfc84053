//! What the table's settings are, for a check by a person: keys, indexes, TTL, stream, backups. It only reads.
//!
//! No function asks for this, and none has the permission.

use aws_sdk_dynamodb::operation::describe_continuous_backups::DescribeContinuousBackupsInput;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableInput;
use aws_sdk_dynamodb::operation::describe_time_to_live::DescribeTimeToLiveInput;
use aws_sdk_dynamodb::types::{
    ContinuousBackupsStatus, IndexStatus, KeySchemaElement, PointInTimeRecoveryStatus,
    StreamViewType, TableDescription, TableStatus, TimeToLiveStatus,
};
use funil_core::check::Finding;

use crate::Store;
use crate::table::error::StoreError;
use crate::table::{DEAD_INDEX, DUE_INDEX};

const TABLE: &str = "table";

impl Store {
    /// What the table's settings are. Nothing is a failure that only costs comfort.
    pub async fn describe(&self) -> Vec<Finding> {
        let described =
            self.client.send(DescribeTableInput::builder().table_name(&*self.table)).await;
        let table = match described {
            Ok(described) => described.table,
            Err(error) => {
                let error = StoreError::of("DescribeTable", &error);
                // The functions need no such permission, so whose credentials lack it may be right.
                let is_denied = matches!(&error, StoreError::Refused { code, .. } if code.contains("AccessDenied"));
                let says = format!("{error}.");
                return vec![if is_denied {
                    Finding::unchecked(TABLE, says)
                } else {
                    Finding::failed(TABLE, says)
                }];
            }
        };
        let Some(table) = table else {
            return vec![Finding::failed(TABLE, "DynamoDB does not describe the table.")];
        };
        let mut findings = vec![of_table(&table)];
        findings.push(of_index(&table, DUE_INDEX, ["due_pk", "due_sk"]));
        findings.push(of_index(&table, DEAD_INDEX, ["dead_pk", "dead_sk"]));
        findings.push(of_stream(&table));
        findings.push(self.of_ttl().await);
        findings.push(self.of_backups().await);
        findings
    }

    async fn of_ttl(&self) -> Finding {
        const SUBJECT: &str = "ttl";

        let described =
            self.client.send(DescribeTimeToLiveInput::builder().table_name(&*self.table)).await;
        let described = match described {
            Ok(described) => described.time_to_live_description,
            Err(error) => {
                let error = StoreError::of("DescribeTimeToLive", &error);
                return Finding::unchecked(SUBJECT, format!("{error}."));
            }
        };
        let on = described.is_some_and(|ttl| {
            let attribute = ttl.attribute_name == Some("expires_at".to_owned());
            let status = ttl.time_to_live_status;
            attribute
                && matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling))
        });
        if on {
            Finding::ok(SUBJECT, "what has expired is removed")
        } else {
            let says = "nothing is removed when it has expired, personal data too. Turn on time to live \
                        for the attribute expires_at.";
            Finding::failed(SUBJECT, says)
        }
    }

    async fn of_backups(&self) -> Finding {
        const SUBJECT: &str = "backups";

        let described = self
            .client
            .send(DescribeContinuousBackupsInput::builder().table_name(&*self.table))
            .await;
        let described = match described {
            Ok(described) => described.continuous_backups_description,
            Err(error) => {
                let error = StoreError::of("DescribeContinuousBackups", &error);
                return Finding::unchecked(SUBJECT, format!("{error}."));
            }
        };
        let on = described.is_some_and(|backups| {
            let recovery = backups.point_in_time_recovery_description;
            let recovery = recovery.and_then(|recovery| recovery.point_in_time_recovery_status);
            backups.continuous_backups_status == ContinuousBackupsStatus::Enabled
                && recovery == Some(PointInTimeRecoveryStatus::Enabled)
        });
        if on {
            Finding::ok(SUBJECT, "the table can be restored to any second of the last days")
        } else {
            let says =
                "the table cannot be restored to an earlier state. Turn on point-in-time recovery.";
            Finding::warning(SUBJECT, says)
        }
    }
}

fn of_table(table: &TableDescription) -> Finding {
    let name = table.table_name.as_deref().unwrap_or_default();
    if !has_keys(table.key_schema.as_deref(), ["pk", "sk"]) {
        let says = format!("{name} has not the keys pk and sk, so it is no table of Funil's.");
        return Finding::failed(TABLE, says);
    }
    match &table.table_status {
        Some(TableStatus::Active | TableStatus::Updating) => {
            Finding::ok(TABLE, format!("{name} is there"))
        }
        _ => Finding::failed(TABLE, format!("{name} is not active. Wait, and check again.")),
    }
}

fn of_index(table: &TableDescription, name: &'static str, keys: [&str; 2]) -> Finding {
    let indexes = table.global_secondary_indexes.as_deref().unwrap_or_default();
    let found = indexes.iter().find(|index| index.index_name.as_deref() == Some(name));
    let subject = format!("index {name}");
    match found {
        Some(index) if !has_keys(index.key_schema.as_deref(), keys) => {
            let says = "it has other keys than Funil's. Make the table by `funil table create` or by the \
                        template.";
            Finding::failed(subject, says)
        }
        Some(index) if matches!(index.index_status, None | Some(IndexStatus::Active)) => {
            Finding::ok(subject, "it is there")
        }
        Some(_) => Finding::failed(subject, "it is not active. Wait, and check again."),
        None => {
            let says = "it is missing, so deliveries wait for ever. Make the table by `funil table \
                        create` or by the template.";
            Finding::failed(subject, says)
        }
    }
}

fn of_stream(table: &TableDescription) -> Finding {
    let stream = table.stream_specification.as_ref().filter(|stream| stream.stream_enabled);
    match stream.and_then(|stream| stream.stream_view_type.as_ref()) {
        Some(StreamViewType::NewImage | StreamViewType::NewAndOldImages) => {
            Finding::ok("stream", "dispatch sees new deliveries in it")
        }
        Some(_) => Finding::failed(
            "stream",
            "it has no new images, so dispatch sees nothing in it. Set its view to NEW_IMAGE.",
        ),
        None => Finding::unchecked(
            "stream",
            "there is none. That is right where DOORBELL_URL rings dispatch, as on Netlify.",
        ),
    }
}

fn has_keys(schema: Option<&[KeySchemaElement]>, keys: [&str; 2]) -> bool {
    let names = schema.unwrap_or_default().iter().map(KeySchemaElement::attribute_name);
    names.eq(keys)
}
