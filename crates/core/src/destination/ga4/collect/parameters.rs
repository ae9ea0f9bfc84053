//! Which parameters of an event may be kept, and what of each.
//!
//! Anybody can send them, so their names are an allow-list, and what looks like an e-mail, a phone number
//! or a CPF is left out and counted. Must not know from where in a request a parameter comes.

use serde_json::{Map, Number, Value};
use url::Url;

use crate::pii::{looks_personal, path_looks_personal};

/// How many parameters of an event are kept beside those that are added when it is sent.
pub(super) const PARAMS_MAX: usize = 22;
/// How many items of an event are kept.
const ITEMS_MAX: usize = 25;
/// The length to which a text is cut, in characters.
const TEXT_CHARS_MAX: usize = 100;

/// The parameters that go along, of the events that GA4 documents, and of forms.
pub(super) const PARAMS: [&str; 49] = [
    "affiliation",
    "button_text",
    "campaign",
    "content",
    "content_group",
    "content_id",
    "content_type",
    "coupon",
    "creative_name",
    "creative_slot",
    "currency",
    "engagement_time_msec",
    "file_extension",
    "file_name",
    "form_id",
    "form_location",
    "form_name",
    "form_step",
    "form_type",
    "item_list_id",
    "item_list_name",
    "items",
    "language",
    "lead_source",
    "link_domain",
    "link_id",
    "link_text",
    "link_url",
    "medium",
    "method",
    "outbound",
    "page_location",
    "page_referrer",
    "page_title",
    "payment_type",
    "percent_scrolled",
    "promotion_id",
    "promotion_name",
    "search_term",
    "shipping",
    "shipping_tier",
    "source",
    "source_section",
    "tax",
    "term",
    "transaction_id",
    "value",
    "video_provider",
    "video_title",
];
/// What goes along of an item.
const ITEM_PARAMS: [&str; 16] = [
    "affiliation",
    "coupon",
    "discount",
    "index",
    "item_brand",
    "item_category",
    "item_category2",
    "item_category3",
    "item_id",
    "item_list_id",
    "item_list_name",
    "item_name",
    "item_variant",
    "price",
    "promotion_id",
    "quantity",
];
/// Those that are addresses of pages, of which only the campaign parameters stay.
const ADDRESSES: [&str; 3] = ["page_location", "page_referrer", "link_url"];
/// Those that are amounts or durations, whose texts are read as numbers.
const AMOUNTS: [&str; 7] =
    ["discount", "engagement_time_msec", "price", "quantity", "shipping", "tax", "value"];
/// The parameters of a campaign that stay in an address (<https://support.google.com/analytics/answer/10917952>).
pub const UTM: [&str; 9] = [
    "utm_campaign",
    "utm_content",
    "utm_creative_format",
    "utm_id",
    "utm_marketing_tactic",
    "utm_medium",
    "utm_source",
    "utm_source_platform",
    "utm_term",
];
/// A number has fewer than ten digits before the point, as no phone number with its area code has.
const NUMBER_BELOW: f64 = 1e9;
/// Numbers are rounded to thousandths: what a page's arithmetic leaves behind them is noise.
const NUMBER_PARTS: f64 = 1_000.0;

/// The names of what goes along, of an event and of its items.
pub fn params() -> impl Iterator<Item = &'static str> {
    PARAMS.into_iter().chain(ITEM_PARAMS)
}

/// Whether an event has an amount with its currency, without which GA4 takes neither.
pub(super) fn has_money(params: &Map<String, Value>) -> bool {
    let currency = params.get("currency").and_then(Value::as_str).unwrap_or_default();
    params.get("value").is_some_and(Value::is_number)
        && currency.len() == 3
        && currency.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// A parameter as it may be kept. One that looks personal is counted instead.
pub(super) fn param(name: &str, value: &Value, stripped: &mut usize) -> Option<Value> {
    let text = match value {
        Value::Number(number) => return self::number(number, stripped),
        Value::Bool(flag) => flag.to_string(),
        Value::String(text) => text.trim().to_owned(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    if text.is_empty() {
        return None;
    }
    if AMOUNTS.contains(&name)
        && let Ok(number) = serde_json::from_str::<Number>(&text)
    {
        return self::number(&number, stripped);
    }
    let text = if ADDRESSES.contains(&name) { address(&text, stripped)? } else { text };
    if !ADDRESSES.contains(&name) && looks_personal(&text) {
        *stripped += 1;
        return None;
    }
    let text: String = text.chars().take(TEXT_CHARS_MAX).collect();
    Some(Value::String(if name == "currency" { text.to_ascii_uppercase() } else { text }))
}

/// A number as it may be kept. One that could be somebody's is counted instead.
fn number(number: &Number, stripped: &mut usize) -> Option<Value> {
    let rounded = match number.as_i64() {
        Some(_) => number.clone(),
        None => Number::from_f64((number.as_f64()? * NUMBER_PARTS).round() / NUMBER_PARTS)?,
    };
    if rounded.as_f64()?.abs() >= NUMBER_BELOW || looks_personal(&rounded.to_string()) {
        *stripped += 1;
        return None;
    }
    Some(Value::Number(rounded))
}

/// The address of a page without what can be somebody's: its site and path, and the campaign.
fn address(text: &str, stripped: &mut usize) -> Option<String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let mut kept = url.clone();
    kept.set_query(None);
    kept.set_fragment(None);
    kept.set_username("").ok()?;
    kept.set_password(None).ok()?;
    if url.domain().is_some_and(looks_personal) {
        *stripped += 1;
        return None;
    }
    if path_looks_personal(url.path()) {
        *stripped += 1;
        kept.set_path("");
    }
    for (name, value) in url.query_pairs() {
        if looks_personal(&value) || looks_personal(&name) {
            *stripped += 1;
        } else if UTM.contains(&name.as_ref()) {
            kept.query_pairs_mut().append_pair(&name, &value);
        }
    }
    Some(kept.into())
}

/// The list of items as it may be kept.
pub(super) fn items(value: &Value, stripped: &mut usize) -> Option<Value> {
    let items = value.as_array()?.iter().filter_map(Value::as_object).take(ITEMS_MAX);
    let items: Vec<Value> = items
        .filter_map(|item| {
            let kept = ITEM_PARAMS.into_iter().filter_map(|name| {
                Some((name.to_owned(), param(name, item.get(name)?, stripped)?))
            });
            let kept: Map<String, Value> = kept.collect();
            let is_named = kept.contains_key("item_id") || kept.contains_key("item_name");
            is_named.then_some(Value::Object(kept))
        })
        .collect();
    (!items.is_empty()).then_some(Value::Array(items))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Collector;
    use super::super::tests::{CLIENT, collect};
    use super::*;

    /// The parameters that are kept of an event, and how many values looked personal.
    fn params(event: &Value) -> (Value, usize) {
        let mut event = event.clone();
        event["event"] = json!("click");
        event["client_id"] = json!(CLIENT);
        let collected = collect(&event);
        (Value::Object(collected.visit.events[0].params.clone()), collected.stripped)
    }

    #[test]
    fn what_looks_personal_is_left_out_and_counted() {
        for personal in [
            json!({"page_title": "Obrigada, ana@example.com"}),
            json!({"search_term": "(11) 98765-4321"}),
            json!({"content_id": "529.982.247-25"}),
            json!({"form_id": 52_998_224_725_i64}),
            json!({"ecommerce": {"items": [{"item_id": "SKU-1", "item_name": "ana@example.com"}]}}),
            json!({"page_location": "https://example.com/?email=ana%40example.com"}),
            json!({"page_location": "https://example.com/u/ana%40example.com/x"}),
            json!({"page_referrer": "https://example.com/?utm_source=ana%40example.com"}),
            json!({"page_referrer": "https://example.com/?utm_source=ana%2540example.com"}),
            json!({"page_title": "ana%2540example.com"}),
            json!({"value": 52_998_224_725_i64, "currency": "BRL"}),
            json!({"value": "52998224725", "currency": "BRL"}),
            json!({"value": 529_982_247.25, "currency": "BRL"}),
            json!({"form_step": -52_998_224_725_i64}),
            json!({"ecommerce": {"items": [{"item_id": "SKU-1", "price": 1e126}]}}),
        ] {
            let (kept, stripped) = params(&personal);
            assert_eq!(stripped, 1, "{personal}");
            let text = kept.to_string();
            assert!(
                !text.contains("ana") && !text.contains("98765") && !text.contains("529"),
                "{text}"
            );
        }
        let address = "https://ana:secret@example.com/lp?utm_source=ig&utm_campaign=maio&x=1&utm_id=1&utm_ana=1#top";
        let (kept, stripped) = params(&json!({"page_location": address}));
        let expected = "https://example.com/lp?utm_source=ig&utm_campaign=maio&utm_id=1";
        assert_eq!((kept, stripped), (json!({"page_location": expected}), 0));
        let dated = json!({"page_location": "https://example.com/blog/2026/11/30/10-dicas"});
        assert_eq!(params(&dated), (dated, 0));
        let amounts = json!({"value": 33.333_333_333_333_336, "currency": "BRL", "engagement_time_msec": 987_654_321, "form_step": 1e-200});
        let rounded = json!({"value": 33.333, "currency": "BRL", "engagement_time_msec": 987_654_321, "form_step": 0.0});
        assert_eq!(params(&amounts), (rounded, 0));
    }

    #[test]
    fn only_what_is_listed_goes_along_in_the_format_that_ga4_takes() {
        let (kept, stripped) = params(&json!({
            "email": "x", "gtm.uniqueEventId": 7, "method": " form ", "outbound": true, "form_name": "",
            "page_title": "t".repeat(150), "link_url": "javascript:alert(1)", "params": {"method": "later", "form_id": "f"},
            "value": 10, "items": {}, "content_type": ["x"],
        }));
        let expected = json!({"method": "form", "outbound": "true", "page_title": "t".repeat(100), "form_id": "f"});
        assert_eq!((kept, stripped), (expected, 0));
        let env = [("GA4_COLLECT_PARAMS", "plan, my_param")]
            .into_iter()
            .collect::<crate::settings::Env>();
        let mut settings = env.settings();
        let collector = Collector::read(&mut settings).unwrap();
        let event = json!({"event": "click", "client_id": CLIENT, "plan": "gold", "other": "x"});
        let collected = collector.collect(&event, None).unwrap();
        assert_eq!(
            Value::Object(collected.visit.events[0].params.clone()),
            json!({"plan": "gold"})
        );
        let env = [("GA4_COLLECT_PARAMS", "ga_x")].into_iter().collect::<crate::settings::Env>();
        assert!(Collector::read(&mut env.settings()).is_none());
    }
}
