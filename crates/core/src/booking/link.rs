//! The link with which a lead books a call: the calendar's page with its form filled in.
//!
//! The link has the lead's id in `utm_content`, which Calendly returns in its webhooks; see
//! `docs/providers.md` ("Calendly"). Apart from the query parameters `email`, `name` and
//! `utm_content` this module must not know anything about the calendar.

use url::Url;

use crate::contact::Email;
use crate::id::LeadId;
use crate::pii::Text;
use crate::text::outgoing;

/// The link for a lead, with the e-mail and the lead's id.
pub fn booking_link(page: &Url, lead_id: LeadId, email: &Email) -> Text {
    filled(page, &[("email", email.as_str()), ("utm_content", &lead_id.to_string())])
}

/// Adds a name to a booking link. A link that is not a URL is returned unchanged.
pub fn with_name(link: &Text, name: &Text) -> Text {
    match Url::parse(link.expose()) {
        Ok(url) => filled(&url, &[("name", &outgoing(name.expose()))]),
        Err(_) => link.clone(),
    }
}

/// Adds our parameters to the page's query and replaces those of the same name.
fn filled(page: &Url, ours: &[(&str, &str)]) -> Text {
    let own = page.query_pairs().filter(|(name, _)| ours.iter().all(|(our, _)| our != name));
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(own).extend_pairs(ours);
    let mut url = page.clone();
    // Some parsers do not read `+` in a query as a space. A literal plus is already `%2B` here.
    url.set_query(Some(&query.finish().replace('+', "%20")));
    Text::new(url.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_parameters_stay_and_ours_are_added() {
        let page =
            "https://calendly.com/ana/call?hide_gdpr_banner=1&utm_content=ad&month=2026-11#x";
        let lead = LeadId::parse("6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11").unwrap();
        let email = Email::parse("ana+1@example.com").unwrap();
        let link = booking_link(&Url::parse(page).unwrap(), lead, &email);
        let expected = "https://calendly.com/ana/call?hide_gdpr_banner=1&month=2026-11\
                        &email=ana%2B1%40example.com\
                        &utm_content=6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11";
        assert_eq!(link.expose(), &format!("{expected}#x"));
        let named = with_name(&link, &Text::from("Ana & Zé"));
        assert_eq!(named.expose(), &format!("{expected}&name=Ana%20%26%20Z%C3%A9#x"));
    }
}
